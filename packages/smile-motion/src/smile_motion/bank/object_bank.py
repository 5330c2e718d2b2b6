"""An object bank, opened."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.bank.format import (
    BUILD_AGAIN,
    METADATA,
    PACKED,
    ObjectRecord,
    read_card,
    read_metadata,
    read_rgba,
)
from smile_motion.bank.packing import LEVELS, PIXELS, is_packed, open_arrays, pack
from smile_motion.errors import BankError, InputError
from smile_motion.io.schema import parse_line

if TYPE_CHECKING:
    from shapely import Geometry


class ObjectBank:
    """Objects to move: pixels mapped from disk, shared by all processes that open the same folder.

    Objects are numbered by category, then id. Opening reads no image and no record.
    """

    def __init__(self, path: Path) -> None:
        """Open a packed bank; use `ObjectBank.open`, which packs it where that is due.

        Raises:
            BankError: One of its arrays is damaged.
        """
        self._path = path
        self.categories, arrays = open_arrays(path)
        self._file = (path / PACKED / PIXELS).open("rb", buffering=0)
        self._reading = threading.local()
        self.offset = arrays.offset
        """(N, L) int64: where a level starts in `pixels`, bytes."""
        self.size = arrays.size
        """(N, L, 2) int32: width and height of a level, pixels."""
        self.hull = arrays.cover
        """(N, 16, 2) float32: a convex polygon around all that is not clear, unit coordinates."""
        self.category = np.array(arrays.category)
        """(N,) int32, ascending: each object's place in `categories`."""
        self._ring, self._ring_start = arrays.ring, arrays.ring_start
        self._ring_hole, self._object_ring = arrays.ring_hole, arrays.object_ring
        self._count_categories()

    def _count_categories(self) -> None:
        starts = np.searchsorted(self.category, np.arange(len(self.categories) + 1))
        self._class_start, self._class_count = starts[:-1], np.diff(starts)

    @property
    def path(self) -> Path:
        """The bank's folder."""
        return self._path

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that its objects lie in: one, or those of banks that are used as one."""
        return (self._path,)

    @property
    def name(self) -> str:
        """Where it lies, for people."""
        return " + ".join(map(str, self.folders))

    @classmethod
    def open(cls, path: Path | str) -> ObjectBank:
        """Open a bank's folder, packing its pixels first where they are not, or no longer, packed.

        Raises:
            BankError: The folder is no bank or one of its images cannot be read.
        """
        path = Path(path)
        try:
            read_card(path)
            if not (path / METADATA).is_file():
                raise BankError(f"{path / METADATA}: missing; build the bank again")
            if not is_packed(path):
                _pack_visibly(path)
            return cls(path)
        except InputError as error:
            raise BankError(*error.args) from error

    @cached_property
    def pixels(self) -> np.ndarray:
        """Every level of every object, one after the other, (bytes,) uint8, mapped from disk.

        A level is (height + 2, width + 2, 4) premultiplied RGBA with a clear border.
        """
        return np.memmap(self._file, np.uint8, mode="r").view(np.ndarray)

    def read_levels(
        self, objects: np.ndarray, lowest: np.ndarray, highest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the levels lowest..highest, (K,) int64 each, of objects (K,); none if highest < 0.

        A plain read beats the memory map: a quarter of the time where the disk must be asked, a
        tenth less where not, and no memory of its own in every worker (docs/performance.md).

        Returns:
            Words (n,) uint32, overwritten by the next call in the same thread, and offset (K, L)
            int64: where each level starts in them, right for the levels that were read.

        Raises:
            BankError: The file is cut off.
        """
        slots = np.arange(len(objects))
        offset = self.offset[objects]
        start = offset[slots, np.minimum(lowest, LEVELS - 1)]
        end = offset[slots, highest] + 4 * (self.size[objects, highest] + 2).prod(axis=1)
        count = np.where(highest < 0, 0, end - start)
        at = np.cumsum(count) - count
        total = int(at[-1] + count[-1]) if len(count) else 0
        buffer = getattr(self._reading, "buffer", None)
        if buffer is None or len(buffer) < total:
            buffer = self._reading.buffer = np.empty(max(2 * total, 1 << 20), np.uint8)
        files, places = self._find_pixels(objects, start)
        view = buffer.data
        spans = list(zip(files, places.tolist(), at.tolist(), count.tolist(), strict=True))
        for file, source, _, size in spans:  # So that a cold disk fetches all of them at once.
            _announce(file.fileno(), source, size)
        for file, source, into, size in spans:
            if os.preadv(file.fileno(), [view[into : into + size]], source) < size:
                path = Path(file.name)
                raise BankError(f"{path}: cut off; remove {path.parent}, and it is made again")
        return buffer.view(np.uint32), (offset + (at - start)[:, None]) >> 2

    def _find_pixels(
        self, objects: np.ndarray, start: np.ndarray
    ) -> tuple[list[FileIO], np.ndarray]:
        """The file that each object's pixels are in, and where `start`, (K,) bytes, lies there."""
        return [self._file] * len(objects), start

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickle as a path: another process maps the same files."""
        return ObjectBank, (self.path,)

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.category)

    @cached_property
    def card(self) -> dict[str, Any]:
        """The bank's card: source, settings, counts, licence."""
        return read_card(self.path)

    def record(self, index: int) -> dict[str, Any]:
        """One object's line of metadata: `id`, `file_name`, `category`, `sha256` and more."""
        start, end = self._lines[index], self._lines[index + 1]
        with (self.path / METADATA).open("rb") as file:
            file.seek(start)
            return self._parse(file.read(end - start), index)

    def records(self) -> list[dict[str, Any]]:
        """All lines of metadata, in the bank's order; see `record`."""
        return read_metadata(self.path)

    @cached_property
    def _lines(self) -> np.ndarray:
        """Where each line of metadata starts, and the last ends, (N + 1,) int64 bytes: a hundredth
        of what all records would take, in every process that asks for one."""
        text = np.memmap(self.path / METADATA, np.uint8, mode="r")
        lines = np.concatenate([[0], np.flatnonzero(text == ord("\n")) + 1])
        if len(lines) != len(self) + 1:
            raise BankError(
                f"{self.path / METADATA}: {len(lines) - 1} lines, of {len(self)} packed objects; "
                f"run smile-motion bank pack {self.path} --force"
            )
        return lines

    @cached_property
    def _places(self) -> dict[str, int]:
        with (self.path / METADATA).open("rb") as file:
            return {self._parse(line, index)["id"]: index for index, line in enumerate(file)}

    def _parse(self, line: bytes, index: int) -> dict[str, Any]:
        source = f"{self.path / METADATA}:{index + 1}"
        return parse_line(line, ObjectRecord, source=source, remedy=BUILD_AGAIN)

    def find(self, identifier: str) -> int:
        """Number of the object with this id.

        Raises:
            InputError: The bank has none.
        """
        if identifier not in self._places:
            raise InputError(
                f"{self.name}: no object {identifier!r} among {len(self)}; "
                f"open the bank that has it"
            )
        return self._places[identifier]

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw objects, uniform over categories, then over the objects of one: (count,) int64."""
        drawn = rng.random((2, count))
        category = (drawn[0] * len(self.categories)).astype(np.int64)
        within = (drawn[1] * self._class_count[category]).astype(np.int64)
        return self._class_start[category] + within

    def aspect(self, objects: np.ndarray) -> np.ndarray:
        """Width over height of objects (K,): (K,) float64."""
        size = self.size[objects, 0]
        return size[:, 0] / size[:, 1]

    def rings(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Outer rings and holes of the silhouette, in unit coordinates.

        Returns:
            Points (n, 2) float32 and ring_start (rings + 1,) int64: ring r is points[ring_start[r]
            : ring_start[r + 1]], closed without repeating its first point.
        """
        first, last = self._object_ring[index], self._object_ring[index + 1]
        start = self._ring_start[first : last + 1]
        return self._ring[start[0] : start[-1]], start - start[0]

    def all_rings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rings of every object at once.

        Returns:
            Points (n, 2) float32, ring_start (rings + 1,) int64 as in `rings`, and object_start (N
            + 1,) int64: object i has points object_start[i] : object_start[i + 1].
        """
        return self._ring, self._ring_start, self._ring_start[self._object_ring]

    def outline(self, index: int) -> Geometry:
        """Silhouette as a shapely polygon or multipolygon in unit coordinates, holes kept."""
        import shapely

        points, start = self.rings(index)
        first = self._object_ring[index]
        parts: list[list[np.ndarray]] = []
        for number in range(len(start) - 1):
            ring = points[start[number] : start[number + 1]]
            if self._ring_hole[first + number]:
                parts[-1].append(ring)
            else:
                parts.append([ring])
        polygons = [shapely.Polygon(part[0], part[1:]) for part in parts if len(part[0]) > 2]
        return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)

    def image(self, index: int) -> np.ndarray:
        """The object's stored image, (H, W, 4) uint8 straight-alpha RGBA."""
        return read_rgba(self.path / self.record(index)["file_name"])


def _announce(descriptor: int, start: int, size: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)


def _pack_visibly(path: Path) -> None:
    from smile_motion.runtime.progress import progress_bar

    with progress_bar() as on_progress:
        pack(path, lambda done, total: on_progress(f"packing {path.name}", done, total))
