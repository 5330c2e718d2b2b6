"""Build a bank from an `ObjectSource`, in several processes, resuming an interrupted build."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
from annotated_types import Ge

from smile_motion.bank.builder.journal import (
    JOURNAL,
    Journal,
    conclude,
    read_journal,
    start,
    sweep,
)
from smile_motion.bank.builder.manifest import BankManifest, finish, finish_shard, pack_if_needed
from smile_motion.bank.builder.shards import is_finished, require_finished_alike
from smile_motion.bank.builder.sources import ObjectSource
from smile_motion.bank.format import CARD, FORMAT, ObjectRecord, read_card
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.files import sha256, write_atomically
from smile_motion.io.images import PNG_OBJECT, encode_apng, encode_png
from smile_motion.io.output_folders import folder_lock
from smile_motion.io.schema import require_same
from smile_motion.runtime.devices import available_cores
from smile_motion.runtime.partition import Partition
from smile_motion.runtime.progress import OnProgress
from smile_motion.runtime.workers import run_in_processes

POSE_MS = 100
"""Duration of a pose in the stored image where its source says none, milliseconds."""
WORTH_A_PROCESS = 64
"""Objects for which another process pays, where the number of processes is left open."""
CHUNK = 16
"""Objects that a process is given at a time."""


def build(
    source: ObjectSource,
    out: Path,
    *,
    card: dict[str, Any] | None = None,
    workers: int | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> ObjectBank:
    """Build a bank, or resume its build, and open it.

    The result depends neither on the number of processes nor on interruptions.

    Args:
        source: Makes the objects.
        out: Folder of the bank.
        card: Entries of the card besides those of the source.
        workers: Number of processes, 0 for this one; by default one per core, or fewer.
        on_progress: Called with (stage, done, total).

    Returns:
        The bank.

    Raises:
        InputError: `out` contains another bank, or another process is building it.
    """
    settings = _settings(source, card)
    make_folder(out)
    with folder_lock(out, required=True):
        if (out / CARD).is_file():
            require_same(read_card(out), settings, out, what="a bank")
            sweep(out)
            conclude(out)
        else:
            start(out, settings)
            numbers = range(source.count)
            finish(out, settings, _make(source, out, numbers, workers, on_progress), on_progress)
        pack_if_needed(out, on_progress)
    return ObjectBank(out)


def build_shard(
    source: ObjectSource,
    out: Path,
    shard: Partition,
    *,
    card: dict[str, Any] | None = None,
    workers: int | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> None:
    """Build one part of a bank, or resume it: every `shard.of`-th object from `shard.index`.

    `smile_motion.bank.builder.shards.merge` unites all parts to the same bank as `build` makes.

    Args:
        source: Makes the objects of the whole bank.
        out: Folder of the part.
        shard: Which part of how many.
        card: Entries of the card besides those of the source.
        workers: Number of processes, 0 for this one; by default one per core, or fewer.
        on_progress: Called with (stage, done, total).

    Raises:
        InputError: As for `build`.
    """
    settings = _settings(source, card)
    make_folder(out)
    with folder_lock(out, required=True):
        if is_finished(out):
            require_finished_alike(out, settings, shard)
            conclude(out)
            return
        start(out, {**settings, "shard": [shard.index, shard.of]})
        numbers = range(shard.index, source.count, shard.of)
        records = _make(source, out, numbers, workers, on_progress)
        finish_shard(out, settings, shard.index, shard.of, records)


@dataclass(frozen=True, kw_only=True)
class MadeObject(ObjectRecord):
    """A line of the journal: an object's record and its number."""

    number: Annotated[int, Ge(0)]


def make_folder(out: Path) -> None:
    """Create a bank's folder.

    Raises:
        InputError: `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file is in the way; choose another --out")
    out.mkdir(parents=True, exist_ok=True)


def _settings(source: ObjectSource, card: dict[str, Any] | None) -> dict[str, Any]:
    if source.count < 1:
        raise InputError(f"a bank of {source.count} objects; ask for at least one with --n")
    return {"format": FORMAT, **source.card(), **(card or {}), "count": source.count}


def _make(
    source: ObjectSource,
    out: Path,
    numbers: range,
    workers: int | None,
    on_progress: OnProgress,
) -> BankManifest:
    """Make the objects that the journal lacks, and return the records of all."""
    records = {
        record["number"]: record
        for record in read_journal(out / JOURNAL, MadeObject)
        if (out / record["file_name"]).is_file()
    }
    todo = [number for number in numbers if number not in records]
    on_progress("making objects", len(records), len(numbers))
    with Journal(out / JOURNAL) as journal:
        if workers is None:
            workers = min(available_cores(), len(todo) // WORTH_A_PROCESS)
        work = partial(make_object, source, out)
        for number, record in run_in_processes(work, todo, workers=workers, chunk=CHUNK):
            journal.append([record])
            records[number] = record
            on_progress("making objects", len(records), len(numbers))
    return BankManifest(
        objects=[
            {name: value for name, value in record.items() if name != "number"}
            for record in records.values()
        ]
    )


def make_object(source: ObjectSource, out: Path, number: int) -> dict[str, Any]:
    """Make one object, write its image and return its record."""
    thing = source.make(number)
    poses = thing.image if thing.image.ndim == 4 else thing.image[None]
    animated = {"poses": len(poses)} if len(poses) > 1 else {}
    if animated:
        data = encode_apng(list(poses), round(thing.details.get("pose_ms", POSE_MS)))
    else:
        data = encode_png(poses[0], PNG_OBJECT)
    file_name = f"images/{thing.category}/{thing.name}.png"
    write_atomically(out / file_name, data)
    return {
        "number": number,
        "file_name": file_name,
        "id": f"{thing.category}/{thing.name}",
        "category": thing.category,
        "width": poses.shape[2],
        "height": poses.shape[1],
        "area_share": round(sum(cv2.mean(pose)[3] for pose in poses) / len(poses) / 255, 4),
        **animated,
        "sha256": sha256(data),
        **thing.details,
    }
