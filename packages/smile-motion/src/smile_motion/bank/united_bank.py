"""Several banks used as one, without writing the bank that they make together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.union import ORIGINS, plan_union
from smile_motion.errors import InputError

if TYPE_CHECKING:
    from shapely import Geometry


def open_bank(folder: Path | str, *more: Path | str) -> ObjectBank:
    """Open a bank, or several as one.

    Several banks are what `smile-motion bank merge` would write of them, in this order: the same
    objects under the same ids and numbers, and the same card with the same hash, so that clips,
    plans and truth are the same, and one can stand for the other. Nothing is written.

    Args:
        folder: A bank's folder.
        *more: Those of further banks. The order counts: an image that an earlier bank has is used
            once, and a later bank's object is renamed where an earlier one has its id.

    Raises:
        InputError: A folder is no bank, a bank is given twice, or an image cannot be read.
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
    """Which objects of which banks a union's are, in its order."""

    bank: np.ndarray
    """(N,) int32: each object's bank, counted from 0."""
    index: np.ndarray
    """(N,) int64: its number there."""
    ids: tuple[str, ...]
    """Its id in the union."""
    file_names: tuple[str, ...]
    """Its file name in the union, if it were written."""
    card: Mapping[str, Any]
    """The union's card."""


class UnitedBank(ObjectBank):
    """Several banks as one; see `open_bank`. Pixels are read from each bank's own file."""

    def __init__(self, parts: Sequence[ObjectBank], numbering: _Numbering) -> None:
        """Number the objects of opened banks anew."""
        self._parts, self._numbering = tuple(parts), numbering
        self._files = [part._file for part in parts]
        self._reading = threading.local()
        ends = np.cumsum([0, *(Path(file.name).stat().st_size for file in self._files)])
        self._start = ends[:-1]
        """(parts,) int64: where each bank's pixels start among those of all."""
        self.categories = tuple(sorted({name for part in parts for name in part.categories}))
        place = {name: number for number, name in enumerate(self.categories)}
        order = self._order
        self.offset = np.concatenate(
            [part.offset + start for part, start in zip(parts, self._start, strict=True)]
        )[order]
        self.size = np.concatenate([part.size for part in parts])[order]
        self.hull = np.concatenate([part.hull for part in parts])[order]
        self.category = np.concatenate(
            [np.array([place[name] for name in part.categories])[part.category] for part in parts]
        )[order].astype(np.int32)
        self._count_categories()

    @property
    def _order(self) -> np.ndarray:
        """(N,) int64: each object's place among those of all banks, one after the other."""
        first = np.cumsum([0, *map(len, self._parts)])
        return first[self._numbering.bank] + self._numbering.index

    @property
    def path(self) -> Path:
        """Raises InputError: there is no folder that holds all."""
        folders = " ".join(map(str, self.folders))
        raise InputError(
            f"{self.name}: several banks in folders of their own; for one folder run "
            f"smile-motion bank merge {folders} --out BANK"
        )

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the banks, in order."""
        return tuple(part.path for part in self._parts)

    @cached_property
    def pixels(self) -> np.ndarray:
        """Every level of every object, (bytes,) uint8, copied from all banks; see `offset`."""
        return np.concatenate([part.pixels for part in self._parts])

    def _find_pixels(
        self, objects: np.ndarray, start: np.ndarray
    ) -> tuple[list[FileIO], np.ndarray]:
        bank = self._numbering.bank[objects]
        return [self._files[number] for number in bank.tolist()], start - self._start[bank]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickle as paths and numbers: another process maps the files and reads no records."""
        return UnitedBank, (self._parts, self._numbering)

    @cached_property
    def card(self) -> dict[str, Any]:
        """The card of the bank that they make together, with those of all."""
        return dict(self._numbering.card)

    def record(self, index: int) -> dict[str, Any]:
        """One object's record, as the written bank has it; `united_from` says whose it is."""
        bank, own = self._own(index)
        return self._renamed(index, self._parts[bank].record(own))

    def records(self) -> list[dict[str, Any]]:
        """All records, in order."""
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

    def rings(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Outer rings and holes of an object's silhouette; see `ObjectBank.rings`."""
        bank, own = self._own(index)
        return self._parts[bank].rings(own)

    def all_rings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rings of every object at once; see `ObjectBank.all_rings`."""
        each = [self.rings(index) for index in range(len(self))]
        sizes = np.concatenate([np.diff(start) for _, start in each])
        ring_start = np.concatenate([[0], np.cumsum(sizes)])
        object_start = np.concatenate([[0], np.cumsum([len(points) for points, _ in each])])
        return np.concatenate([points for points, _ in each]), ring_start, object_start

    def outline(self, index: int) -> Geometry:
        """Silhouette of an object; see `ObjectBank.outline`."""
        bank, own = self._own(index)
        return self._parts[bank].outline(own)

    def image(self, index: int) -> np.ndarray:
        """The object's stored image; see `ObjectBank.image`."""
        bank, own = self._own(index)
        return self._parts[bank].image(own)
