"""Format of an object bank's folder: names of its files, their records, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from annotated_types import Ge, Interval, Len

from smile_motion.errors import BankError, InputError
from smile_motion.io.files import sha256
from smile_motion.io.images import decode_rgba, open_image
from smile_motion.io.options import MOST_POSES
from smile_motion.io.schema import read_record, read_records

FORMAT = 1
"""Version of the folder's layout."""
CARD = "bank.json"
METADATA = "metadata.jsonl"
IMAGES = "images"
PACKED = "packed"
LARGEST_SIDE_PX = 4096
"""Longest side of an object's image, pixels; larger ones are refused before decoding."""

BUILD_AGAIN = "build the bank again"
Hash = Annotated[str, Len(64, 64)]
"""SHA-256 in hexadecimal."""
Name = Annotated[str, Len(1, 1000)]


@dataclass(frozen=True, kw_only=True)
class BankCard:
    """Fields of a card, `bank.json`, that are validated; sources and builds add others."""

    format: Literal[1]
    metadata_sha256: Hash
    source: str | None = None
    licence: str | None = None
    attribution: str | None = None
    categories: Annotated[int, Interval(ge=0)] | None = None
    candidates_sha256: Hash | None = None
    safety: str | dict[str, Any] | None = None
    counts: dict[str, Any] | None = None
    fell_short: list[dict[str, Any]] | None = None
    timings: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ObjectRecord:
    """Fields of a line of `metadata.jsonl` that are validated; sources and filters add others."""

    id: Name
    file_name: Name
    category: Name
    sha256: Hash
    width: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)] | None = None
    height: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)] | None = None
    area_share: Annotated[float, Interval(ge=0, le=1)] | None = None
    score: float | None = None
    segmenter: str | None = None
    prompt: str | None = None
    united_from: Annotated[int, Interval(ge=0)] | None = None
    poses: Annotated[int, Interval(ge=2, le=MOST_POSES)] | None = None
    """Pictures of an animated object, whose image is an APNG; absent of a still one."""


def read_rgba(path: Path, *, name: str | None = None) -> np.ndarray:
    """Read an object's image.

    Args:
        path: Image file: PNG, WebP, JPEG or BMP.
        name: Name of the file in error messages; its path by default.

    Returns:
        (H, W, 4) uint8 straight-alpha RGBA.

    Raises:
        InputError: The file is missing, empty, truncated, too large, or has no opaque pixel.
    """
    return next(read_poses(path, name=name))


def read_poses(path: Path, *, name: str | None = None) -> Iterator[np.ndarray]:
    """Read the poses of an object one by one; a still image has one.

    Args:
        path: Image file: PNG, animated or not, WebP, JPEG or BMP.
        name: Name of the file in error messages; its path by default.

    Yields:
        (H, W, 4) uint8 straight-alpha RGBA; the first has an opaque pixel.

    Raises:
        InputError: As for `read_rgba`, or there are more than `MOST_POSES`.
    """
    name = name or str(path)
    restore = "build the bank again to restore it"
    with open_image(path, largest_px=LARGEST_SIDE_PX, restore=restore, name=name) as image:
        rgba = decode_rgba(image)
        if rgba[..., 3].max() < 128:
            raise InputError(
                f"{name}: no opaque pixel (alpha max {rgba[..., 3].max()}); replace or delete it"
            )
        yield rgba
        count = getattr(image, "n_frames", 1)
        if count > MOST_POSES:
            raise InputError(f"{name}: {count} poses; an object has at most {MOST_POSES}")
        for number in range(1, count):
            image.seek(number)
            yield decode_rgba(image)


def shrink(image: np.ndarray, largest_px: int) -> np.ndarray:
    """Reduce an image by area averages until its longer side is `largest_px` or less.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W, 4) uint8 straight-alpha RGBA, whose colors are
            weighted by alpha.
        largest_px: Longest side of the result, pixels.

    Returns:
        (h, w, 3) or (h, w, 4) uint8; the image itself where it is small enough.
    """
    factor = largest_px / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    if image.shape[2] == 3:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    alpha = image[..., 3:].astype(np.float32) / 255
    premultiplied = np.dstack([image[..., :3] * alpha, alpha])
    small = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
    straight = small[..., :3] / np.maximum(small[..., 3:], 1e-6)
    return np.rint(np.dstack([straight, small[..., 3:] * 255])).clip(0, 255).astype(np.uint8)


def read_card(folder: Path) -> dict[str, Any]:
    """Read and validate the card of the bank in `folder`.

    Raises:
        BankError: The folder is not a bank, is unfinished, or has another format version.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise BankError(
            f"{folder}: no such folder; make a bank with: smile-motion build-bank --out {folder}"
        )
    try:
        return read_record(path, BankCard, remedy=BUILD_AGAIN)
    except FileNotFoundError as error:
        raise BankError(
            f"{folder}: no {CARD}, so not a finished bank; run smile-motion build-bank "
            f"--out {folder}, which also continues a build that was stopped"
        ) from error


def read_metadata(folder: Path) -> list[dict[str, Any]]:
    """Read the metadata records of all objects of the bank in `folder`, in order.

    Raises:
        BankError: The file is missing, truncated or empty, or names a file outside `images`.
    """
    path = folder / METADATA
    try:
        records = read_records(path, ObjectRecord, remedy=BUILD_AGAIN)
    except FileNotFoundError as error:
        raise BankError(f"{path}: missing; {BUILD_AGAIN}") from error
    for number, record in enumerate(records, start=1):
        if not is_image_name(record["file_name"]):
            raise BankError(
                f"{path}:{number}: file name {record['file_name']!r} is not below {IMAGES}/; "
                f"do not use this bank unless you trust who made it"
            )
    if not records:
        raise BankError(f"{path}: no objects; build the bank again with --n 1 or more")
    return records


def read_bank(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a bank's card and records, and check that the card has the hash of the records.

    Raises:
        InputError: As for `read_card` and `read_metadata`, or the records have changed.
    """
    card, records = read_card(folder), read_metadata(folder)
    require_unchanged(folder / METADATA, card["metadata_sha256"])
    return card, records


def require_unchanged(path: Path, expected: str) -> None:
    """Check a file against the SHA-256 that was recorded when the bank was built.

    Raises:
        BankError: The hash differs.
    """
    if sha256(path.read_bytes()) != expected:
        raise BankError(
            f"{path}: changed since the bank was built; restore it, or build the bank again"
        )


def is_image_name(name: object) -> bool:
    """Whether `name` is a relative path of a file below `images` that cannot lead out of it."""
    if not isinstance(name, str) or "\\" in name or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    return len(parts) > 1 and parts[0] == IMAGES and ".." not in parts


CANDIDATES = "candidates.jsonl"
"""File of candidates, one per line: the fields of `Candidate`, `accepted` and `reason`."""
CANDIDATE_IMAGES = "candidates"
"""Folder of the candidates' images, where they were kept."""


@dataclass(frozen=True, kw_only=True)
class CandidateFields:
    """Validated fields of a candidate's record; see `candidates.types.Candidate`."""

    category: Name
    attempt: Annotated[int, Interval(ge=0, lt=1 << 31)]
    prompt: str
    seed: Annotated[int, Ge(0)] | None
    unsafe: bool | None
    masks: list[MaskScore]


@dataclass(frozen=True, kw_only=True)
class CandidateRecord(CandidateFields):
    """A line of `candidates.jsonl`."""

    id: Name
    accepted: bool
    segmenter: str | None
    reason: str | None


def read_candidates(folder: Path) -> list[dict[str, Any]]:
    """Read the records of all candidates of the bank in `folder`, accepted or not.

    Raises:
        InputError: The file is missing, or a line is not a candidate's record.
    """
    path = folder / CANDIDATES
    try:
        records = read_records(path, CandidateRecord, remedy=BUILD_AGAIN, unknown="refuse")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: missing; only banks built by a diffusion model store their candidates"
        ) from error
    for number, record in enumerate(records, start=1):
        category = record["category"]
        if category in (".", "..") or set("/\\\0") & set(category):
            raise InputError(
                f"{path}:{number}: category is {category!r:.80}; expected the name of a folder; "
                f"{BUILD_AGAIN}"
            )
    return records


def candidate_image(folder: Path, record: dict[str, Any]) -> Path:
    """Path of a candidate's image; the file exists only if images were kept."""
    return folder / CANDIDATE_IMAGES / record["category"] / f"{record['attempt']:06d}.png"


@dataclass(frozen=True)
class MaskScore:
    """Score of one segmenter's mask of a candidate."""

    segmenter: str
    """Name of the segmenter."""
    score: float
    """CLIP score, 100 times a cosine; -1 for a refused mask."""
    area_share: float
    """Share of the image where the mask exceeds 128, 0 to 1; 0 for a refused mask."""
    raw_max: float
    """See `Mask.raw_max`."""
