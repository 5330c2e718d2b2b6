"""Photographs: finding them and decoding them within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageOps

from smile_motion.errors import InputError
from smile_motion.file_tree import find_files
from smile_motion.image_files import open_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LARGEST_IMAGE_PX = 12_000
"""Photographs with a longer side are refused before they are decoded."""


def find_photographs(folder: Path) -> tuple[Path, ...]:
    """Find the photographs in a folder, searched to the bottom, in order.

    Raises InputError when there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of photographs with --images")
    files = tuple(find_files(folder, IMAGE_SUFFIXES))
    if not files:
        raise InputError(f"{folder}: no photograph below it ({', '.join(IMAGE_SUFFIXES)})")
    return files


def read_photograph(file: Path) -> np.ndarray:
    """Decode one photograph, upright.

    returns (H, W, 3) uint8 RGB; animated files give their first picture.
    Raises InputError when it cannot be decoded, or is larger than `LARGEST_IMAGE_PX` a side.
    """
    with open_image(file, largest_px=LARGEST_IMAGE_PX) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
