"""Make an object bank, or continue one that was stopped."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from smile_motion.errors import InputError

if TYPE_CHECKING:
    from smile_motion.bank.sources.shapes import ShapeKind

DIFFUSION_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion build-bank`."""

    n: int | None = None
    """Objects in the bank. Default: 10000; with --source folder, every image there is."""
    source: Literal[
        "auto", "stable-diffusion", "procedural", "folder", "circles", "shapes", "textures", "crops"
    ] = "auto"
    """Where objects come from: `auto` is Stable Diffusion where it can run, else procedural;
    `circles` to `crops` are the objects of arXiv 2410.24213."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Tree of RGBA PNG or WebP images for --source folder; folders name the categories."""
    list_: Annotated[Path | None, tyro.conf.arg(name="list")] = None
    """File that selects images below --from, a line each, such as `category/0.png`."""
    images: Path | None = None
    """Folder of photographs for --source crops."""
    out: Path | None = None
    """The bank's folder. Default: object_banks/SOURCE-N."""
    seed: int = 0
    """Seed of objects made from random numbers, or of the choice among images."""
    workers: int | None = None
    """Processes. Default: one per core."""


def run(options: Options) -> None:
    """Build the bank and say where it is."""
    if options.n is not None and options.n < 1:
        raise InputError(f"--n is {options.n}; a bank needs at least 1 object")
    if options.from_ is not None and options.source not in ("folder", "auto"):
        raise InputError(f"--from goes with --source folder, not with {options.source}")
    from smile_motion.bank import FolderSource, ProceduralSource, ShapeSource, banks_folder, build
    from smile_motion.bank.progress import progress_bar

    chosen, reason = _choose(options)
    if reason:
        print(f"source: {chosen}, because {reason}", file=sys.stderr)
    card: dict[str, Any] = {"source_requested": options.source, "source_reason": reason}
    if chosen == "folder":
        if options.from_ is None:
            raise InputError("--source folder needs the folder of images: add --from DIR")
        source = FolderSource.open(
            options.from_, list_file=options.list_, count=options.n, seed=options.seed
        )
    elif chosen == "procedural":
        source = ProceduralSource(count=options.n or 10_000, seed=options.seed)
    else:
        source = ShapeSource.open(
            chosen, count=options.n or 10_000, seed=options.seed, images=options.images
        )
    out = options.out or banks_folder() / f"{chosen}-{source.count}"
    finished = (out / "bank.json").is_file()
    with progress_bar() as on_progress:
        bank = build(source, out, card=card, workers=options.workers, on_progress=on_progress)
    print(
        f"{out}: {'already complete, ' if finished else ''}{len(bank)} objects "
        f"in {len(bank.categories)} categories"
    )
    print(f"next: smile-motion render --bank {out} --background noise --n 8 --out clips")


def _choose(options: Options) -> tuple[Literal["procedural", "folder"] | ShapeKind, str | None]:
    """The source to use, and why when the choice was left open."""
    if options.source == "stable-diffusion":
        raise InputError(
            "--source stable-diffusion is not part of this version; use --source procedural, "
            "or make images elsewhere and use --source folder --from DIR"
        )
    if options.source != "auto":
        return options.source, None
    if options.from_ is not None:
        return "folder", "--from names a folder"
    return "procedural", "this version cannot run Stable Diffusion"
