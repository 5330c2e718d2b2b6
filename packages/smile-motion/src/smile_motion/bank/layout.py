"""What lies where in an object bank's folder, and how its files are read and written."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from smile_motion.errors import InputError
from smile_motion.files import parse_json, sha256
from smile_motion.image_files import open_image
from smile_motion.text_files import split_lines

FORMAT = 1
"""Version of the folder's layout."""
CARD = "bank.json"
METADATA = "metadata.jsonl"
IMAGES = "images"
PACKED = "packed"
LARGEST_SIDE_PX = 4096
"""Images with a longer side are refused before they are decoded."""


def read_rgba(path: Path, *, name: str | None = None) -> np.ndarray:
    """Read an object's image.

    name    what to call the file in errors; its path by default.
    returns (H, W, 4) uint8 straight-alpha RGBA.
    Raises InputError when the file is missing, empty, torn, too large, or has no opaque pixel.
    """
    name = name or str(path)
    restore = "build the bank again to restore it"
    with open_image(path, largest_px=LARGEST_SIDE_PX, restore=restore, name=name) as image:
        rgba = np.asarray(image.convert("RGBA"))
    if rgba[..., 3].max() < 128:
        raise InputError(
            f"{name}: no opaque pixel (alpha max {rgba[..., 3].max()}); replace or delete it"
        )
    return rgba


def encode_png(rgba: np.ndarray) -> bytes:
    """Encode (H, W, 4) uint8 RGBA; the same pixels always give the same bytes.

    A third of the time of trying every filter at level 4, and a seventh larger.
    """
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    bgra = cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(".png", bgra, settings)[1].tobytes()


def read_card(folder: Path) -> dict[str, Any]:
    """Read a bank's card.

    Raises InputError when the folder is no bank, unfinished, or of another format.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; make a bank with: smile-motion build-bank --out {folder}"
        )
    try:
        card = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no {CARD}, so not a finished bank; run smile-motion build-bank "
            f"--out {folder}, which also continues a build that was stopped"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); build the bank again") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InputError(f"{path}: not a bank card of format {FORMAT}; build the bank again")
    return card


def read_metadata(folder: Path) -> list[dict[str, Any]]:
    """Read every object's record, in the bank's order.

    Raises InputError when the file is missing, torn or empty, or names a file that is not below
    `images`.
    """
    path = folder / METADATA
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; build the bank again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text; build the bank again") from error
    records = []
    for number, line in enumerate(split_lines(text), start=1):
        try:
            record = parse_json(line)
            _ = record["id"], record["file_name"], record["category"], record["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: not an object's record; build the bank again"
            ) from error
        if not is_image_name(record["file_name"]):
            raise InputError(
                f"{path}:{number}: file name {record['file_name']!r} is not below {IMAGES}/; "
                f"do not use this bank unless you trust who made it"
            )
        records.append(record)
    if not records:
        raise InputError(f"{path}: no objects; build the bank again with --n 1 or more")
    return records


def read_bank(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a bank's card and records, and make sure that they belong together.

    Raises InputError as `read_card` and `read_metadata` do, and where the records have changed.
    """
    card, records = read_card(folder), read_metadata(folder)
    require_unchanged(folder / METADATA, card["metadata_sha256"])
    return card, records


def require_unchanged(path: Path, expected: str) -> None:
    """Raise InputError unless a bank's file has the hash that it was built with."""
    if sha256(path.read_bytes()) != expected:
        raise InputError(
            f"{path}: changed since the bank was built; restore it, or build the bank again"
        )


def is_image_name(name: object) -> bool:
    """Whether this is a relative name of a file below `images` that cannot lead out of it."""
    if not isinstance(name, str) or "\\" in name or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    return len(parts) > 1 and parts[0] == IMAGES and ".." not in parts
