"""The packed form of a bank: all objects at all sizes in one file, validated when it is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval, Len

from smile_motion.bank.format import (
    BUILD_AGAIN,
    METADATA,
    PACKED,
    Hash,
    read_bank,
    read_poses,
    require_unchanged,
)
from smile_motion.bank.packed_object import (
    HULL_SIDES,
    LEVELS,
    MAX_SIDE_PX,
    PackedObject,
    pack_object,
)
from smile_motion.errors import BankError, InputError
from smile_motion.io.files import dump_json, replacing, sha256, write_atomically
from smile_motion.io.options import MOST_POSES
from smile_motion.io.schema import read, read_record
from smile_motion.runtime.devices import available_cores
from smile_motion.runtime.tasks import map_in_threads


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
    pose_start = np.cumsum([0, *(record.get("poses", 1) for record in records)])
    count = int(pose_start[-1])
    offset = np.zeros((count, LEVELS), np.int64)
    size = np.zeros((count, LEVELS, 2), np.int32)
    rings, ring_start, ring_hole = [], [0], []
    object_ring = [0]
    cover = np.empty((count, HULL_SIDES, 2), np.float32)
    position = 0
    hashed = hashlib.sha256()
    with (target / "pixels.bin").open("wb") as pixels:
        for done, poses in enumerate(_packed_objects(folder, records), start=1):
            for index, packed in enumerate(poses, start=int(pose_start[done - 1])):
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
                on_object(done, len(records))
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
    is_animated = count > len(records)
    if is_animated:
        arrays["pose_start"] = pose_start
    hashes = {"pixels.bin": hashed.hexdigest()}
    for name, array in arrays.items():
        path = target / f"{name}.npy"
        np.save(path, array)
        hashes[path.name] = sha256(path.read_bytes())
    header = {
        "version": VERSION,
        "metadata_sha256": sha256((folder / METADATA).read_bytes()),
        "count": len(records),
        **({"poses": count} if is_animated else {}),
        "categories": categories,
        "max_side_px": MAX_SIDE_PX,
        "sha256": hashes,
    }
    write_atomically(target / HEADER, dump_json(header))


def _packed_objects(folder: Path, records: list[dict]) -> Iterator[list[PackedObject]]:
    """Pack objects in order, each all its poses, in threads: OpenCV and Pillow release the
    interpreter lock."""

    def one(record: dict) -> list[PackedObject]:
        path, count = folder / record["file_name"], record.get("poses", 1)
        poses = [pack_object(image) for image in islice(read_poses(path), count)]
        require_unchanged(path, record["sha256"])
        if len(poses) < count:
            raise BankError(f"{path}: {len(poses)} poses, of {count} recorded; {BUILD_AGAIN}")
        return poses

    batch: list[dict] = []
    for record in records:
        batch.append(record)
        if sum(entry.get("poses", 1) for entry in batch) >= _TOGETHER:
            yield from map_in_threads(one, batch, threads=available_cores())
            batch = []
    yield from map_in_threads(one, batch, threads=available_cores())


_TOGETHER = 64
"""Poses that are packed at a time, which bounds the memory that they take."""


VERSION = 2
"""Version of the packed form."""
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
    poses: Annotated[int, Interval(ge=2, le=100_000_000)] | None = None
    """Poses of all objects, where some are animated."""
    categories: Annotated[list[str], Len(1)]
    max_side_px: Literal[256] = MAX_SIDE_PX
    sha256: dict[str, Hash]


@dataclass(frozen=True, eq=False)
class PackedArrays:
    """Arrays of N objects with P poses, mapped from disk; see the attributes of `ObjectBank`."""

    offset: np.ndarray
    size: np.ndarray
    cover: np.ndarray
    category: np.ndarray
    ring: np.ndarray
    ring_start: np.ndarray
    ring_hole: np.ndarray
    object_ring: np.ndarray
    pose_start: np.ndarray | None = None


def packed_files(*, animated: bool) -> list[str]:
    """Names of the packed files of a bank, which may have animated objects, but for the header."""
    names = [name for name in PackedArrays.__annotations__ if animated or name != "pose_start"]
    return [PIXELS, *(f"{name}.npy" for name in names)]


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
    animated = header.get("poses") is not None
    files = packed_files(animated=animated)[1:]
    arrays = PackedArrays(
        **{name.removesuffix(".npy"): _mapped(folder / name, remedy) for name in files}
    )
    try:
        pixels = (folder / PIXELS).stat().st_size
    except FileNotFoundError as error:
        raise BankError(f"{folder / PIXELS}: missing; {remedy}") from error
    count, poses = header["count"], header.get("poses", header["count"])
    if fault := _fault(arrays, count, poses, len(header["categories"]), pixels):
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
    arrays: PackedArrays, count: int, poses: int, categories: int, pixels: int
) -> tuple[str, str] | None:
    """Name of the first invalid array and what is wrong with it; None where all are valid."""
    points, rings = arrays.ring.size // 2, arrays.ring_hole.size
    expected = {
        "offset": ((poses, LEVELS), np.int64),
        "size": ((poses, LEVELS, 2), np.int32),
        "cover": ((poses, HULL_SIDES, 2), np.float32),
        "category": ((count,), np.int32),
        "ring": ((points, 2), np.float32),
        "ring_hole": ((rings,), np.bool_),
        "ring_start": ((rings + 1,), np.int64),
        "object_ring": ((poses + 1,), np.int64),
    }
    if arrays.pose_start is not None:
        expected["pose_start"] = ((count + 1,), np.int64)
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
    if arrays.pose_start is not None and not _ascends(
        arrays.pose_start, 0, poses, steps=(1, MOST_POSES)
    ):
        return "pose_start", f"not ascending from 0 to {poses} by 1 to {MOST_POSES}"
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
