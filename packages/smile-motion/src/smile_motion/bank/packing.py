"""The packed form of a bank: all objects at all sizes in one file, validated when it is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import contourpy
import cv2
import numpy as np
import shapely
from annotated_types import Interval, Len

from smile_motion.bank.format import METADATA, PACKED, Hash, read_bank, read_rgba, require_unchanged
from smile_motion.errors import BankError, InputError
from smile_motion.io.files import dump_json, replacing, sha256, write_atomically
from smile_motion.io.schema import read, read_record
from smile_motion.runtime.devices import available_cores

MIN_SIDE_PX = 8
"""Longer side, pixels, at or below which no smaller level is made."""
SILHOUETTE = 127.5
"""Alpha level of the silhouette, 0 to 255."""


@dataclass(frozen=True, eq=False)
class PackedObject:
    """One object in its packed form."""

    levels: list[np.ndarray]
    """(h + 2, w + 2, 4) uint8 premultiplied RGBA with a transparent border, each half the size of
    the one before."""
    rings: list[np.ndarray]
    """(n, 2) float32 unit coordinates: the silhouette's outer rings, each followed by its holes."""
    ring_is_hole: list[bool]
    """For each ring, whether it is a hole of the last outer ring before it."""
    hull: np.ndarray
    """(HULL_SIDES, 2) float32 unit coordinates: convex polygon around all pixels with alpha > 0."""


def pack_object(rgba: np.ndarray) -> PackedObject:
    """Pack one image, (H, W, 4) uint8 straight-alpha RGBA."""
    levels = make_levels(rgba)
    alpha = cv2.extractChannel(levels[0], 3)
    rings, holes = trace_silhouette(alpha)
    return PackedObject(levels, rings, holes, hull_polygon(alpha))


def make_levels(rgba: np.ndarray) -> list[np.ndarray]:
    """Premultiply an image, bound its size and halve it repeatedly by area averages.

    Args:
        rgba: (H, W, 4) uint8 straight-alpha RGBA.

    Returns:
        At most `LEVELS` levels; see `PackedObject.levels`.
    """
    from smile_motion.bank._kernels import premultiply

    level = np.empty(rgba.shape, np.float32)
    premultiply(rgba, level)
    factor = MAX_SIDE_PX / max(level.shape[:2])
    if factor < 1:
        height, width = (max(1, round(side * factor)) for side in level.shape[:2])
        level = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)
    levels = []
    while True:
        rounded = cv2.convertScaleAbs(level)
        levels.append(cv2.copyMakeBorder(rounded, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0))
        if len(levels) == LEVELS or max(level.shape[:2]) <= MIN_SIDE_PX:
            return levels
        height, width = ((side + 1) // 2 for side in level.shape[:2])
        level = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)


def trace_silhouette(alpha: np.ndarray) -> tuple[list[np.ndarray], list[bool]]:
    """Trace the contour of alpha = 0.5 with sub-pixel precision.

    Args:
        alpha: (h + 2, w + 2) uint8 with a transparent border.

    Returns:
        Rings in unit coordinates and which are holes; see `PackedObject`.
    """
    height, width = alpha.shape[0] - 2, alpha.shape[1] - 2
    # contourpy takes twice as long to build the same grid itself.
    grid = np.empty((2, *alpha.shape))
    grid[0], grid[1] = np.arange(width + 2), np.arange(height + 2)[:, None]
    lines = contourpy.contour_generator(
        grid[0], grid[1], alpha.astype(np.float64), fill_type=contourpy.FillType.OuterOffset
    ).filled(SILHOUETTE, 256)
    rings, holes = [], []
    for points, offsets in zip(*lines, strict=True):
        for number, (start, end) in enumerate(pairwise(offsets)):
            ring = shapely.simplify(shapely.LinearRing(points[start:end]), 0.1)
            unit = shapely.get_coordinates(ring)[:-1] - 1 - [(width - 1) / 2, (height - 1) / 2]
            rings.append((unit / [width, height]).astype(np.float32))
            holes.append(number > 0)
    return rings, holes


def hull_polygon(alpha: np.ndarray) -> np.ndarray:
    """Bound all pixels with alpha > 0 by tangents in evenly spaced directions.

    Args:
        alpha: (h + 2, w + 2) uint8 with a transparent border.

    Returns:
        (HULL_SIDES, 2) float32 unit coordinates of the corners, in order.
    """
    solid = alpha > 0
    rows = np.flatnonzero(solid.any(axis=1))
    # The farthest pixel in any direction is the first or last of its row.
    first = solid[rows].argmax(axis=1)
    last = alpha.shape[1] - 1 - solid[rows, ::-1].argmax(axis=1)
    x, y = np.concatenate([first, last]), np.concatenate([rows, rows])
    size = np.array([alpha.shape[1] - 2, alpha.shape[0] - 2])
    centers = (np.stack([x, y], axis=1) - 1 - (size - 1) / 2) / size
    angle = np.arange(HULL_SIDES) * 2 * np.pi / HULL_SIDES
    normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = centers[:, :1] * normal[:, 0] + centers[:, 1:] * normal[:, 1]
    # A pixel reaches half its width and height beyond its center.
    reach = along.max(axis=0) + (np.abs(normal) * 0.5 / size).sum(axis=1)
    following = np.roll(normal, -1, axis=0), np.roll(reach, -1)
    determinant = normal[:, 0] * following[0][:, 1] - normal[:, 1] * following[0][:, 0]
    corner_x = (reach * following[0][:, 1] - following[1] * normal[:, 1]) / determinant
    corner_y = (normal[:, 0] * following[1] - following[0][:, 0] * reach) / determinant
    return np.stack([corner_x, corner_y], axis=1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _MadeFrom:
    """Fields of `pack.json` that tell what was packed; opening validates the others."""

    version: int
    metadata_sha256: str


def is_packed(folder: Path) -> bool:
    """Whether the packed form of the bank in `folder` exists and fits its present metadata."""
    try:
        made = read(folder / PACKED / HEADER, _MadeFrom, remedy="", unknown="ignore")
    except (OSError, InputError):
        return False
    return made.version == VERSION and made.metadata_sha256 == sha256(
        (folder / METADATA).read_bytes()
    )


def pack(folder: Path, on_object: Callable[[int, int], None] | None = None) -> None:
    """Write the packed form of a bank, replacing an earlier one.

    Args:
        folder: Folder of the bank.
        on_object: Called with (done, total) after each object.

    Raises:
        InputError: A file is missing, cannot be read, or has changed since the bank was built.
    """
    _, records = read_bank(folder)
    with replacing(folder / PACKED) as temporary:
        temporary.mkdir()
        _write(folder, temporary, records, on_object)


def _write(
    folder: Path,
    target: Path,
    records: list[dict],
    on_object: Callable[[int, int], None] | None,
) -> None:
    count = len(records)
    offset = np.zeros((count, LEVELS), np.int64)
    size = np.zeros((count, LEVELS, 2), np.int32)
    rings, ring_start, ring_hole = [], [0], []
    object_ring = [0]
    cover = np.empty((count, HULL_SIDES, 2), np.float32)
    position = 0
    hashed = hashlib.sha256()
    with (target / "pixels.bin").open("wb") as pixels:
        for index, packed in enumerate(_packed_objects(folder, records)):
            for level in range(LEVELS):
                if level < len(packed.levels):
                    image = packed.levels[level]
                    offset[index, level] = position
                    size[index, level] = image.shape[1] - 2, image.shape[0] - 2
                    data = image.tobytes()
                    pixels.write(data)
                    hashed.update(data)
                    position += image.nbytes
                else:
                    offset[index, level] = offset[index, level - 1]
                    size[index, level] = size[index, level - 1]
            cover[index] = packed.hull
            rings += packed.rings
            for ring in packed.rings:
                ring_start.append(ring_start[-1] + len(ring))
            ring_hole += packed.ring_is_hole
            object_ring.append(len(rings))
            if on_object is not None:
                on_object(index + 1, count)
    categories = sorted({record["category"] for record in records})
    number = {category: place for place, category in enumerate(categories)}
    arrays = {
        "offset": offset,
        "size": size,
        "cover": cover,
        "category": np.array([number[record["category"]] for record in records], np.int32),
        "ring": np.concatenate(rings),
        "ring_start": np.array(ring_start, np.int64),
        "ring_hole": np.array(ring_hole, bool),
        "object_ring": np.array(object_ring, np.int64),
    }
    hashes = {"pixels.bin": hashed.hexdigest()}
    for name, array in arrays.items():
        path = target / f"{name}.npy"
        np.save(path, array)
        hashes[path.name] = sha256(path.read_bytes())
    header = {
        "version": VERSION,
        "metadata_sha256": sha256((folder / METADATA).read_bytes()),
        "count": count,
        "categories": categories,
        "max_side_px": MAX_SIDE_PX,
        "sha256": hashes,
    }
    write_atomically(target / HEADER, dump_json(header))


def _packed_objects(folder: Path, records: list[dict]) -> Iterator[PackedObject]:
    """Pack in order, in threads: OpenCV and Pillow release the interpreter lock."""

    def one(record: dict) -> PackedObject:
        path = folder / record["file_name"]
        image = read_rgba(path)
        require_unchanged(path, record["sha256"])
        return pack_object(image)

    with ThreadPoolExecutor(available_cores()) as pool:
        batch = 64
        for start in range(0, len(records), batch):
            yield from pool.map(one, records[start : start + batch])


VERSION = 2
"""Version of the packed form."""
LEVELS = 6
"""Levels of each object; an object with fewer repeats its last."""
MAX_SIDE_PX = 256
"""Longer side of level 0; objects are shown at up to 192 px in a 224-px frame."""
HULL_SIDES = 16
"""Corners of the convex polygon around an object."""
HEADER = "pack.json"
PIXELS = "pixels.bin"
_FARTHEST = 2.0
"""Largest absolute unit coordinate of an outline; the object spans -0.5 to 0.5."""


@dataclass(frozen=True, kw_only=True)
class PackHeader:
    """Schema of `pack.json`."""

    version: Literal[2]
    metadata_sha256: Hash
    count: Annotated[int, Interval(ge=1, le=100_000_000)]
    categories: Annotated[list[str], Len(1)]
    max_side_px: Literal[256] = MAX_SIDE_PX
    sha256: dict[str, Hash]


@dataclass(frozen=True, eq=False)
class PackedArrays:
    """Arrays of N objects, mapped from disk; see the attributes of `ObjectBank`."""

    offset: np.ndarray
    size: np.ndarray
    cover: np.ndarray
    category: np.ndarray
    ring: np.ndarray
    ring_start: np.ndarray
    ring_hole: np.ndarray
    object_ring: np.ndarray


def open_arrays(bank: Path) -> tuple[tuple[str, ...], PackedArrays]:
    """Open and validate the packed form of a bank.

    Args:
        bank: Folder of the bank.

    Returns:
        The categories and the arrays.

    Raises:
        BankError: An array is missing or is not as `pack` writes it.
    """
    folder, remedy = bank / PACKED, f"run smile-motion bank pack {bank} --force"
    try:
        header = read_record(folder / HEADER, PackHeader, remedy=remedy, unknown="refuse")
    except FileNotFoundError as error:
        raise BankError(f"{folder / HEADER}: missing; {remedy}") from error
    arrays = PackedArrays(
        **{name: _mapped(folder / f"{name}.npy", remedy) for name in PackedArrays.__annotations__}
    )
    try:
        pixels = (folder / PIXELS).stat().st_size
    except FileNotFoundError as error:
        raise BankError(f"{folder / PIXELS}: missing; {remedy}") from error
    if fault := _fault(arrays, header["count"], len(header["categories"]), pixels):
        name, found = fault
        raise BankError(f"{folder / name}.npy: damaged: {found}; {remedy}")
    return tuple(header["categories"]), arrays


def _mapped(path: Path, remedy: str) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    except FileNotFoundError as error:
        raise BankError(f"{path}: missing; {remedy}") from error
    except Exception as error:
        # NumPy parses the header as Python, which can raise errors of many kinds.
        raise BankError(f"{path}: damaged; {remedy}") from error


def _fault(
    arrays: PackedArrays, count: int, categories: int, pixels: int
) -> tuple[str, str] | None:
    """Name of the first invalid array and what is wrong with it; None where all are valid."""
    points, rings = arrays.ring.size // 2, arrays.ring_hole.size
    expected = {
        "offset": ((count, LEVELS), np.int64),
        "size": ((count, LEVELS, 2), np.int32),
        "cover": ((count, HULL_SIDES, 2), np.float32),
        "category": ((count,), np.int32),
        "ring": ((points, 2), np.float32),
        "ring_hole": ((rings,), np.bool_),
        "ring_start": ((rings + 1,), np.int64),
        "object_ring": ((count + 1,), np.int64),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(arrays, name)
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            return name, f"{array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
    size, offset = arrays.size, arrays.offset
    if not 1 <= size.min() <= size.max() <= MAX_SIDE_PX:
        return "size", f"sides of {size.min()} to {size.max()} px, expected 1 to {MAX_SIDE_PX}"
    if not _levels_follow(offset, size, pixels):
        return "offset", f"levels do not follow one another in {pixels} bytes of {PIXELS}"
    for name in ("cover", "ring"):
        values = getattr(arrays, name)
        if values.size and not -_FARTHEST <= values.min() <= values.max() <= _FARTHEST:
            return name, f"values of {values.min()} to {values.max()}, expected about -0.5 to 0.5"
    if not _ascends(arrays.category, 0, categories - 1, steps=(0, 1)):
        return "category", f"not every number from 0 to {categories - 1} in ascending order"
    if not _ascends(arrays.ring_start, 0, points, steps=(1, points)):
        return "ring_start", f"not ascending from 0 to {points}"
    if not _ascends(arrays.object_ring, 0, rings, steps=(0, rings)):
        return "object_ring", f"not ascending from 0 to {rings}"
    first = arrays.object_ring[:-1][np.diff(arrays.object_ring) > 0]
    if arrays.ring_hole[first].any():
        return "ring_hole", "an object's first ring is a hole"
    return None


def _levels_follow(offset: np.ndarray, size: np.ndarray, pixels: int) -> bool:
    """Whether each level starts where the one before ends, or repeats it, to the file's end."""
    width = size.astype(np.int64) + 2
    end = offset + 4 * width[..., 0] * width[..., 1]
    repeats = (offset[:, 1:] == offset[:, :-1]) & (size[:, 1:] == size[:, :-1]).all(axis=2)
    return bool(
        offset[0, 0] == 0
        and (repeats | (offset[:, 1:] == end[:, :-1])).all()
        and (offset[1:, 0] == end[:-1, -1]).all()
        and end[-1, -1] == pixels
    )


def _ascends(values: np.ndarray, first: int, last: int, *, steps: tuple[int, int]) -> bool:
    """Whether values run from `first` to `last` by steps within a range."""
    if values[0] != first or values[-1] != last:
        return False
    # Check the range first: differences of arbitrary 64-bit values can wrap around.
    if not first <= values.min() <= values.max() <= last:
        return False
    taken = np.diff(values)
    return not taken.size or bool(steps[0] <= taken.min() and taken.max() <= steps[1])
