"""Reading what a build stored of its candidates, accepted or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Interval

from smile_motion.bank.candidates.types import MaskScore
from smile_motion.bank.format import BUILD_AGAIN, Name
from smile_motion.errors import InputError
from smile_motion.io.schema import read_records

CANDIDATES = "candidates.jsonl"
"""A line per candidate: the fields of `Candidate`, `accepted` and `reason`."""
CANDIDATE_IMAGES = "candidates"
"""Folder of their images, where those were kept."""


@dataclass(frozen=True, kw_only=True)
class CandidateFields:
    """The fields of `Candidate`, as records have them."""

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
    """Read every candidate's record.

    Raises InputError when the file is missing, or a line is no candidate's record.
    """
    path = folder / CANDIDATES
    try:
        records = read_records(path, CandidateRecord, remedy=BUILD_AGAIN)
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
    """Where a candidate's image is, if it was kept."""
    return folder / CANDIDATE_IMAGES / record["category"] / f"{record['attempt']:06d}.png"
