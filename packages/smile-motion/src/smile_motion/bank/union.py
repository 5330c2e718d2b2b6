"""Several banks as one: opened without writing anything, or written as a new bank."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.bank.format import CARD, FORMAT, METADATA, read_bank
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.packing import pack
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, dump_lines, sha256, write_atomically
from smile_motion.io.output_folders import new_folder, place_file
from smile_motion.runtime.progress import OnProgress

if TYPE_CHECKING:
    from shapely import Geometry

ORIGINS = "united_from"
"""Entry of a card: the cards of the united banks; of a record: the number of its bank, from 0."""


@dataclass(frozen=True, kw_only=True)
class UnitedObject:
    """An object of a union of banks."""

    bank: int
    """Number of its bank, from 0."""
    index: int
    """Its number in that bank."""
    file_name: str
    """Its image file in that bank."""
    record: Mapping[str, Any]
    """Its record in the union."""


@dataclass(frozen=True, kw_only=True)
class Union:
    """Contents of the union of several finished banks."""

    objects: Sequence[UnitedObject]
    """Sorted by category, then id."""
    metadata: bytes
    """Contents of its `metadata.jsonl`."""
    card: Mapping[str, Any]
    """Its card, with the hash of `metadata`."""


def plan_union(folders: Sequence[Path]) -> Union:
    """Determine the objects of the union of several finished banks, and their ids.

    An image that several banks contain is kept once. An object whose id or file name an earlier
    bank uses for another image gets the first eight digits of its image's hash as a suffix.

    Args:
        folders: Folders of the banks; the order decides which bank keeps a shared image or name.

    Returns:
        The union, whose card contains the cards of all banks.

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
    """Write the union of several finished banks as a new bank, pack it and open it.

    `plan_union` determines its objects and their ids. Images are hard links where the file system
    allows it.

    Args:
        folders: Folders of the banks, at least two.
        out: Folder of the new bank.
        on_progress: Called with (stage, done, total).

    Returns:
        The new bank.

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
    """Objects of all banks under unique ids and file names."""
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
    """License, attribution and safety entries of the union's card."""
    licences = list(dict.fromkeys(card.get("licence") or "not stated" for card in cards))
    stated = {"licence": licences[0] if len(licences) == 1 else f"several: {'; '.join(licences)}"}
    if attributions := list(dict.fromkeys(filter(None, (c.get("attribution") for c in cards)))):
        stated["attribution"] = "; ".join(attributions)
    safety = {
        f"{number} ({folder.resolve().name})": _in_words(card.get("safety"))
        for number, (folder, card) in enumerate(zip(folders, cards, strict=True))
    }
    return {**stated, "safety": safety}


def _in_words(safety: object) -> str:
    if isinstance(safety, Mapping):
        return "; ".join(f"{name}: {value}" for name, value in safety.items())
    return str(safety or "not stated; look through the images before sharing")


def open_bank(folder: Path | str, *more: Path | str) -> ObjectBank:
    """Open a bank, or several banks as one, without writing anything.

    Several banks have the same objects, ids, numbers and card hash as the bank that
    `smile-motion bank merge` would write of them in this order, so that clips, plans and truth are
    the same with either.

    Args:
        folder: Folder of a bank.
        *more: Folders of further banks. An image that an earlier bank contains is used once; an
            object whose id an earlier bank has is renamed.

    Returns:
        The bank.

    Raises:
        InputError: A folder is not a bank, a bank is given twice, or an image cannot be read.
    """
    if not more:
        return ObjectBank.open(folder)
    parts = [ObjectBank.open(path) for path in (folder, *more)]
    union = plan_union([part.path for part in parts])
    numbering = _Numbering(
        bank=np.array([entry.bank for entry in union.objects], np.int32),
        index=np.array([entry.index for entry in union.objects], np.int64),
        ids=tuple(entry.record["id"] for entry in union.objects),
        file_names=tuple(entry.record["file_name"] for entry in union.objects),
        card=union.card,
    )
    return UnitedBank(parts, numbering)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Numbering:
    """Where the N objects of a union come from, in the union's order."""

    bank: np.ndarray
    """(N,) int32: number of each object's bank, from 0."""
    index: np.ndarray
    """(N,) int64: its number in that bank."""
    ids: tuple[str, ...]
    """Ids in the union."""
    file_names: tuple[str, ...]
    """File names in the union, if it were written."""
    card: Mapping[str, Any]
    """The union's card."""


class UnitedBank(ObjectBank):
    """Several banks as one; see `open_bank`. Pixels are read from the file of each bank."""

    def __init__(self, parts: Sequence[ObjectBank], numbering: _Numbering) -> None:
        """Number the objects of open banks as in their union."""
        self._parts, self._numbering = tuple(parts), numbering
        self._files = [part._file for part in parts]
        self._reading = threading.local()
        ends = np.cumsum([0, *(Path(file.name).stat().st_size for file in self._files)])
        self._start = ends[:-1]
        """(parts,) int64: offset of each bank's pixels in the concatenation of all, bytes."""
        self.categories = tuple(sorted({name for part in parts for name in part.categories}))
        place = {name: number for number, name in enumerate(self.categories)}
        self.pose_start, self._pose_bank = None, numbering.bank
        poses = order = self._order
        if any(part.pose_start is not None for part in parts):
            poses = self._number_poses(order)
        self.offset = np.concatenate(
            [part.offset + start for part, start in zip(parts, self._start, strict=True)]
        )[poses]
        self.size = np.concatenate([part.size for part in parts])[poses]
        self.hull = np.concatenate([part.hull for part in parts])[poses]
        self.category = np.concatenate(
            [np.array([place[name] for name in part.categories])[part.category] for part in parts]
        )[order].astype(np.int32)
        self._count_categories()

    def _number_poses(self, order: np.ndarray) -> np.ndarray:
        """Number the poses of all objects, in the union's order.

        Args:
            order: `_order`.

        Returns:
            (P,) int64: index of each pose in the concatenation of all banks.
        """
        counts = [part.count_poses(np.arange(len(part))) for part in self._parts]
        all_counts = np.concatenate(counts)
        first = (np.cumsum(all_counts) - all_counts)[order]
        own = all_counts[order]
        self.pose_start = np.concatenate([[0], np.cumsum(own)])
        self._pose_bank = np.repeat(self._numbering.bank, own)
        return np.repeat(first - self.pose_start[:-1], own) + np.arange(own.sum())

    @property
    def _order(self) -> np.ndarray:
        """(N,) int64: index of each object in the concatenation of all banks."""
        first = np.cumsum([0, *map(len, self._parts)])
        return first[self._numbering.bank] + self._numbering.index

    @property
    def path(self) -> Path:
        """Raise InputError: no single folder contains a union."""
        folders = " ".join(map(str, self.folders))
        raise InputError(
            f"{self.name}: several banks in folders of their own; for one folder run "
            f"smile-motion bank merge {folders} --out BANK"
        )

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the banks, in order."""
        return tuple(part.path for part in self._parts)

    @cached_property
    def pixels(self) -> np.ndarray:
        """All levels of all objects, (bytes,) uint8, copied from all banks; see `offset`."""
        return np.concatenate([part.pixels for part in self._parts])

    def _find_pixels(self, poses: np.ndarray, start: np.ndarray) -> tuple[list[FileIO], np.ndarray]:
        bank = self._pose_bank[poses]
        return [self._files[number] for number in bank.tolist()], start - self._start[bank]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as paths and numbers: another process maps the files and reads no records."""
        return (UnitedBank, (self._parts, self._numbering), *self._changes())

    @property
    def origins(self) -> np.ndarray:
        """(N,) int32: number of each object's bank among `folders`."""
        return self._numbering.bank

    @cached_property
    def card(self) -> dict[str, Any]:
        """Card of the union, with the cards of all banks."""
        return dict(self._numbering.card)

    def record(self, index: int) -> dict[str, Any]:
        """Record of object `index` in the union; `united_from` is the number of its bank."""
        bank, own = self._own(index)
        return self._renamed(index, self._parts[bank].record(own))

    def records(self) -> list[dict[str, Any]]:
        """Records of all objects, in order."""
        own = [part.records() for part in self._parts]
        bank, index = self._numbering.bank.tolist(), self._numbering.index.tolist()
        return [
            self._renamed(i, own[b][n]) for i, (b, n) in enumerate(zip(bank, index, strict=True))
        ]

    def _own(self, index: int) -> tuple[int, int]:
        return int(self._numbering.bank[index]), int(self._numbering.index[index])

    def _renamed(self, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **record,
            "id": self._numbering.ids[index],
            "file_name": self._numbering.file_names[index],
            ORIGINS: int(self._numbering.bank[index]),
        }

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self._numbering.ids)}

    def rings(self, index: int, pose: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Rings of an object's silhouette; see `ObjectBank.rings`."""
        bank, own = self._own(index)
        return self._parts[bank].rings(own, pose)

    def all_rings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rings of all poses; see `ObjectBank.all_rings`."""
        counts = self.count_poses(np.arange(len(self))).tolist()
        each = [self.rings(i, pose) for i, count in enumerate(counts) for pose in range(count)]
        sizes = np.concatenate([np.diff(start) for _, start in each])
        ring_start = np.concatenate([[0], np.cumsum(sizes)])
        point_start = np.concatenate([[0], np.cumsum([len(points) for points, _ in each])])
        return np.concatenate([points for points, _ in each]), ring_start, point_start

    def outline(self, index: int, pose: int = 0) -> Geometry:
        """Silhouette of an object; see `ObjectBank.outline`."""
        bank, own = self._own(index)
        return self._parts[bank].outline(own, pose)

    def images(self, index: int) -> Iterator[np.ndarray]:
        """Read the stored images of an object's poses; see `ObjectBank.images`."""
        bank, own = self._own(index)
        return self._parts[bank].images(own)
