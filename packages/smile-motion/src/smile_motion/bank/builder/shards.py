"""Merge the parts of a bank that several processes or machines built."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Interval

from smile_motion.bank.builder.journal import SHARDS, start
from smile_motion.bank.builder.manifest import (
    CATEGORIES,
    SHARD_CARD,
    BankManifest,
    finish,
    pack_if_needed,
)
from smile_motion.bank.format import (
    CANDIDATE_IMAGES,
    CANDIDATES,
    CARD,
    METADATA,
    Hash,
    ObjectRecord,
    is_image_name,
    read_card,
)
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.files import sha256
from smile_motion.io.output_folders import folder_lock, is_locked, place_file
from smile_motion.io.schema import parse_line, read_record, read_records, require_same
from smile_motion.runtime.partition import Partition

PATIENCE_S = 120.0
"""Seconds for which a process of the same launch may hold no lock, as while it imports libraries,
before it counts as dead."""


def is_finished(folder: Path) -> bool:
    """Whether a folder contains a finished part."""
    return (folder / SHARD_CARD).is_file()


def require_finished_alike(folder: Path, settings: Mapping[str, Any], shard: Partition) -> None:
    """Check that a finished part is the wanted one.

    Raises:
        InputError: It is another part, or was built with other settings.
    """
    found = _read_shard_card(folder)
    require_same(
        {**found["settings"], "shard": found["shard"]},
        {**settings, "shard": [shard.index, shard.of]},
        folder,
        what="a bank",
    )


def wait_for_shards(
    folders: Sequence[Path],
    *,
    on_wait: Callable[[int, int], None] = lambda done, total: None,
    patience_s: float = PATIENCE_S,
    poll_s: float = 0.2,
) -> None:
    """Wait until every part of this launch is finished.

    Args:
        folders: Folders of the parts.
        on_wait: Called with (finished, total) at each poll.
        patience_s: Seconds without a lock after which a process counts as dead.
        poll_s: Seconds between polls.

    Raises:
        InputError: The process of a part ended before the part was finished.
    """
    last_seen = [time.monotonic()] * len(folders)
    while True:
        unfinished = [
            number
            for number, folder in enumerate(folders)
            if is_locked(folder) or not is_finished(folder)
        ]
        on_wait(len(folders) - len(unfinished), len(folders))
        if not unfinished:
            return
        now = time.monotonic()
        for number in unfinished:
            if is_locked(folders[number]):
                last_seen[number] = now
            elif now - last_seen[number] > patience_s and not is_finished(folders[number]):
                raise InputError(
                    f"{folders[number]}: its process ended before the shard was finished; run the "
                    f"same command again, which continues it"
                )
        time.sleep(poll_s)


def merge(
    shards: Sequence[Path],
    out: Path,
    *,
    remove: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> ObjectBank:
    """Merge finished parts to the bank that one process would have built, and open it.

    Images are hard links where the file system allows it.

    Args:
        shards: Folders of all parts, in any order.
        out: Folder of the bank.
        remove: Delete the parts once the bank is finished.
        on_progress: Called with (stage, done, total).

    Returns:
        The bank.

    Raises:
        InputError: A part is missing, unfinished, given twice, of another bank, or has changed; or
            `out` contains something else.
    """
    cards = _fitting_cards(shards)
    settings = cards[0]["settings"]
    out.mkdir(parents=True, exist_ok=True)
    with folder_lock(out, required=True):
        if (out / CARD).is_file():
            require_same(read_card(out), settings, out, what="a bank")
        else:
            within = [path for path in shards if path.resolve().parent == out.resolve() / SHARDS]
            start(out, settings, beside=(SHARDS,) if within else ())
            records = _united(shards, cards)
            files = _files(shards, cards)
            for done, (source, target) in enumerate(files, start=1):
                _replace(source, out / target)
                on_progress("placing files", done, len(files))
            finish(out, settings, records, on_progress)
        pack_if_needed(out, on_progress)
        if remove:
            _remove(shards, out)
    return ObjectBank(out)


@dataclass(frozen=True, kw_only=True)
class _ShardCard:
    """Schema of the card of a finished part."""

    shard: tuple[Annotated[int, Interval(ge=0, lt=1 << 20)], Annotated[int, Ge(1)]]
    settings: dict[str, Any]
    sha256: dict[str, Hash]
    timings: Any


def _read_shard_card(folder: Path) -> dict[str, Any]:
    path = folder / SHARD_CARD
    try:
        card = read_record(path, _ShardCard, remedy="build the shard again", unknown="refuse")
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the folders of all shards") from error
        raise InputError(
            f"{folder}: no {SHARD_CARD}, so not a finished shard; run its command again, which "
            f"continues it"
        ) from error
    if unknown := sorted(set(card["sha256"]) - {METADATA, CANDIDATES, CATEGORIES}):
        raise InputError(f"{path}: names a file {unknown[0]!r:.80}; build the shard again")
    if METADATA not in card["sha256"]:
        raise InputError(f"{path}: names no {METADATA}; build the shard again")
    return card


def _fitting_cards(shards: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the cards of all parts and check that they make one bank."""
    if not shards:
        raise InputError("no shard to merge; give the folders of all shards of a bank")
    cards = [_read_shard_card(folder) for folder in shards]
    of = cards[0]["shard"][1]
    places: dict[int, Path] = {}
    for folder, card in zip(shards, cards, strict=True):
        if card["settings"] != cards[0]["settings"] or card["shard"][1] != of:
            require_same(
                {**card["settings"], "shards": card["shard"][1]},
                {**cards[0]["settings"], "shards": of},
                folder,
                what="a bank",
            )
        index = card["shard"][0]
        if index in places:
            raise InputError(f"{folder}: shard {index} of {of}, as {places[index]} is; drop one")
        places[index] = folder
    if missing := sorted(set(range(of)) - set(places)):
        raise InputError(
            f"shard {missing[0]} of {of} is missing; build it with --shard-index {missing[0]} "
            f"--num-shards {of}, and give the folders of all shards"
        )
    return cards


def _united(shards: Sequence[Path], cards: Sequence[dict[str, Any]]) -> BankManifest:
    """Records of all parts, each file checked against its hash."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for folder, card in zip(shards, cards, strict=True):
        for name, expected in card["sha256"].items():
            try:
                data = (folder / name).read_bytes()
            except FileNotFoundError as error:
                raise InputError(f"{folder / name}: missing; build the shard again") from error
            if sha256(data) != expected:
                raise InputError(
                    f"{folder / name}: changed since the shard was built; build the shard again"
                )
            schema = ObjectRecord if name == METADATA else dict[str, Any]
            lines.setdefault(name, []).extend(
                parse_line(line, schema, source=f"{folder / name}:{n}", remedy="build it again")
                for n, line in enumerate(data.splitlines(), start=1)
            )
    for record in lines[METADATA]:
        if not is_image_name(record["file_name"]):
            raise InputError(
                f"file name {record['file_name']!r} in a shard's {METADATA} is not below images/; "
                f"do not use this shard unless you trust who made it"
            )
    timings = {card["shard"][0]: card["timings"] for card in cards}
    return BankManifest(
        objects=lines[METADATA],
        candidates=lines.get(CANDIDATES),
        categories=lines.get(CATEGORIES),
        timings={"shards": [timings[index] for index in sorted(timings)]},
    )


def _files(shards: Sequence[Path], cards: Sequence[dict[str, Any]]) -> list[tuple[Path, str]]:
    """Images of all parts, and their names in the bank."""
    found = []
    for folder, card in zip(shards, cards, strict=True):
        for record in read_records(folder / METADATA, ObjectRecord, remedy="build it again"):
            found.append((folder / record["file_name"], record["file_name"]))
        if CANDIDATES in card["sha256"]:
            for path in sorted((folder / CANDIDATE_IMAGES).rglob("*")):
                if path.is_file():
                    found.append((path, path.relative_to(folder).as_posix()))
    return found


def _replace(source: Path, target: Path) -> None:
    # A killed merge may have left a partial copy.
    target.unlink(missing_ok=True)
    place_file(source, target)


def _remove(shards: Sequence[Path], out: Path) -> None:
    for folder in shards:
        if folder.is_dir():
            with folder_lock(folder, required=True):
                shutil.rmtree(folder)
    if (out / SHARDS).is_dir() and not any((out / SHARDS).iterdir()):
        (out / SHARDS).rmdir()
