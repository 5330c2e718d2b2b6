"""Make an object bank, or continue one that was stopped.

The same command continues a build that was stopped or killed, and ends in the same files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from smile_motion.cli.app import Outcome
from smile_motion.cli.bank.options import (
    CategoryOptions,
    DiffusionOptions,
    ScoringOptions,
    ShardOptions,
    local_device,
    writers,
)
from smile_motion.errors import InputError, OptionError
from smile_motion.io.options import MOST_POSES, Count, Groups, OnlyWith, Poses, Seed, Workers

if TYPE_CHECKING:
    from smile_motion.runtime.partition import Partition

MAKES = "an object bank"
SHOWN = 10
"""Largest number of categories that fell short to name."""
FROM_CANDIDATES = ("stable-diffusion", "images")
"""Sources whose objects are selected from candidates."""
OWN_PICTURES = ("folder", "images", "crops")
"""Sources whose objects are of pictures that the user gives."""

_CHOSEN = OnlyWith(
    lambda options: (
        options.source in (*FROM_CANDIDATES, "auto")
        and not (options.source == "auto" and options.from_)
    ),
    "with --source stable-diffusion or images",
)

_OF_FOLDER = OnlyWith(
    lambda options: options.source == "folder" or (options.source == "auto" and options.from_),
    "with --source folder",
)

_OF_OWN = OnlyWith(
    lambda options: (
        options.source in OWN_PICTURES or (options.source == "auto" and options.from_ is not None)
    ),
    "with --source folder, images or crops",
)

EXAMPLES = (
    "smile-motion build-bank --source procedural --n 10000 --out object_banks/procedural",
    "smile-motion build-bank --source folder --from cut-outs --out object_banks/own",
    "smile-motion build-bank --source images --from photographs --out object_banks/photographs",
    "smile-motion build-bank --source stable-diffusion --preset modern --out object_banks/sd",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion build-bank` and `smile-motion bank build`."""

    GROUPS: ClassVar[Groups] = {
        "what is made": ("out", "n", "source", "seed"),
        "where from": ("from_", "list_", "poses", "images"),
        "whose they are (--source folder, images or crops)": ("license", "attribution"),
        "what objects are of (--source stable-diffusion; --deny for images too)": ("category",),
        "how images are made (--source stable-diffusion)": ("diffusion",),
        "which candidates become objects (--source stable-diffusion or images)": ("scoring",),
        "how fast": ("workers", "shard"),
    }

    n: Count | None = None
    """Accepted objects in the bank, balanced over categories. Default: 10000; with --source folder
    or images, as many as there are."""
    source: Literal[
        "auto", "stable-diffusion", "images", "procedural", "folder",
        "circles", "shapes", "textures", "crops",
    ] = "auto"  # fmt: skip
    """Where objects come from: `auto` is Stable Diffusion where it can run, else procedural;
    `images` cuts objects out of photographs, `folder` takes RGBA images as they are;
    `circles` to `crops` are the objects of arXiv 2410.24213."""
    from_: Annotated[
        Path | None,
        tyro.conf.arg(name="from"),
        OnlyWith(
            lambda options: options.source in ("folder", "images", "auto"),
            "with --source folder or images",
        ),
    ] = None
    """Folder of RGBA images (PNG, WebP, GIF), still or animated, and videos with alpha for --source
    folder, or of photographs for --source images; folders in it name the categories."""
    list_: Annotated[
        Path | None,
        tyro.conf.arg(name="list"),
        _OF_FOLDER,
    ] = None
    """File that selects images below --from, a line each, such as `category/0.png`."""
    poses: Annotated[Poses, _OF_FOLDER] = MOST_POSES
    """Most frames of an animated GIF, WebP or PNG, or of a video with alpha, that become poses of
    one object, evenly spaced; 1 makes stills."""
    images: Annotated[
        Path | None, OnlyWith(lambda options: options.source == "crops", "with --source crops")
    ] = None
    """Folder of photographs for --source crops."""
    license: Annotated[str | None, _OF_OWN] = None
    """License of the images, such as `CC-BY-4.0: photographs of our lab`; best begun with an
    identifier of the Hugging Face hub. On the card, and on those of clips and models made with
    it."""
    attribution: Annotated[str | None, _OF_OWN] = None
    """Whom to name wherever the objects are seen, such as `Jane Doe, example.org/cats`."""
    out: Path | None = None
    """The bank's folder. Default: object_banks/SOURCE-N."""
    seed: Seed = 0
    """Seed of objects made from random numbers, or of the choice among images."""
    workers: Workers | None = None
    """Processes; threads that cut out and write, where there are candidates. Default: one per
    core."""
    category: Annotated[CategoryOptions, tyro.conf.OmitArgPrefixes, _CHOSEN] = field(
        default_factory=CategoryOptions
    )
    diffusion: Annotated[DiffusionOptions, tyro.conf.OmitArgPrefixes, _CHOSEN] = field(
        default_factory=DiffusionOptions
    )
    scoring: Annotated[ScoringOptions, tyro.conf.OmitArgPrefixes, _CHOSEN] = field(
        default_factory=ScoringOptions
    )
    shard: Annotated[ShardOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        for name in ("license", "attribution"):
            if (said := getattr(self, name)) is not None and not said.strip():
                raise OptionError(f"--{name} is empty; say it in words, or leave it out")


def run(options: Options) -> Outcome | None:
    """Build the bank and report it."""
    from smile_motion.bank import banks_folder
    from smile_motion.io.output_folders import output_folder
    from smile_motion.runtime.partition import Launched, partition
    from smile_motion.runtime.signals import stopped_by_signals

    chosen, reason = _choose(options)
    launched = Launched.from_environment()
    main = launched is None or launched.rank == 0
    if reason and main:
        print(f"source: {chosen}, because {reason}", file=sys.stderr)
    card: dict[str, Any] = {"source_requested": options.source, "source_reason": reason}
    said = {"licence": options.license, "attribution": options.attribution}
    card |= {name: text.strip() for name, text in said.items() if text is not None}
    make, count = _maker(options, chosen, card, launched.local_rank if launched else None)
    out = options.out or banks_folder() / f"{chosen}-{count or 'all'}"
    jobs = options.shard
    shard = None if jobs.engine == "ray" else partition(jobs.shard_index, jobs.num_shards)
    # The first of several launched processes holds the folder for all; jobs of a cluster share it.
    parts = options.shard.num_shards if options.shard.engine == "ray" else shard and shard.of
    held = output_folder(out, array=f"{parts} shards" if parts else None) if main else nullcontext()
    with stopped_by_signals(), held:
        if shard is not None:
            return _build_shard(shard, out, make)
        finished = (out / "bank.json").is_file()
        if options.shard.engine == "ray":
            _build_on_ray(options, out, make, chosen)
        elif launched is None:
            make(out, None)
        elif not _build_together(out, make, launched.rank, launched.world):
            return None
    return _report(options, out, finished)


Make = Callable[[Path, "Partition | None"], None]
"""Function that builds a bank, or a part of it, into a folder."""


def _maker(
    options: Options, chosen: str, card: dict[str, Any], local_rank: int | None
) -> tuple[Make, int | None]:
    """Function that builds the bank, and the number of objects asked for."""
    if chosen not in FROM_CANDIDATES:
        return _numbered(options, chosen, card)
    from smile_motion.bank.candidates.build import build_from_candidates
    from smile_motion.cli.bank.candidates import candidate_bars, plan_diffusion, plan_photographs

    device = local_device(options.diffusion.device, local_rank)
    settings = (options.diffusion, options.category, options.scoring, device)
    count = options.n
    if chosen == "images":
        if options.from_ is None:
            raise InputError("--source images needs the folder of photographs: add --from DIR")
        plan, open_models, stage = plan_photographs(options.from_, count, options.seed, *settings)
    else:
        count = count or 10_000
        plan, open_models, stage = plan_diffusion(count, options.seed, *settings)
    plan.card.update(card)

    def make(out: Path, shard: Partition | None) -> None:
        with candidate_bars(stage) as (on_candidates, on_progress):
            build_from_candidates(
                plan,
                open_models,
                out,
                shard=shard,
                writers=writers(options.workers),
                on_progress=on_progress,
                on_candidates=on_candidates,
            )

    return make, count


def _numbered(options: Options, chosen: str, card: dict[str, Any]) -> tuple[Make, int | None]:
    """Function that builds a bank from an `ObjectSource`, and its number of objects."""
    from smile_motion.bank import FolderSource, ProceduralSource, ShapeSource, build
    from smile_motion.bank.builder.build import build_shard
    from smile_motion.runtime.progress import progress_bar

    if chosen == "folder":
        if options.from_ is None:
            raise InputError("--source folder needs the folder of images: add --from DIR")
        source = FolderSource.open(
            options.from_,
            list_file=options.list_,
            count=options.n,
            seed=options.seed,
            poses=options.poses,
        )
    elif chosen == "procedural":
        source = ProceduralSource(count=options.n or 10_000, seed=options.seed)
    else:
        kind: Any = chosen
        source = ShapeSource.open(
            kind, count=options.n or 10_000, seed=options.seed, images=options.images
        )

    def make(out: Path, shard: Partition | None) -> None:
        with progress_bar() as on_progress:
            settings: Any = {"card": card, "workers": options.workers, "on_progress": on_progress}
            if shard is None:
                build(source, out, **settings)
            else:
                build_shard(source, out, shard, **settings)

    return make, source.count


def _choose(options: Options) -> tuple[str, str | None]:
    """Source to use, and the reason where it was left open."""
    if options.source != "auto":
        return options.source, None
    if options.from_ is not None:
        return "folder", "--from names a folder"
    from smile_motion.cli.bank.candidates import why_no_diffusion

    why_not = why_no_diffusion(options.diffusion)
    if why_not is None:
        return "stable-diffusion", "its model is here and can run"
    return "procedural", f"Stable Diffusion cannot run here: {why_not}"


def _build_shard(shard: Partition, out: Path, make: Make) -> Outcome:
    """Build the part of the bank that this job is given."""
    from smile_motion.bank.builder.journal import SHARDS

    if (out / "bank.json").is_file():
        raise InputError(f"{out}: holds a finished bank; choose another --out")
    folder = out / SHARDS / shard.name
    make(folder, shard)
    print(f"{folder}: shard {shard.index} of {shard.of} is finished")
    print(f"next, once all are: smile-motion bank merge {out / SHARDS}/* --out {out}")
    return Outcome({"out": folder, "shard": shard.index, "of": shard.of})


def _build_on_ray(options: Options, out: Path, make: Make, chosen: str) -> None:
    """Build all parts on a Ray cluster, then merge them."""
    from smile_motion.bank.builder.journal import SHARDS
    from smile_motion.bank.builder.shards import merge
    from smile_motion.runtime.partition import Partition
    from smile_motion.runtime.progress import progress_bar
    from smile_motion.runtime.ray import run_on_ray

    of = options.shard.num_shards
    if of is None or options.shard.shard_index is not None:
        raise InputError(
            "--engine ray takes --num-shards, as many as there are GPUs or more, and no "
            "--shard-index"
        )
    if options.source == "auto":
        raise InputError("--engine ray needs --source: machines may differ in what they can run")
    shards = [Partition(index, of) for index in range(of)]
    if (out / "bank.json").is_file():
        make(out, None)  # Checks that it is the wanted bank.
        return
    work = partial(_build_there, replace(options, out=out))
    uses_gpus = chosen in FROM_CANDIDATES and options.diffusion.device != "cpu"
    with progress_bar() as on_progress:
        built = run_on_ray(work, range(of), address=options.shard.address, prefer_gpus=uses_gpus)
        for done, _ in enumerate(built, start=1):
            on_progress("building shards", done, of)
        folders = [out / SHARDS / shard.name for shard in shards]
        merge(folders, out, remove=True, on_progress=on_progress)


def _build_there(options: Options, index: int) -> None:
    """Build one part, in a process of the cluster."""
    shard = ShardOptions(shard_index=index, num_shards=options.shard.num_shards)
    workers = options.workers
    if workers is None and options.source not in FROM_CANDIDATES:
        workers = 0  # A task has been given one core, not all of its machine's.
    run(replace(options, shard=shard, workers=workers))


def _build_together(out: Path, make: Make, rank: int, world: int) -> bool:
    """Build this process's part; the first process then merges all and returns True."""
    from smile_motion.bank.builder.journal import SHARDS
    from smile_motion.bank.builder.shards import is_finished, merge, wait_for_shards
    from smile_motion.runtime.partition import Partition
    from smile_motion.runtime.progress import progress_bar

    folders = [out / SHARDS / Partition(index, world).name for index in range(world)]
    # The first process always checks that its part is the wanted one.
    if not (out / "bank.json").is_file() and not (rank and is_finished(folders[rank])):
        make(folders[rank], Partition(rank, world))
    if rank:
        return False
    if not (out / "bank.json").is_file() or (out / SHARDS).is_dir():
        wait_for_shards(folders)
        with progress_bar() as on_progress:
            merge(folders, out, remove=True, on_progress=on_progress)
    return True


def _report(options: Options, out: Path, finished: bool) -> Outcome:
    import numpy as np

    from smile_motion.bank import ObjectBank
    from smile_motion.bank.builder.folder import CUT_OUT
    from smile_motion.io.images import say_counts

    bank = ObjectBank.open(out)
    card = bank.card
    print(
        f"{out}: {'already complete, ' if finished else ''}{len(bank)} objects "
        f"in {len(bank.categories)} categories"
    )
    animated = bank.count_poses(np.arange(len(bank)))
    if moving := int((animated > 1).sum()):
        thinned = sum("source_frames" in record for record in bank.records())
        more = (
            f"; {options.poses} frames, evenly spaced, of {thinned} files with more"
            if thinned
            else ""
        )
        print(f"animated: {moving} objects, {animated[animated > 1].sum()} poses{more}")
    if card.get("source") in OWN_PICTURES and options.license is None:
        print(f"license: {card['licence']}; --license and --attribution say whose they are")
    if left_out := card.get("left_out"):
        hint = f"; {CUT_OUT}" if card["source"] == "folder" else ""
        print(f"images left out: {say_counts(left_out)}{hint}")
    if short := card.get("fell_short"):
        lacking = sum(line["wanted"] - line["accepted"] for line in short)
        named = ", ".join(f"{o['category']} {o['accepted']}/{o['wanted']}" for o in short[:SHOWN])
        more = f" and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
        what = "category" if len(short) == 1 else "categories"
        print(f"{len(short)} {what} fell short by {lacking} objects: {named}{more}")
    if timings := card.get("timings"):
        shares = [f"{name.removesuffix('_busy_share')} busy {value:.0%} of the time"
                  for name, value in timings.items() if name.endswith("_busy_share")]  # fmt: skip
        if shares and not finished:
            print(f"{timings['seconds']:.0f} s, {', '.join(shares)}")
    print(f"next: smile-motion render --bank {out} --background noise --n 8 --out clips")
    return Outcome(
        {
            "out": out,
            "there_already": finished,
            "objects": len(bank),
            "categories": len(bank.categories),
            "animated": moving,
            "fell_short": card.get("fell_short", []),
            "left_out": card.get("left_out", {}),
            "timings": card.get("timings"),
        }
    )
