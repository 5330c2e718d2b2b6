"""Packing a list or folder of videos: shards 0..n-1, each made by itself, and their card."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from smile_motion.errors import InputError
from smile_motion.export.base import ClipShard, Format, Line
from smile_motion.export.collection import Collection
from smile_motion.io.files import dump_lines, hash_file, replacing, sha256, write_atomically
from smile_motion.video import find_videos
from smile_motion.video.packer import reencode
from smile_motion.video.packing import VideoPacking
from smile_motion.video.shards import PackedRecord, ShardWriter, open_shard

VIDEOS = "videos.jsonl"
"""What is in the shards, a line for each video, for people and other tools."""
CARD = "README.md"
BROKEN = "broken.txt"
"""Videos that could not be packed, a line each: path, tab, reason."""


@dataclass(frozen=True, kw_only=True)
class SourceVideo:
    """A video that is to be packed."""

    path: Path
    """Where it is."""
    source: str
    """What its list or folder calls it."""
    name: str
    """What it is called in its shard, without a suffix."""
    label: str | None
    """Its label, if any."""


def find_sources(source: Path, *, allow_missing: bool = False) -> tuple[SourceVideo, ...]:
    """Find the videos that a path means, and name them for shards.

    Names are paths below the folder that all of them lie in; dots in the last part become
    underscores, since WebDataset's names end at the first one. Where two videos would have one
    name, the later ones are numbered. In a folder, the folder that a video lies in is its label,
    unless it lies in the topmost one.

    Args:
        allow_missing: Keep videos that a list names and that are not there.

    Raises:
        InputError: There are none, or a list names one that is not there.
    """
    found = find_videos(source, remedy="check LIST_OR_FOLDER", keep_missing=allow_missing)
    paths = [Path(os.path.abspath(video.path)) for video in found]  # noqa: PTH100 - keeps links
    common = Path(os.path.commonpath([path.parent for path in paths]))
    top = source.absolute() if source.is_dir() else None
    used = Counter[str]()
    videos = []
    for video, path in zip(found, paths, strict=True):
        below = _text(path.relative_to(common).as_posix())
        stem = PurePosixPath(below)
        name = (stem.parent / stem.stem.replace(".", "_")).as_posix()
        used[name] += 1
        while used[name] > 1:
            name = f"{name}-{used[name]}"
            used[name] += 1
        label = video.label
        if label is None and top is not None and top not in (path, path.parent):
            label = _text(path.parent.name)
        videos.append(
            SourceVideo(path=video.path, source=below, name=name, label=label and _text(label))
        )
    return tuple(videos)


def _text(name: str) -> str:
    """A file's name as text that can be written; bytes that are none are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, kw_only=True)
class VideoMaker:
    """Numbers -> the videos to pack; what is done to them."""

    videos: tuple[SourceVideo, ...]
    """All of them."""
    packing: VideoPacking
    """How they are re-encoded."""

    def make(self, index: int) -> SourceVideo:
        """The video of a number."""
        return self.videos[index]

    @cached_property
    def sha256(self) -> str:
        """Hash of what is packed, by name and label."""
        listed = [[video.source, video.name, video.label] for video in self.videos]
        return sha256(json.dumps(listed).encode())


@dataclass(frozen=True, kw_only=True)
class PackedVideos(Format):
    """`shard-00000.tar`, as `smile_motion.video.shards` describes them."""

    videos_per_shard: int = 64
    """The most videos in a shard; all have as many, or one less."""
    packing: VideoPacking = field(default_factory=VideoPacking)
    """How they are re-encoded."""

    extensible: ClassVar[bool] = False
    key: ClassVar[str] = "shard"

    @property
    def clips_together(self) -> int:
        """As many as the options say."""
        return self.videos_per_shard

    def file_name(self, shard: ClipShard) -> str:
        """Name of a shard."""
        return f"shard-{shard.number:05d}.tar"

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[Any]) -> None:
        """Re-encode the videos of a shard, under a temporary name that is replaced at the end."""
        path = folder / self.file_name(shard)
        with replacing(path) as temporary:
            writer, encoded = ShardWriter(temporary), Path(f"{temporary}.video.tmp")
            try:
                for number, numbered in zip(shard.clips, clips, strict=True):
                    video: SourceVideo = numbered.clip
                    try:
                        facts, table = reencode(self.packing, video.path, encoded)
                    except InputError as error:
                        writer.refuse(number, _text(str(error)))
                        continue
                    del facts["bytes"]
                    named = {"name": video.name, "source": video.source, "label": video.label}
                    writer.add(encoded, table, **facts, **named)
                writer.finish()
            finally:
                writer.close()
                encoded.unlink(missing_ok=True)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether a shard's file is there."""
        return (folder / self.file_name(shard)).is_file()

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """A shard's file, its size, hash and contents."""
        path = folder / self.file_name(shard)
        opened = open_shard(path)
        if opened is None or len(opened.records) + len(opened.broken) != len(shard.clips):
            raise ValueError(f"{path}: not a shard of {len(shard.clips)} videos")
        line: Line = {
            "shard": shard.number,
            "file": path.name,
            "videos": len(opened.records),
            "frames": sum(record.frames for record in opened.records),
            "seconds": round(sum(r.frames / r.rate_hz for r in opened.records), 3),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }
        return line | ({"broken": opened.broken} if opened.broken else {})

    def finish(self, folder: Path, maker: Any, lines: list[Line]) -> tuple[str, ...]:
        """Write what each shard holds, the broken videos, and the card.

        Raises:
            InputError: No video could be packed.
        """
        broken = {int(number): told for line in lines for number, told in broken_in(line).items()}
        if len(broken) == len(maker.videos):
            number, (reason, *_) = next(iter(broken.items()))
            raise InputError(
                f"{folder}: none of {len(broken)} videos could be packed; video {number}: {reason}"
            )
        records = [record for line in lines for record in _records(folder / line["file"])]
        write_atomically(folder / VIDEOS, dump_lines(_described(folder, lines)))
        told = (f"{_text(str(maker.make(n).path))}\t{broken[n][0]}\n" for n in sorted(broken))
        if broken:
            write_atomically(folder / BROKEN, "".join(told).encode())
        else:
            (folder / BROKEN).unlink(missing_ok=True)
        write_atomically(folder / CARD, card(maker, lines, records, len(broken)).encode())
        return (VIDEOS, CARD, BROKEN) if broken else (VIDEOS, CARD)


def _records(path: Path) -> tuple[PackedRecord, ...]:
    shard = open_shard(path)
    return () if shard is None else shard.records


def _described(folder: Path, lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """Lines on videos: their records, and the shard that each lies in."""
    for line in lines:
        for record in _records(folder / line["file"]):
            yield {"shard": line["file"], **asdict(record)}


def broken_in(line: Line) -> dict[str, list[str]]:
    """Of a line of the index: videos that could not be packed, by number, with the reason."""
    return line.get("broken", {})


def collect(
    videos: tuple[SourceVideo, ...], packing: VideoPacking, *, folder: Path, videos_per_shard: int
) -> Collection:
    """Describe shards of packed videos: all that one depends on besides its number."""
    return Collection(
        maker=VideoMaker(videos=videos, packing=packing),
        folder=folder,
        count=len(videos),
        format=PackedVideos(videos_per_shard=videos_per_shard, packing=packing),
    )


_SUMMED = ("videos", "frames", "seconds", "bytes")


def total(lines: Sequence[Line]) -> dict[str, float]:
    """Videos, frames, seconds and bytes of shards together."""
    return {name: sum(line[name] for line in lines) for name in _SUMMED}


def card(
    maker: VideoMaker, lines: Sequence[Line], records: Sequence[PackedRecord], broken: int
) -> str:
    """A page on a folder of shards: what is in it, how it was made, what was lost."""
    packing, sums = maker.packing, total(lines)
    quality = np.array([record.psnr_db for record in records])
    low, middle = np.quantile(quality, [0.05, 0.5])
    worst = min(records, key=lambda record: record.psnr_db)
    labels = Counter(record.label for record in records if record.label is not None)
    what = "every frame a key frame" if packing.group == 1 else f"groups of {packing.group}"
    thinned = "all frames"
    if packing.stride > 1:
        thinned = f"each {packing.stride}th frame"
    if packing.rate_hz is not None:
        thinned = f"at most {packing.rate_hz:g} frames a second"
    return f"""# Packed videos

| | |
|---|---|
| videos | {len(records):,}, {broken:,} more could not be packed |
| labels | {len(labels):,} different ones on {labels.total():,} videos |
| length | {sums["seconds"] / 3600:,.2f} hours, {int(sums["frames"]):,} frames |
| size | {sums["bytes"] / 1e9:,.3f} GB in {len(lines):,} shards, \
{sums["bytes"] / sums["frames"] / 1024:.1f} KiB a frame |
| shorter side | {packing.size} px, or the source's where that is less |
| codec | {packing.codec}, quality {packing.encoder_quality}, {what}, {thinned}; upright, \
4:2:0, no sound |
| PSNR against the frames that were encoded | median {middle:.1f} dB, 5 % of videos below \
{low:.1f} dB, least {worst.psnr_db:.1f} dB (`{worst.name}`) |

PSNR is over all values of RGB of up to eight frames of each video, spread evenly, at the size that
is stored; what making them smaller loses is not in it.

Read them wherever videos are read: `--videos FOLDER`, `FOLDER/shard-00000.tar/NAME.mp4` in lists
and manifests, or as the `train` and `validation` of a data set (`--dataset list`). Every shard is
a WebDataset tar with `NAME.mp4` and `NAME.json`. `index.jsonl` has a line for each shard with its
SHA-256, `videos.jsonl` one for each video.
"""
