"""Photographs: finding them and decoding them within bounds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.file_tree import find_files
from smile_motion.io.images import (
    IMAGE_SUFFIXES,
    UNREAD_SUFFIXES,
    count_types,
    decode_rgb,
    open_image,
    say_counts,
)

LARGEST_IMAGE_PX = 12_000
"""Photographs with a longer side are refused before they are decoded."""


def find_photographs(folder: Path) -> tuple[Path, ...]:
    """Find the photographs in a folder, searched to the bottom, in order.

    A line on standard error counts images of types that are not read.
    Raises InputError when there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of photographs with --images")
    found = find_files(folder, (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES))
    files = tuple(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if others := count_types(path for path in found if path.suffix.lower() in UNREAD_SUFFIXES):
        print(
            f"{folder}: left out: {say_counts(others)}; of images {', '.join(IMAGE_SUFFIXES)} "
            f"are read",
            file=sys.stderr,
        )
    if not files:
        raise InputError(f"{folder}: no photograph below it ({', '.join(IMAGE_SUFFIXES)})")
    return files


def read_photograph(file: Path) -> np.ndarray:
    """Decode one photograph, upright.

    returns (H, W, 3) uint8 RGB; animated files give their first picture.
    Raises InputError when it cannot be decoded, or is larger than `LARGEST_IMAGE_PX` a side.
    """
    with open_image(file, largest_px=LARGEST_IMAGE_PX) as image:
        return decode_rgb(image)
