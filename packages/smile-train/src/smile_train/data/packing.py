"""Packing of videos: shards 0..n-1, each made by itself, their card, and a manifest's samples."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from smile_motion.errors import InputError
from smile_motion.export.base import ClipShard, Format, Line
from smile_motion.export.collection import Collection
from smile_motion.io.files import dump_lines, hash_file, replacing, sha256, write_atomically
from smile_motion.video import ListedVideo, find_videos
from smile_motion.video.packer import reencode
from smile_motion.video.packing import VideoPacking
from smile_motion.video.shards import PackedRecord, ShardWriter, open_shard
from smile_motion.video.tar import locate

from smile_train.datasets.base import LabeledVideos
from smile_train.datasets.custom import MANIFEST, SUFFIX, read_manifest, write_manifest

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
        source: A list, a folder, a tar, a video, or a manifest, of which every file is packed once.
        allow_missing: Keep videos that a list or a manifest names and that are not there.

    Raises:
        InputError: There are none, or one that a list names is not there.
    """
    if source.suffix == SUFFIX:
        found = _files_of(read_manifest(source), source, allow_missing=allow_missing)
    else:
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


def _files_of(samples: LabeledVideos, source: Path, *, allow_missing: bool) -> list[ListedVideo]:
    """Files of a manifest's samples, each with the class that all its samples have, if any."""
    labels: dict[Path, set[str]] = {}
    for video in samples.videos:
        named = labels.setdefault(video.path, set())
        if isinstance(video.target, int) and samples.task == "single-label":
            named.add(samples.classes[video.target])
    missing = [path for path in labels if locate(path) is None and not path.is_dir()]
    if missing and not allow_missing:
        raise InputError(
            f"{source}: {missing[0]} is not there ({len(missing):,} of {len(labels):,} files are "
            f"missing); mend the manifest, or count them as broken with --allow-missing"
        )
    return [
        ListedVideo(path, next(iter(named)) if len(named) == 1 else None)
        for path, named in labels.items()
    ]


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
    samples: LabeledVideos | None = None
    """Samples of the manifest that names them."""

    def make(self, index: int) -> SourceVideo:
        """The video of a number."""
        return self.videos[index]

    @cached_property
    def sha256(self) -> str:
        """Hash of what is packed, by name and label."""
        listed = [[video.source, video.name, video.label] for video in self.videos]
        if self.samples is not None:
            listed.append([self.samples.sha256])
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
        if maker.samples is not None:
            write_manifest(folder / MANIFEST, _packed_samples(maker, folder, lines))
        write_atomically(folder / CARD, card(maker, lines, records, len(broken)).encode())
        made = {BROKEN: bool(broken), MANIFEST: maker.samples is not None}
        return (VIDEOS, CARD, *(name for name, there in made.items() if there))


def _packed_samples(maker: VideoMaker, folder: Path, lines: Sequence[Line]) -> LabeledVideos:
    """The samples of a manifest, where their videos now lie; without those that are broken."""
    assert maker.samples is not None
    places = {
        record.name: folder / line["file"] / f"{record.name}.mp4"
        for line in lines
        for record in _records(folder / line["file"])
    }
    names = {video.path: video.name for video in maker.videos}
    kept = [video for video in maker.samples.videos if names[video.path] in places]
    lost = len(kept) < len(maker.samples)
    return replace(
        maker.samples,
        videos=tuple(replace(video, path=places[names[video.path]]) for video in kept),
        partial=maker.samples.partial or lost,
        missing=maker.samples.missing or lost,
    )


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
    videos: tuple[SourceVideo, ...],
    packing: VideoPacking,
    *,
    folder: Path,
    videos_per_shard: int,
    samples: LabeledVideos | None = None,
) -> Collection:
    """Describe shards of packed videos: all that one depends on besides its number.

    Args:
        videos: From `find_sources`.
        packing: How they are re-encoded.
        folder: Where the shards go.
        videos_per_shard: The most in one.
        samples: Those of the manifest that names the videos, to be written beside the shards.

    Raises:
        InputError: Samples are spans of frames, which are to be thinned out.
    """
    thinned = packing.stride > 1 or packing.rate_hz is not None
    spans = (video.span for video in (samples.videos if samples else ()))
    if thinned and any(span is not None and span.unit == "frames" for span in spans):
        raise InputError(
            "the manifest's samples are spans of frames, whose numbers --stride and --rate-hz "
            "would change; pack all frames"
        )
    return Collection(
        maker=VideoMaker(videos=videos, packing=packing, samples=samples),
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
    dataset = "list" if maker.samples is None else "manifest"
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
and manifests, or as the `train` and `validation` of a data set (`--dataset {dataset}`). Every \
shard is
a WebDataset tar with `NAME.mp4` and `NAME.json`. `index.jsonl` has a line for each shard with its
SHA-256, `videos.jsonl` one for each video.
"""
