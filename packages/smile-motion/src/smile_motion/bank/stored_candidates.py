"""Reading what a build stored of its candidates, accepted or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.files import parse_json
from smile_motion.text_files import split_lines

CANDIDATES = "candidates.jsonl"
"""A line per candidate: the fields of `Candidate`, `accepted` and `reason`."""
CANDIDATE_IMAGES = "candidates"
"""Folder of their images, where those were kept."""


def read_candidates(folder: Path) -> list[dict[str, Any]]:
    """Read every candidate's record.

    Raises InputError when the file is missing, or a line is no candidate's record.
    """
    path = folder / CANDIDATES
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: missing; only banks built by a diffusion model store their candidates"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text; build the bank again") from error
    records = []
    for number, line in enumerate(split_lines(text), start=1):
        try:
            record = parse_json(line)
            category, attempt = record["category"], record["attempt"]
            sound = isinstance(category, str) and category not in ("", ".", "..")
            sound = sound and not set("/\\\0") & set(category)
            sound = sound and type(attempt) is int and attempt >= 0
            if not sound or not isinstance(record.get("accepted"), bool):
                raise ValueError
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: not a candidate's record; build the bank again"
            ) from error
        records.append(record)
    return records


def candidate_image(folder: Path, record: dict[str, Any]) -> Path:
    """Where a candidate's image is, if it was kept."""
    return folder / CANDIDATE_IMAGES / record["category"] / f"{record['attempt']:06d}.png"
