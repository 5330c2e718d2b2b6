"""Open an object bank and read its objects."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from smile_motion.bank.format import (
    BUILD_AGAIN,
    METADATA,
    PACKED,
    ObjectRecord,
    read_card,
    read_metadata,
    read_poses,
)
from smile_motion.bank.packed_object import LEVELS
from smile_motion.bank.packing import PIXELS, is_packed, open_arrays, pack
from smile_motion.errors import BankError, InputError
from smile_motion.io.schema import parse_line

if TYPE_CHECKING:
    from shapely import Geometry


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectDraws:
    """Distribution that objects are drawn from: G groups, each with a probability, uniform within.

    `smile_motion.bank.subset.draw_from` makes it.
    """

    members: np.ndarray
    """(M,) int64: numbers of the objects, group by group."""
    start: np.ndarray
    """(G,) int64: index of each group's first object in `members`."""
    count: np.ndarray
    """(G,) int64: objects of each group, 1 or more."""
    edges: np.ndarray
    """(G,) float64, ascending to 1: probability of a group and all before it."""
    chosen: Mapping[str, Any]
    """What was asked for, by the names of `draw_from`'s arguments; JSON values."""

    def probability(self, objects: int) -> np.ndarray:
        """Probability, (objects,) float64, that a draw is each object of the bank."""
        found = np.zeros(objects)
        found[self.members] = np.repeat(np.diff(self.edges, prepend=0.0) / self.count, self.count)
        return found


class ObjectBank:
    """An open object bank; pixels are mapped from disk and shared by all processes.

    Objects are numbered by category, then by id; so are their P poses, the pictures of an object on
    one canvas. A still object has one pose. Opening reads no image and no record.
    """

    draws: ObjectDraws | None = None
    """What `sample` draws from; by default all objects, by category."""

    def __init__(self, path: Path) -> None:
        """Open a packed bank; prefer `ObjectBank.open`, which packs it first where needed.

        Args:
            path: Folder of the bank.

        Raises:
            BankError: One of its arrays is damaged.
        """
        self._path = path
        self.categories, arrays = open_arrays(path)
        self._file = (path / PACKED / PIXELS).open("rb", buffering=0)
        self._reading = threading.local()
        self.pose_start: np.ndarray | None = arrays.pose_start
        """(N + 1,) int64: object i has the poses pose_start[i] to pose_start[i + 1] - 1. None if no
        object is animated: then N = P, and pose i is object i."""
        self.offset = arrays.offset
        """(P, L) int64: offset of each level of each pose in `pixels`, bytes."""
        self.size = arrays.size
        """(P, L, 2) int32: width and height of a level, pixels."""
        self.hull = arrays.cover
        """(P, 16, 2) float32: convex polygon around all pixels with alpha > 0, unit coordinates."""
        self.category = np.array(arrays.category)
        """(N,) int32, ascending: each object's index in `categories`."""
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
        """Folders of its objects: one, or those of the united banks."""
        return (self._path,)

    @property
    def name(self) -> str:
        """Its folders as text, for messages."""
        return " + ".join(map(str, self.folders))

    @classmethod
    def open(cls, path: Path | str) -> ObjectBank:
        """Open a bank, first packing its pixels where the packed form is missing or out of date.

        Args:
            path: Folder of the bank.

        Raises:
            BankError: The folder is not a bank or one of its images cannot be read.
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
        """All levels of all objects, consecutively, (bytes,) uint8, mapped from disk.

        A level is (height + 2, width + 2, 4) premultiplied RGBA with a transparent border.
        """
        return np.memmap(self._file, np.uint8, mode="r").view(np.ndarray)

    def read_levels(
        self, poses: np.ndarray, lowest: np.ndarray, highest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read a range of levels of several poses.

        A plain read beats the memory map: it takes a quarter of the time on a cold disk, nine
        tenths on a warm one, and no page tables in each worker (docs/performance.md).

        Args:
            poses: (K,) int64, numbers of the poses.
            lowest: (K,) int64, first level to read of each pose.
            highest: (K,) int64, last level to read; below 0 none is read.

        Returns:
            (n,) uint32 RGBA words, overwritten by the next call in the same thread, and (K, L)
            int64 offsets of the levels in them, valid for the levels that were read.

        Raises:
            BankError: The file is truncated.
        """
        slots = np.arange(len(poses))
        offset = self.offset[poses]
        start = offset[slots, np.minimum(lowest, LEVELS - 1)]
        end = offset[slots, highest] + 4 * (self.size[poses, highest] + 2).prod(axis=1)
        count = np.where(highest < 0, 0, end - start)
        at = np.cumsum(count) - count
        total = int(at[-1] + count[-1]) if len(count) else 0
        buffer = getattr(self._reading, "buffer", None)
        if buffer is None or len(buffer) < total:
            buffer = self._reading.buffer = np.empty(max(2 * total, 1 << 20), np.uint8)
        files, places = self._find_pixels(poses, start)
        view = buffer.data
        spans = list(zip(files, places.tolist(), at.tolist(), count.tolist(), strict=True))
        for file, source, _, size in spans:  # A cold disk then fetches all of them at once.
            _announce(file.fileno(), source, size)
        for file, source, into, size in spans:
            if os.preadv(file.fileno(), [view[into : into + size]], source) < size:
                path = Path(file.name)
                raise BankError(f"{path}: cut off; remove {path.parent}, and it is made again")
        return buffer.view(np.uint32), (offset + (at - start)[:, None]) >> 2

    def _find_pixels(self, poses: np.ndarray, start: np.ndarray) -> tuple[list[FileIO], np.ndarray]:
        """File of each pose's pixels, and `start`, (K,) bytes, as an offset in that file."""
        return [self._file] * len(poses), start

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a path: another process maps the same files."""
        return (ObjectBank, (self.path,), *self._changes())

    def _changes(self) -> tuple[dict[str, Any], ...]:
        """What a pickle has besides the arguments of the class."""
        return () if self.draws is None else ({"draws": self.draws},)

    def with_draws(self, draws: ObjectDraws) -> Self:
        """Return the same bank, whose `sample` draws from `draws`."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"draws": draws, "_reading": threading.local()}
        return other

    @property
    def origins(self) -> np.ndarray:
        """(N,) int32: number of each object's bank among `folders`."""
        return np.zeros(len(self), np.int32)

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.category)

    @cached_property
    def card(self) -> dict[str, Any]:
        """The card, `bank.json`: source, settings, counts, license."""
        return read_card(self.path)

    def record(self, index: int) -> dict[str, Any]:
        """Metadata record of object `index`: `id`, `file_name`, `category`, `sha256` and more."""
        start, end = self._lines[index], self._lines[index + 1]
        with (self.path / METADATA).open("rb") as file:
            file.seek(start)
            return self._parse(file.read(end - start), index)

    def records(self) -> list[dict[str, Any]]:
        """Metadata records of all objects, in order; see `record`."""
        return read_metadata(self.path)

    @cached_property
    def _lines(self) -> np.ndarray:
        """(N + 1,) int64: start of each line of the metadata file, and the end of the last, bytes.

        They take a hundredth of the memory of all records in each process that needs one."""
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
        """Number of the object with an id.

        Args:
            identifier: The object's `id`.

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
        """Draw objects uniformly over categories, then uniformly within the category.

        `smile_motion.bank.subset.draw_from` changes the categories and their probabilities.

        Args:
            rng: Generator to draw from.
            count: Number of objects to draw, with replacement.

        Returns:
            (count,) int64, numbers of the objects.
        """
        drawn = rng.random((2, count))
        if (draws := self.draws) is not None:
            group = np.searchsorted(draws.edges, drawn[0], side="right")
            within = (drawn[1] * draws.count[group]).astype(np.int64)
            return draws.members[draws.start[group] + within]
        category = (drawn[0] * len(self.categories)).astype(np.int64)
        within = (drawn[1] * self._class_count[category]).astype(np.int64)
        return self._class_start[category] + within

    def aspect(self, objects: np.ndarray) -> np.ndarray:
        """Width / height, (K,) float64, of objects (K,) int64."""
        size = self.size[self.first_pose(objects), 0]
        return size[:, 0] / size[:, 1]

    def first_pose(self, objects: np.ndarray) -> np.ndarray:
        """Number of the first pose, (K,) int64, of objects (K,) int64."""
        return objects if self.pose_start is None else self.pose_start[objects]

    def count_poses(self, objects: np.ndarray) -> np.ndarray:
        """Number of poses, (K,) int64, of objects (K,) int64; 1 for still ones."""
        if self.pose_start is None:
            return np.ones(len(objects), np.int64)
        return self.pose_start[objects + 1] - self.pose_start[objects]

    @property
    def draws_animated(self) -> bool:
        """Whether `sample` can draw an animated object."""
        if self.pose_start is None:
            return False
        drawn = np.arange(len(self)) if self.draws is None else self.draws.members
        return bool((self.count_poses(drawn) > 1).any())

    def rings(self, index: int, pose: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Outer rings and holes of an object's silhouette; none in an empty pose.

        Args:
            index: Number of the object.
            pose: Its pose, from 0.

        Returns:
            points, (n, 2) float32 in unit coordinates, and ring_start, (rings + 1,) int64: ring r
            is points[ring_start[r] : ring_start[r + 1]], without its first point repeated.
        """
        at = self._pose(index, pose)
        first, last = self._object_ring[at], self._object_ring[at + 1]
        start = self._ring_start[first : last + 1]
        return self._ring[start[0] : start[-1]], start - start[0]

    def _pose(self, index: int, pose: int) -> int:
        """Number of an object's pose among those of all."""
        return pose + (index if self.pose_start is None else int(self.pose_start[index]))

    def all_rings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rings of all poses; see `rings`.

        Returns:
            points, (n, 2) float32; ring_start, (rings + 1,) int64; and point_start, (P + 1,)
            int64: pose i has points[point_start[i] : point_start[i + 1]].
        """
        return self._ring, self._ring_start, self._ring_start[self._object_ring]

    def outline(self, index: int, pose: int = 0) -> Geometry:
        """Silhouette as a shapely polygon or multipolygon in unit coordinates, holes kept."""
        import shapely

        points, start = self.rings(index, pose)
        first = self._object_ring[self._pose(index, pose)]
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
        """The object's stored image, (H, W, 4) uint8 straight-alpha RGBA: its first pose."""
        return next(self.images(index))

    def images(self, index: int) -> Iterator[np.ndarray]:
        """Read the stored images of an object's poses one by one; see `image`."""
        return read_poses(self.path / self.record(index)["file_name"])


def _announce(descriptor: int, start: int, size: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)


def _pack_visibly(path: Path) -> None:
    from smile_motion.runtime.progress import progress_bar

    with progress_bar() as on_progress:
        pack(path, lambda done, total: on_progress(f"packing {path.name}", done, total))
