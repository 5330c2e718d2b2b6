"""Store candidates on disk: the image, each segmenter's mask and the cut-out object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from smile_motion.bank.candidates.cutout import CutOut, Cutting, cut_out, describe_cut
from smile_motion.bank.candidates.select import select_mask
from smile_motion.bank.candidates.types import Candidate, Mask
from smile_motion.bank.format import CANDIDATE_IMAGES, LARGEST_SIDE_PX, CandidateFields, MaskScore
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically
from smile_motion.io.images import PNG_PHOTOGRAPH, encode_png, open_image

CUT = "cut"
"""Folder of cut-outs while a build is unfinished."""
MADE_ANEW = "run the build again, which makes it anew"
"""Remedy for a stored image that is missing or damaged."""


@dataclass(frozen=True, kw_only=True)
class CandidateLine(CandidateFields):
    """Schema of a line of the journal."""

    sizes: dict[str, Annotated[int, Ge(0)]]
    cut: CutOut | None


@dataclass(frozen=True, kw_only=True)
class StoredCandidate:
    """A finished candidate: a line of the journal."""

    candidate: Candidate
    """Its record."""
    sizes: Mapping[str, int]
    """Sizes of its files, bytes, by name relative to the bank."""
    cut: CutOut | None
    """Its cut-out; None where no mask was selected or nothing was left."""

    def to_json(self) -> dict[str, Any]:
        """Convert to a line of the journal."""
        return {
            **asdict(self.candidate),
            "sizes": dict(self.sizes),
            "cut": None if self.cut is None else asdict(self.cut),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StoredCandidate:
        """Convert from a line of the journal."""
        return cls(
            candidate=candidate_from_json(record),
            sizes=record["sizes"],
            cut=None if record["cut"] is None else CutOut(**record["cut"]),
        )


def candidate_from_json(record: Mapping[str, Any]) -> Candidate:
    """Convert a record, which may have further fields, to a candidate."""
    masks = tuple(MaskScore(**mask) for mask in record["masks"])
    names = ("category", "attempt", "prompt", "seed", "unsafe")
    return Candidate(**{name: record[name] for name in names}, masks=masks)


def image_name(category: str, attempt: int) -> str:
    """Name of a candidate's image, relative to the bank."""
    return f"{CANDIDATE_IMAGES}/{category}/{attempt:06d}.png"


def mask_name(category: str, attempt: int, segmenter: str) -> str:
    """Name of a segmenter's mask, relative to the bank."""
    return f"{CANDIDATE_IMAGES}/{category}/{attempt:06d}.{segmenter}.png"


def cut_name(category: str, attempt: int) -> str:
    """Name of a cut-out until the build is finished, relative to the bank."""
    return f"{CUT}/{category}/{attempt:06d}.png"


def store_candidate(
    bank: Path,
    candidate: Candidate,
    image: np.ndarray,
    masks: Sequence[Mask],
    cutting: Cutting,
) -> StoredCandidate:
    """Cut the object out of a candidate and write all files of the candidate.

    Args:
        bank: Folder of the bank.
        candidate: The candidate.
        image: (H, W, 3 or 4) uint8, RGB or RGBA.
        masks: Masks in the order of `candidate.masks`.
        cutting: How objects are cut out.

    Returns:
        What the journal records.

    Raises:
        OSError: The disk is full; the error names the file.
    """
    sizes = {}
    chosen, rgba = None, None
    if not candidate.unsafe:
        chosen = select_mask(candidate.masks, cutting.thresholds)
    place, number = candidate.category, candidate.attempt
    sizes[image_name(place, number)] = _write(bank, image_name(place, number), image)
    for mask, score in zip(masks, candidate.masks, strict=True):
        name = mask_name(place, number, score.segmenter)
        sizes[name] = _write(bank, name, mask.alpha)
        if chosen is score:
            rgba = cut_out(image, mask.alpha, score, cutting)
    cut = None
    if rgba is not None and chosen is not None:
        name = cut_name(place, number)
        data = encode_png(rgba, PNG_PHOTOGRAPH)
        cut = describe_cut(rgba, data, chosen.segmenter)
        sizes[name] = _write_bytes(bank, name, data)
    return StoredCandidate(candidate=candidate, sizes=sizes, cut=cut)


def is_there(bank: Path, stored: StoredCandidate) -> bool:
    """Whether all files of a candidate exist; where one is missing, all are made again.

    Raises:
        InputError: A file has another size than was written.
    """
    for name, size in stored.sizes.items():
        try:
            found = (bank / name).stat().st_size
        except FileNotFoundError:
            return False
        if found != size:
            raise InputError(
                f"{bank / name}: {found} bytes, {size} were written; delete it and {MADE_ANEW}"
            )
    return True


def read_candidate_image(path: Path) -> np.ndarray:
    """Read a stored image or mask.

    Returns:
        (H, W, 3) uint8 RGB, (H, W, 4) uint8 RGBA, or (H, W) uint8 for a mask.

    Raises:
        InputError: It is missing, cannot be read, or is too large.
    """
    remedy = f"delete it and {MADE_ANEW}"
    with open_image(path, largest_px=LARGEST_SIDE_PX, remedy=remedy, restore=MADE_ANEW) as image:
        return np.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))


def _write(bank: Path, name: str, image: np.ndarray) -> int:
    return _write_bytes(bank, name, encode_png(image, PNG_PHOTOGRAPH))


def _write_bytes(bank: Path, name: str, data: bytes) -> int:
    try:
        write_atomically(bank / name, data)
    except OSError as error:  # the error of a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(bank / name)) from error
    return len(data)
