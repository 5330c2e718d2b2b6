"""Objects that look alike, by perceptual hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def fingerprint(rgba: np.ndarray) -> str:
    """Perceptual hash of an object on white, padded to a square: 16 hexadecimal digits.

    rgba  (H, W, 4) uint8 straight-alpha RGBA.
    """
    import imagehash

    height, width = rgba.shape[:2]
    side = max(height, width)
    alpha = rgba[..., 3:].astype(np.uint16)
    on_white = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = on_white
    return str(imagehash.phash(Image.fromarray(square)))


def mark_duplicates(fingerprints: Sequence[str], max_distance: int) -> list[int | None]:
    """Find the earlier object that each one looks like, among those that are kept.

    max_distance  of 64 bits that may differ; nothing looks alike at -1.
    returns       for each the number of the first such object; None for those that are kept.
    """
    hashes = np.array([int(one, 16) for one in fingerprints], np.uint64)
    found: list[int | None] = []
    kept: list[int] = []
    for number, one in enumerate(hashes):
        near = np.flatnonzero(np.bitwise_count(hashes[kept] ^ one) <= max_distance)
        found.append(kept[near[0]] if len(near) else None)
        if not len(near):
            kept.append(number)
    return found
