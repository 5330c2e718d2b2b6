"""Re-encode videos once into tar shards, of which any frame is read quickly: no GPU waits.

The same command continues what was stopped, and makes again what is missing or damaged.
"""

from __future__ import annotations

import json
from collections.abc import ValuesView
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from smile_motion.cli.app import Outcome
from smile_motion.cli.engine import ENGINE_FIELDS, Completed, EngineOptions, complete_shards
from smile_motion.io.options import Count, Groups
from smile_motion.video.packing import VideoPacking

if TYPE_CHECKING:
    from smile_motion.export.collection import Collection

EXAMPLES = (
    "smile-train data pack VIDEOS --out packed",
    "smile-train data pack train.txt --out packed --shard-index 0 --num-shards 8",
    "smile-train data list ssv2 SSV2 --out train.jsonl",
    "smile-train data pack train.jsonl --out packed/train",
)
MAKES = "packed videos"


@dataclass(frozen=True, kw_only=True)
class Options(EngineOptions, VideoPacking):
    """Options of `smile_train data pack`."""

    GROUPS: ClassVar[Groups] = {"how fast": ENGINE_FIELDS}

    videos: Annotated[Path, tyro.conf.Positional]
    """A list (`path label` lines), a folder, a tar, a video, or a manifest of `data list`, whose
    samples are kept. In a folder, the folder that a video lies in is its label."""
    out: Path
    """Folder for the shards, their index, and a card that states size and quality."""
    videos_per_shard: Count = 64
    """The most videos in a shard; they are balanced."""
    allow_missing: bool = False
    """Count videos of a list or a manifest that are not there as broken, instead of refusing it."""

    @property
    def packing(self) -> VideoPacking:
        """How videos are re-encoded."""
        return VideoPacking(
            **{entry.name: getattr(self, entry.name) for entry in fields(VideoPacking)}
        )


def run(options: Options) -> Outcome:
    """Pack the shards that are not there yet, then write the index and the card."""
    from smile_motion.export.collection import record_settings
    from smile_motion.io.files import dump_json, sha256
    from smile_motion.io.output_folders import output_folder
    from smile_motion.runtime.partition import partition
    from smile_motion.video.shards import SETTINGS

    from smile_train.data.packing import collect, find_sources
    from smile_train.datasets.custom import SUFFIX, read_manifest

    options.packing.require_encoder()
    job = partition(options.shard_index, options.num_shards)
    collection = collect(
        find_sources(options.videos, allow_missing=options.allow_missing),
        options.packing,
        folder=options.out,
        videos_per_shard=options.videos_per_shard,
        samples=read_manifest(options.videos) if options.videos.suffix == SUFFIX else None,
    )
    settings = _settings(collection)
    # Jobs of an array share the folder; those of another array do not.
    array = None if job is None else f"{job.of} jobs, {sha256(dump_json(settings))}"
    with output_folder(options.out, array=array):
        record_settings(options.out / SETTINGS, settings, PackSettings, what="videos", job=job)
        note = partial(_sizes, shards=len(collection.numbers(job)))
        completed = complete_shards(options, collection, job, stage="packing", note=note)
        return _report(options, collection, completed)


def _settings(collection: Collection) -> dict[str, Any]:
    """What a shard's bytes depend on, besides its number and the videos' files."""
    form, maker = collection.format, collection.maker
    settings = {
        "format": MAKES,
        "videos": collection.count,
        "list_sha256": maker.sha256,
        "videos_per_shard": form.clips_together,
        **asdict(maker.packing),
        "quality": maker.packing.encoder_quality,
    }
    return json.loads(json.dumps(settings))


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """Validated fields of a folder's settings."""

    format: Literal["packed videos"]


def _sizes(lines: ValuesView[dict[str, Any]], *, shards: int) -> str:
    """The size of what is packed, and about that of all shards, which are equally long."""
    size = sum(line["bytes"] for line in lines) / 1e9
    return f"{size:.1f} of about {size / max(len(lines), 1) * shards:.1f} GB"


def _report(options: Options, collection: Collection, completed: Completed) -> Outcome:
    from smile_train.data.packing import BROKEN, CARD, broken_in, total

    lines, kept, written = completed.lines, completed.kept, completed.written
    sums = total([*lines.values()])
    broken = {
        str(collection.maker.make(int(number)).path): reasons[0]
        for number, line in sorted(lines.items())
        for number, reasons in broken_in(line).items()
    }
    facts = {
        "out": options.out,
        "shards": len(lines),
        "there_already": kept,
        **sums,
        "broken": broken,
        "written": written,
    }
    print(
        f"{options.out}: {int(sums['videos']):,} videos, {sums['seconds'] / 3600:,.2f} hours, "
        f"{sums['bytes'] / 1e9:,.3f} GB in {len(lines):,} shards"
        + (f", {kept:,} of them there already" if kept else "")
    )
    if broken:
        reason = next(iter(broken.values()))
        where = f", see {options.out / BROKEN}" if written else ""
        print(f"{len(broken):,} videos cannot be packed{where}; the first: {reason}")
    if not written:
        print(f"the last of the {options.num_shards} jobs writes the index")
        return Outcome(facts)
    print(f"size and quality: {options.out / CARD}")
    print(f"to train from them: --videos {options.out}")
    return Outcome(facts)
