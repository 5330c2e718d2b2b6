"""Render moving-object clips with their truth, in the form that other tools read.

The same command continues what was stopped, and makes again what is missing or damaged.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from smile_motion.cli.app import Outcome
from smile_motion.cli.engine import ENGINE_FIELDS, Completed, EngineOptions, complete_shards
from smile_motion.clips.options import OVER_FILES, ClipOptions
from smile_motion.errors import InputError, OptionError, UnusableFile
from smile_motion.io.options import (
    Count,
    FrameCount,
    FrameRate,
    Groups,
    OnlyWith,
    Points,
    PointsOn,
    Seed,
    Side,
)
from smile_motion.runtime.extras import require_extra

if TYPE_CHECKING:
    from smile_motion.export import Collection, Format
    from smile_motion.runtime.partition import Partition

MAKES = "rendered clips"
SETTINGS = "render.json"
CLIPS_AT_A_TIME = 4
"""Clips that a worker is given at a time."""
_SETTLED_OTHERWISE = ("bank", "background", "camera", "animation", "tubelet", "patch")
"""Options of clips that no bytes depend on, or that are recorded by their effect."""

_OF_VIDEOS = OnlyWith(
    lambda options: options.format in ("mp4", "webdataset", "datasets"),
    "with --format mp4, webdataset or datasets (pictures are lossless and have no rate)",
)
_OF_TRACKS = OnlyWith(
    lambda options: options.format in ("tapvid", "tapvid-kubric"),
    "with --format tapvid or tapvid-kubric",
)

EXAMPLES = (
    "smile-motion render --background noise --n 8 --out clips",
    "smile-motion render --videos VIDEOS --n 64 --format webdataset --out clips/natural",
    "smile-motion render --recipe official --objects 3 --format coco --out clips/coco",
    "smile-motion render --background noise --n 1000 --shard-index 0 --num-shards 4 --out array",
)


@dataclass(frozen=True, kw_only=True)
class Options(EngineOptions, ClipOptions):
    """Options of `smile-motion render`."""

    GROUPS: ClassVar[Groups] = {
        "where to": (
            *("out", "n", "format", "lossless", "rate_hz"),
            *("clips_per_shard", "points", "points_on"),
        ),
        **ClipOptions.GROUPS,
        "where from": (*ClipOptions.GROUPS["where from"], "allow_broken"),
        "how fast": ENGINE_FIELDS,
    }

    out: Path
    """Folder for the clips."""
    n: Count = 8
    """Clips."""
    format: Literal[
        "mp4", "frames", "webdataset", "datasets", "coco", "youtube-vis",
        "flo", "kitti-flow", "tapvid", "tapvid-kubric",
    ] = "mp4"  # fmt: skip
    """`mp4`: a video and JSON a clip; `frames`: PNG of frames and id masks; `webdataset`: tar
    shards; `datasets`: Parquet for Hugging Face; `coco`, `youtube-vis`: frames and one JSON of
    masks; `flo`, `kitti-flow`: frames and optical flow; `tapvid`, `tapvid-kubric`: points followed,
    NPZ as evaluation has them, or training."""
    lossless: Annotated[bool, _OF_VIDEOS] = False
    """Keep every bit of the pixels of videos (RGB H.264; not every player shows it)."""
    rate_hz: Annotated[FrameRate, _OF_VIDEOS] = 8.0
    """Frames a second of the written videos."""
    clips_per_shard: Annotated[
        Count,
        OnlyWith(
            lambda options: options.format in ("webdataset", "datasets"),
            "with --format webdataset or datasets",
        ),
    ] = 256
    """The most clips in a file of --format webdataset and datasets; they are balanced."""
    points: Annotated[Points, _OF_TRACKS] = 256
    """Points a clip for --format tapvid and tapvid-kubric."""
    points_on: Annotated[PointsOn, _OF_TRACKS] = "all"
    """What they are on: an object or the still background, each as likely (`all`), one of these
    alone, or pixels at random."""
    allow_broken: Annotated[bool, OVER_FILES] = False
    """Put another file behind a clip whose own cannot be used, and say so."""

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width = self.frame_size
        if _OF_VIDEOS.has_effect(self) and not self.lossless and (height % 2 or width % 2):
            raise OptionError(
                f"frames of {width} x {height} px: videos that every player shows have even sides; "
                f"give such --size and --width, or --lossless, or another --format"
            )


def run(options: Options) -> Outcome:
    """Render the missing shards, then write the index."""
    from smile_motion.io.files import dump_json, sha256
    from smile_motion.io.output_folders import output_folder
    from smile_motion.runtime.partition import partition

    job = partition(options.shard_index, options.num_shards)
    collection = _collection(options)
    settings = _settings(options, collection)
    # Jobs of one array share the folder; those of other arrays may not use it.
    array = None if job is None else f"{job.of} jobs, {sha256(dump_json(settings))}"
    with output_folder(options.out, array=array):
        try:
            return _render(options, collection, settings, job)
        except UnusableFile as error:
            raise InputError(
                f"{error}; or put others in the place of such files with --allow-broken"
            ) from error


def _render(
    options: Options, collection: Collection, settings: dict[str, Any], job: Partition | None
) -> Outcome:
    from smile_motion.export.collection import record_settings

    record_settings(options.out / SETTINGS, settings, RenderSettings, what="clips", job=job)
    chunk = max(1, CLIPS_AT_A_TIME // collection.format.clips_together)
    completed = complete_shards(
        options, collection, job, stage="rendering", chunk=chunk, worth_a_process=8
    )
    return _report(options, collection, job, completed)


def _format(options: Options) -> Format:
    from smile_motion.export import Coco, FlowFiles, Frames, Parquet, TapVid, Videos, WebDataset

    video: Any = {"lossless": options.lossless, "rate_hz": options.rate_hz}
    match options.format:
        case "mp4":
            chosen = Videos(**video)
        case "frames":
            chosen = Frames()
        case "webdataset":
            chosen = WebDataset(clips_per_shard=options.clips_per_shard, **video)
        case "datasets":
            chosen = Parquet(clips_per_shard=options.clips_per_shard, **video)
        case "coco" | "youtube-vis":
            chosen = Coco(layout=options.format)
        case "flo" | "kitti-flow":
            chosen = FlowFiles(encoding="flo" if options.format == "flo" else "kitti")
        case "tapvid" | "tapvid-kubric":
            fields_ = "evaluation" if options.format == "tapvid" else "training"
            chosen = TapVid(points=options.points, points_on=options.points_on, fields=fields_)
    require_extra(f"--format {options.format}", *chosen.needs, extra="export")
    return chosen


def _collection(options: Options) -> Collection:
    from smile_motion.export import Collection

    chosen = _format(options)
    maker = replace(options.make_maker(), allow_broken=options.allow_broken)
    return Collection(maker=maker, folder=options.out, count=options.n, format=chosen)


def _settings(options: Options, collection: Collection) -> dict[str, Any]:
    """Settings that the bytes of a shard depend on, besides its number."""
    settings = {
        entry.name: getattr(options, entry.name)
        for entry in fields(ClipOptions)
        if entry.name not in _SETTLED_OTHERWISE
    }
    settings |= {
        "format": options.format,
        **asdict(collection.format),
        "background": options.background_kind,
        "recipe": collection.maker.recipe.to_json(),
        "bank_sha256": collection.maker.bank.card["metadata_sha256"],
    }
    if not collection.format.extensible:
        settings["n"] = options.n
    return json.loads(json.dumps(settings, default=str))


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """Settings that every format has; a format adds its own options."""

    format: str
    background: str
    recipe: dict[str, Any]
    bank_sha256: str
    frames: FrameCount
    size: Side
    seed: Seed
    n: Count | None = None


def _broken(line: dict[str, Any]) -> dict[str, list[str]]:
    """Clips of a line of the index whose background file was replaced, with the faults found."""
    return line.get("broken", {})


def _report(
    options: Options,
    collection: Collection,
    job: Partition | None,
    completed: Completed,
) -> Outcome:
    from smile_motion.export.collection import INDEX

    kept, written = completed.kept, completed.written
    broken = {
        number: told for line in completed.lines.values() for number, told in _broken(line).items()
    }
    numbers = collection.numbers(job)
    clips = collection.clips_in(numbers)
    facts = {
        "out": options.out,
        "clips": clips,
        "shards": len(numbers),
        "there_already": kept,
        "written": written,
        "settings": options.out / SETTINGS,
        "broken": broken,
    }
    what = f"{clips} clips"
    if collection.shards < collection.count:
        what += f" in {len(numbers)} shard{'s' if len(numbers) != 1 else ''}"
    if kept:
        what += f", {kept} of them there already"
    if broken:
        faults = sorted({fault for told in broken.values() for fault in told})
        print(
            f"{len(broken)} of the clips have another file behind them than their own, as {INDEX} "
            f"says; files that cannot be used: {len(faults)}, such as {faults[0]}"
        )
    if not written:
        print(f"{options.out}: {what}; the last of the {options.num_shards} jobs writes the index")
        return Outcome(facts)
    print(f"{options.out}: {what}, {', '.join(written)}")
    print(f"to look at some of them: {_preview_command(options)}")
    return Outcome(facts)


def _preview_command(options: Options) -> str:
    """Command that shows the first clips of this collection."""
    shared = {entry.name: getattr(options, entry.name) for entry in fields(ClipOptions)}
    words = ["smile-motion", "preview", *ClipOptions(**shared).arguments()]
    if options.allow_broken:
        words.append("--allow-broken")
    return shlex.join([*words, "--out", str(options.out / "preview.html")])
