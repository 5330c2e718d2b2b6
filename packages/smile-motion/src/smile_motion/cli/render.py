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
from typing import TYPE_CHECKING, Any

from smile_motion.clip_options import ClipOptions
from smile_motion.errors import InputError

if TYPE_CHECKING:
    from smile_motion.clip_files import ClipWriter
    from smile_motion.clips import ClipMaker

SETTINGS = "render.json"


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
    maker = options.make_maker()
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
    shared = {entry.name: getattr(options, entry.name) for entry in fields(ClipOptions)}
    words = ["smile-motion", "preview", *ClipOptions(**shared).arguments()]
    return shlex.join([*words, "--out", str(options.out / "preview.html")])


def _settings(options: Options, maker: ClipMaker) -> dict[str, Any]:
    """What a clip's bytes depend on, besides its number."""
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options).items()
        if name not in ("out", "n", "workers", "bank", "tubelet", "patch")
    }
    settings |= {
        "background": options.background_kind,
        "recipe": maker.recipe.to_json(),
        "bank_sha256": maker.bank.card["metadata_sha256"],
    }
    return json.loads(json.dumps(settings))


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
