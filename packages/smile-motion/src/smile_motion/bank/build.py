"""Building a bank: any source, several processes, continued where it was stopped."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.bank.layout import (
    CARD,
    FORMAT,
    METADATA,
    dump_json,
    dump_lines,
    encode_png,
    read_card,
    sha256,
    write_atomically,
)
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.pack import is_packed, pack
from smile_motion.bank.sources import ObjectSource
from smile_motion.errors import InputError

SETTINGS = "build.json"
"""What a build was started with; there while it is unfinished."""
JOURNAL = "build.jsonl"
"""A line per finished object; there while the build is unfinished."""
CHUNK = 16
"""Objects handed to a process at a time."""

OnProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def build(
    source: ObjectSource,
    out: Path,
    *,
    card: dict[str, Any] | None = None,
    workers: int | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> ObjectBank:
    """Make a bank, or continue one, and open it.

    card     what the card says besides the source's own entries.
    workers  processes; as many as cores by default, 0 works in this one.
    The result does not depend on `workers`, nor on how often the build was stopped and continued.
    Raises InputError when `out` holds another bank, or another process is building it.
    """
    settings = {"format": FORMAT, **source.card(), **(card or {}), "count": source.count}
    if source.count < 1:
        raise InputError(f"a bank of {source.count} objects; ask for at least one with --n")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file is in the way; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        if (out / CARD).is_file():
            _require_same(read_card(out), settings, out)
        else:
            _make_objects(source, out, settings, workers, on_progress)
        if not is_packed(out):
            pack(out, lambda done, total: on_progress("packing pixels", done, total))
    return ObjectBank(out)


def _make_objects(
    source: ObjectSource,
    out: Path,
    settings: dict[str, Any],
    workers: int | None,
    on_progress: OnProgress,
) -> None:
    if (out / SETTINGS).is_file():
        _require_same(json.loads((out / SETTINGS).read_text(encoding="utf-8")), settings, out)
    elif unknown := sorted(path.name for path in out.iterdir() if not path.name.startswith(".")):
        raise InputError(f"{out}: holds {unknown[0]} and is no bank; choose an empty --out")
    write_atomically(out / SETTINGS, dump_json(settings))
    records = _read_journal(out)
    todo = [number for number in range(source.count) if number not in records]
    on_progress("making objects", len(records), source.count)
    with (out / JOURNAL).open("ab") as journal:
        for made in _made(source, out, todo, workers):
            journal.write(dump_lines(made))
            journal.flush()
            records.update((record["number"], record) for record in made)
            on_progress("making objects", len(records), source.count)
    ordered = sorted(records.values(), key=lambda record: (record["category"], record["id"]))
    for record in ordered:
        del record["number"]
    write_atomically(out / METADATA, dump_lines(ordered))
    categories = len({record["category"] for record in ordered})
    finished = {
        **settings,
        "categories": categories,
        "metadata_sha256": sha256((out / METADATA).read_bytes()),
    }
    write_atomically(out / CARD, dump_json(finished))
    (out / JOURNAL).unlink()
    (out / SETTINGS).unlink()


def _made(
    source: ObjectSource, out: Path, todo: list[int], workers: int | None
) -> Iterator[list[dict[str, Any]]]:
    chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    workers = min(os.cpu_count() or 1, len(chunks)) if workers is None else workers
    if workers < 2:
        for chunk in chunks:
            yield make_chunk(source, out, chunk)
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn)
    try:
        yield from pool.map(make_chunk, [source] * len(chunks), [out] * len(chunks), chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def make_chunk(source: ObjectSource, out: Path, numbers: list[int]) -> list[dict[str, Any]]:
    """Make and write some objects; returns their records."""
    records = []
    for number in numbers:
        thing = source.make(number)
        data = encode_png(thing.image)
        file_name = f"images/{thing.category}/{thing.name}.png"
        write_atomically(out / file_name, data)
        records.append(
            {
                "number": number,
                "file_name": file_name,
                "id": f"{thing.category}/{thing.name}",
                "category": thing.category,
                "width": thing.image.shape[1],
                "height": thing.image.shape[0],
                "area_share": round(float(thing.image[..., 3].mean() / 255), 4),
                "sha256": sha256(data),
                **thing.details,
            }
        )
    return records


def _read_journal(out: Path) -> dict[int, dict[str, Any]]:
    """Records of objects that an earlier run finished; a line torn by its end is dropped."""
    path = out / JOURNAL
    if not path.is_file():
        return {}
    records, sound = {}, 0
    data = path.read_bytes()
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        record = json.loads(line)
        sound += len(line)
        if (out / record["file_name"]).is_file():
            records[record["number"]] = record
    if sound < len(data):
        with path.open("r+b") as journal:
            journal.truncate(sound)
    return records


def _require_same(found: dict[str, Any], wanted: dict[str, Any], out: Path) -> None:
    differing = [
        f"{name} {found.get(name)!r} there, {wanted[name]!r} asked for"
        for name in wanted
        if found.get(name) != wanted[name]
    ]
    if differing:
        raise InputError(
            f"{out}: holds a bank made otherwise ({'; '.join(differing)}); choose another --out"
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however the process ends."""
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{out}: another process is building it; wait, or choose another --out"
            ) from error
        yield
