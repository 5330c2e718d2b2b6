"""The arrays of a packed bank, and what must be true of them before compiled loops read them.

Those loops check no bounds: what these numbers say is where they read. When a bank is opened, all
is looked at: shapes, types, order, offsets within the file of pixels, and that nothing is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval, Len

from smile_motion.bank.format import PACKED, Hash
from smile_motion.errors import InputError
from smile_motion.io.schema import read_record

VERSION = 2
"""Version of the packed form."""
LEVELS = 6
"""Sizes of each object; an object with fewer repeats its last."""
MAX_SIDE_PX = 256
"""Longer side of level 0; objects are shown at up to 192 px in a 224-px frame."""
COVER_SIDES = 16
"""Corners of the polygon that bounds what is drawn of an object."""
HEADER = "pack.json"
PIXELS = "pixels.bin"
_FARTHEST = 2.0
"""Unit coordinates of outlines; the object itself spans -0.5 to 0.5."""


@dataclass(frozen=True, kw_only=True)
class PackHeader:
    """What `pack.json` says."""

    version: Literal[2]
    metadata_sha256: Hash
    count: Annotated[int, Interval(ge=1, le=100_000_000)]
    categories: Annotated[list[str], Len(1)]
    sha256: dict[str, Hash]


@dataclass(frozen=True, eq=False)
class PackedArrays:
    """The arrays of N objects, mapped from disk; what each holds is said in `ObjectBank`."""

    offset: np.ndarray
    size: np.ndarray
    cover: np.ndarray
    category: np.ndarray
    ring: np.ndarray
    ring_start: np.ndarray
    ring_hole: np.ndarray
    object_ring: np.ndarray


def open_arrays(bank: Path) -> tuple[tuple[str, ...], PackedArrays]:
    """Open the packed form of a bank: its categories, and its arrays.

    Raises InputError naming the first array that is not as `pack` writes it.
    """
    folder, remedy = bank / PACKED, f"run smile-motion bank pack {bank} --force"
    try:
        header = read_record(folder / HEADER, PackHeader, remedy=remedy)
    except FileNotFoundError as error:
        raise InputError(f"{folder / HEADER}: missing; {remedy}") from error
    arrays = PackedArrays(
        **{name: _mapped(folder / f"{name}.npy", remedy) for name in PackedArrays.__annotations__}
    )
    try:
        pixels = (folder / PIXELS).stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"{folder / PIXELS}: missing; {remedy}") from error
    if fault := _fault(arrays, header["count"], len(header["categories"]), pixels):
        name, found = fault
        raise InputError(f"{folder / name}.npy: damaged: {found}; {remedy}")
    return tuple(header["categories"]), arrays


def _mapped(path: Path, remedy: str) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; {remedy}") from error
    except Exception as error:
        # NumPy reads the header as Python: it fails as its tokenizer and its parser do, and others.
        raise InputError(f"{path}: damaged; {remedy}") from error


def _fault(
    arrays: PackedArrays, count: int, categories: int, pixels: int
) -> tuple[str, str] | None:
    """The first array that cannot be right, and what is wrong with it."""
    points, rings = arrays.ring.size // 2, arrays.ring_hole.size
    expected = {
        "offset": ((count, LEVELS), np.int64),
        "size": ((count, LEVELS, 2), np.int32),
        "cover": ((count, COVER_SIDES, 2), np.float32),
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
    # Differences of any 64-bit numbers can wrap round: all values lie within the ends first.
    if not first <= values.min() <= values.max() <= last:
        return False
    taken = np.diff(values)
    return not taken.size or bool(steps[0] <= taken.min() and taken.max() <= steps[1])
