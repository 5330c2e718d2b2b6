"""Find near-duplicate objects by perceptual hash."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smile_motion.bank.format import read_metadata, read_rgba
from smile_motion.bank.statistics import object_score
from smile_motion.runtime.devices import available_cores
from smile_motion.runtime.progress import OnProgress
from smile_motion.runtime.tasks import map_in_threads


def fingerprint(rgba: np.ndarray) -> str:
    """Perceptual hash, 16 hexadecimal digits, of an object on white, padded to a square.

    Args:
        rgba: (H, W, 4) uint8 straight-alpha RGBA.

    Returns:
        The 64-bit hash of its DCT (`imagehash.phash`).
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
    """Find, for each object, an earlier kept object that it is a near-duplicate of.

    Args:
        fingerprints: Perceptual hashes of the objects, in order; see `fingerprint`.
        max_distance: Largest Hamming distance of near-duplicates, of 64 bits; -1 finds none.

    Returns:
        For each object, the index of the first such object; None for objects that are kept.
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


_BATCH = 256


def find_copies(
    folder: Path,
    max_distance: int,
    *,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> dict[int, int]:
    """Find the near-duplicates within each category of a bank.

    Of near-duplicates, the object with the best score is kept, else the first by id. Hashes that
    the build recorded are not computed again.

    Args:
        folder: Folder of the bank.
        max_distance: Largest Hamming distance of near-duplicates, of 64 bits.
        on_progress: Called with (stage, done, total).

    Returns:
        Number of each near-duplicate -> number of the kept object that it resembles.

    Raises:
        InputError: An image cannot be read.
    """
    records = read_metadata(folder)
    hashes: list[str] = []
    for one in map_in_threads(
        lambda record: _hash(folder, record), records, threads=available_cores()
    ):
        hashes.append(one)
        if len(hashes) % _BATCH == 0 or len(hashes) == len(records):
            on_progress("comparing objects", len(hashes), len(records))
    groups: dict[str, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        groups[record["category"]].append(number)
    copies = {}
    for numbers in groups.values():
        numbers.sort(key=lambda number: (-(object_score(records[number]) or 0.0), number))
        marks = mark_duplicates([hashes[number] for number in numbers], max_distance)
        for number, mark in zip(numbers, marks, strict=True):
            if mark is not None:
                copies[number] = numbers[mark]
    return dict(sorted(copies.items()))


def _hash(folder: Path, record: dict[str, Any]) -> str:
    recorded = record.get("fingerprint")
    if isinstance(recorded, str) and re.fullmatch(r"[0-9a-f]{16}", recorded):
        return recorded
    return fingerprint(read_rgba(folder / record["file_name"]))
