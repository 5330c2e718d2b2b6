"""Render moving-object clips: videos, their plans and truth as JSON, and an index."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smile_motion.errors import InputError

if TYPE_CHECKING:
    from smile_motion.backgrounds import BackgroundKind
    from smile_motion.clip_files import ClipWriter
    from smile_motion.clips import ClipMaker

SETTINGS = "render.json"


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What the clips show; shared by `render` and `preview`."""

    background: Literal["natural", "frame", "places", "black", "noise", "pseudo-motion"] | None = (
        None
    )
    """Behind the objects: video, one of its frames, a photograph, black, or noise (Table 7), or a
    photograph in motion. Default: noise; behind a rival's motion, what its paper has."""
    bank: Path | None = None
    """Object bank. Default: the embedded one, for a rival's motion its own, made on first use."""
    videos: Path | None = None
    """Video, folder or list (`path label` lines) for --background natural or frame."""
    images: Path | None = None
    """Folder of photographs for --background places and pseudo-motion, and for crops of them."""
    noise: Literal["uniform", "gaussian", "spectral"] = "uniform"
    """Kind of noise for --background noise; `spectral` falls with frequency (1/f)."""
    noise_per_frame: bool = False
    """New noise in every frame. Paper: one image, repeated (Table 7)."""
    recipe: Literal[
        "paper",
        "official",
        "static-circles",
        "moving-circles",
        "moving-shapes",
        "transforming-shapes",
        "accelerating-shapes",
        "accelerating-textures",
        "accelerating-crops",
        "pseudo-motion",
    ] = "paper"
    """Motion as the paper describes it, as the published code draws it, or that of a rival:
    arXiv 2410.24213 (circles, shapes, textures, crops) or 2409.06665 (pseudo-motion)."""
    path: (
        Literal["gaussian", "linear", "bezier", "brownian", "harmonic", "bounce", "excursion"]
        | None
    ) = None
    """Kind of path, instead of the recipe's (both: gaussian)."""
    transform: Literal["both", "rotation", "scaling", "none"] = "both"
    """What changes besides the place (Table 4)."""
    objects: int | None = None
    """Objects in a clip. Default: the recipe's; 2 for paper and official."""
    frames: int = 16
    """Frames in a clip."""
    size: int = 224
    """Frame side, pixels; a multiple of 16."""
    stride: int = 4
    """Video frames from one clip frame to the next."""
    seed: int = 0
    """Seed of all clips; clip i depends on it and i alone."""


@dataclass(frozen=True, kw_only=True)
class Options(ClipOptions):
    """Options of `smile-motion render`."""

    out: Path
    """Folder for the clips."""
    n: int = 8
    """Clips."""
    lossless: bool = False
    """Keep every bit of the pixels (RGB H.264; not every player shows it)."""
    rate_hz: float = 8.0
    """Frames a second of the written videos."""
    workers: int | None = None
    """Processes. Default: one per core. The files do not depend on it."""


def background_kind(options: ClipOptions) -> BackgroundKind:
    """The background that is asked for, or else the recipe's own."""
    from smile_motion.rivals import RIVALS

    rival = RIVALS.get(options.recipe)
    return options.background or (rival.background if rival else "noise")


def make_maker(options: ClipOptions) -> ClipMaker:
    """Open what the options name.

    Raises InputError when something does not exist or does not fit.
    """
    from smile_motion.backgrounds import make_background
    from smile_motion.bank import ObjectBank
    from smile_motion.clips import ClipMaker
    from smile_motion.recipe import MotionRecipe
    from smile_motion.rivals import recipe_bank
    from smile_motion.tokens import TokenGrid

    TokenGrid(frames=options.frames, height=options.size, width=options.size, tubelet=1)
    background = make_background(
        background_kind(options),
        videos=options.videos,
        images=options.images,
        stride=options.stride,
        noise=options.noise,
        noise_per_frame=options.noise_per_frame,
    )
    return ClipMaker(
        bank=ObjectBank.open(options.bank)
        if options.bank
        else recipe_bank(options.recipe, images=options.images),
        recipe=MotionRecipe.named(
            options.recipe,
            objects=options.objects,
            path=options.path,
            transform=options.transform,
        ),
        background=background,
        frames=options.frames,
        size=(options.size, options.size),
        seed=options.seed,
    )


def run(options: Options) -> None:
    """Render the clips that are not there yet, then write the index."""
    from smile_motion.bank.layout import dump_json, write_atomically
    from smile_motion.bank.progress import progress_bar
    from smile_motion.clip_files import ClipWriter, write_index

    if options.n < 1:
        raise InputError(f"--n is {options.n}; ask for at least 1 clip")
    if options.workers is not None and options.workers < 0:
        raise InputError(f"--workers is {options.workers}; give 0 for none, or a number of them")
    if not 0 < options.rate_hz <= 240:
        raise InputError(f"--rate-hz is {options.rate_hz}; give more than 0, at most 240")
    maker = make_maker(options)
    writer = ClipWriter(
        maker=maker, folder=options.out, lossless=options.lossless, rate_hz=options.rate_hz
    )
    if options.out.exists() and not options.out.is_dir():
        raise InputError(f"{options.out}: a file is in the way; choose another --out")
    options.out.mkdir(parents=True, exist_ok=True)
    kept = _start_or_continue(options, maker)
    if not kept:
        write_atomically(options.out / SETTINGS, dump_json(_settings(options, maker)))
    todo = [index for index in range(options.n) if index not in kept]
    lines = dict(kept)
    with progress_bar() as on_progress:
        on_progress("rendering", len(lines), options.n)
        for line in _written(writer, todo, options.workers):
            lines[line["index"]] = line
            on_progress("rendering", len(lines), options.n)
    write_index(options.out, [lines[index] for index in range(options.n)])
    again = f", {len(kept)} of them there already" if kept else ""
    print(f"{options.out}: {options.n} clips{again}, index.jsonl")
    print(f"to look at some of them: {_preview_command(options)}")


def _written(writer: ClipWriter, todo: list[int], workers: int | None) -> Iterator[dict[str, Any]]:
    workers = min(os.cpu_count() or 1, len(todo) // 8) if workers is None else workers
    if workers < 2:
        yield from map(writer.write, todo)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        with _interrupts_ignored():
            results = pool.map(writer.write, todo, chunksize=4)
        yield from results
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, perhaps for want of memory; run the same command again with "
            "fewer --workers, finished clips are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes started inside finish their clips after Ctrl-C, which a terminal sends to
    all of them; they inherit that it is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _preview_command(options: Options) -> str:
    """The command that shows the first clips of this collection."""
    words = ["smile-motion", "preview"]
    for entry in fields(ClipOptions):
        value = getattr(options, entry.name)
        if value != entry.default:
            words += [f"--{entry.name}", str(value)]
    return shlex.join([*words, "--out", str(options.out / "preview.html")])


def _settings(options: Options, maker: ClipMaker) -> dict[str, Any]:
    """What a clip's bytes depend on, besides its number."""
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options).items()
        if name not in ("out", "n", "workers", "bank")
    }
    return settings | {
        "background": background_kind(options),
        "bank_sha256": maker.bank.card["metadata_sha256"],
    }


def _start_or_continue(options: Options, maker: ClipMaker) -> dict[int, dict[str, Any]]:
    """Lines of clips that an earlier run with these settings wrote and that are still sound."""
    from smile_motion.clip_files import describe_files

    path = options.out / SETTINGS
    if not path.is_file():
        if any(options.out.glob("clip_*")):
            raise InputError(f"{options.out}: holds other clips; choose another --out")
        return {}
    wanted = _settings(options, maker)
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); choose another --out") from error
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing:
        names = ", ".join(
            f"{name} {found.get(name)!r} there, {wanted[name]!r} asked for" for name in differing
        )
        raise InputError(f"{options.out}: holds clips made otherwise ({names}); use another --out")
    kept = {}
    for index in range(options.n):
        if all((options.out / f"clip_{index:06d}.{end}").is_file() for end in ("mp4", "json")):
            try:
                kept[index] = describe_files(options.out, index)
            except (ValueError, KeyError, TypeError):
                continue  # A damaged clip is rendered again.
    return kept
