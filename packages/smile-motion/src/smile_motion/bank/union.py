"""One bank of the objects of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from smile_motion.bank.format import CARD, FORMAT, METADATA, read_bank
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.packing import pack
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, dump_lines, sha256, write_atomically
from smile_motion.io.output_folders import new_folder, place_file
from smile_motion.runtime.progress import OnProgress

ORIGINS = "united_from"
"""Entry of a card with the card of each bank that was united; of a record, which of them it is
from, counted from 0."""


@dataclass(frozen=True, kw_only=True)
class UnitedObject:
    """An object of a union."""

    bank: int
    """Which bank it is from, counted from 0."""
    index: int
    """Its number there."""
    file_name: str
    """Its image there."""
    record: Mapping[str, Any]
    """Its record in the union."""


@dataclass(frozen=True, kw_only=True)
class Union:
    """The bank that several finished ones make together, written or not."""

    objects: Sequence[UnitedObject]
    """By category, then id."""
    metadata: bytes
    """Its file of records."""
    card: Mapping[str, Any]
    """Its card, with the hash of `metadata`."""


def plan_union(folders: Sequence[Path]) -> Union:
    """Choose the objects that several finished banks have together, and their names.

    An image that an earlier bank has is kept once. An object whose id or file name an earlier bank
    gives to another image gets the first eight digits of its image's hash after its own. The card
    has the cards of all.

    Raises:
        InputError: A bank is given twice, or its records are missing or have changed.
    """
    banks = [read_bank(folder) for folder in folders]
    hashes = [card["metadata_sha256"] for card, _ in banks]
    for number, found in enumerate(hashes):
        if found in hashes[:number]:
            raise InputError(
                f"{folders[number]}: the same bank as {folders[hashes.index(found)]}; drop one"
            )
    objects = _united(folders, [records for _, records in banks])
    objects.sort(key=lambda entry: (entry.record["category"], entry.record["id"]))
    lines = dump_lines(dict(entry.record) for entry in objects)
    card = {
        "format": FORMAT,
        "source": "union",
        **_stated_together(folders, [card for card, _ in banks]),
        ORIGINS: [
            {"bank": path.resolve().name, **card}
            for path, (card, _) in zip(folders, banks, strict=True)
        ],
        "duplicates": sum(len(records) for _, records in banks) - len(objects),
        "count": len(objects),
        "categories": len({entry.record["category"] for entry in objects}),
        "metadata_sha256": sha256(lines),
    }
    return Union(objects=objects, metadata=lines, card=card)


def unite(
    folders: Sequence[Path],
    out: Path,
    *,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> ObjectBank:
    """Write the bank that has the objects of several finished ones, packed, and open it.

    Which objects it has, and under which names, `plan_union` says. Images are hard links where the
    file system allows it.

    Raises:
        InputError: `out` is taken, a bank is given twice, or a file of a bank is missing or has
            changed.
    """
    if len(folders) < 2:
        raise InputError(f"{len(folders)} bank to unite; give two or more")
    union = plan_union(folders)
    count = len(union.objects)
    with new_folder(out) as folder:
        for done, entry in enumerate(union.objects, start=1):
            place_file(folders[entry.bank] / entry.file_name, folder / entry.record["file_name"])
            on_progress("placing images", done, count)
        write_atomically(folder / METADATA, union.metadata)
        write_atomically(folder / CARD, dump_json(union.card))
        pack(folder, lambda done, total: on_progress("packing pixels", done, total))
    return ObjectBank(out)


def _united(
    folders: Sequence[Path], banks: Sequence[Sequence[Mapping[str, Any]]]
) -> list[UnitedObject]:
    """The objects of all banks under names of their own."""
    united: list[UnitedObject] = []
    images, ids, names = set[str](), set[str](), set[str]()
    for number, (folder, records) in enumerate(zip(folders, banks, strict=True)):
        new = [
            (index, record)
            for index, record in enumerate(records)
            if record["sha256"] not in images
        ]
        for index, record in new:
            id_, name = record["id"], record["file_name"]
            if id_ in ids or name in names:
                mark = f"-{record['sha256'][:8]}"
                path = PurePosixPath(name)
                id_, name = f"{id_}{mark}", path.with_stem(f"{path.stem}{mark}").as_posix()
            if id_ in ids or name in names:
                raise InputError(
                    f"{folder}: object {record['id']} has the same id and hash as others; was its "
                    f"{METADATA} written by hand?"
                )
            ids.add(id_)
            names.add(name)
            changed = {**record, "id": id_, "file_name": name, ORIGINS: number}
            united.append(
                UnitedObject(
                    bank=number, index=index, file_name=record["file_name"], record=changed
                )
            )
        images |= {record["sha256"] for _, record in new}
    return united


def _stated_together(
    folders: Sequence[Path], cards: Sequence[Mapping[str, Any]]
) -> dict[str, str | dict[str, str]]:
    """What the cards say of licence and safety."""
    licences = list(dict.fromkeys(card.get("licence") or "not stated" for card in cards))
    licence = licences[0] if len(licences) == 1 else f"several: {'; '.join(licences)}"
    safety = {
        f"{number} ({folder.resolve().name})": _in_words(card.get("safety"))
        for number, (folder, card) in enumerate(zip(folders, cards, strict=True))
    }
    return {"licence": licence, "safety": safety}


def _in_words(safety: object) -> str:
    if isinstance(safety, Mapping):
        return "; ".join(f"{name}: {value}" for name, value in safety.items())
    return str(safety or "not stated; look through the images before sharing")
