"""Candidates on disk: the image, each segmenter's mask, and the cut-out object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval

from smile_motion.bank.candidates.choice import choose
from smile_motion.bank.candidates.cutout import clean
from smile_motion.bank.candidates.types import Candidate, Mask, MaskScore, Thresholds
from smile_motion.bank.duplicates import fingerprint
from smile_motion.bank.format import LARGEST_SIDE_PX
from smile_motion.bank.stored_candidates import CANDIDATE_IMAGES, CandidateFields
from smile_motion.errors import InputError
from smile_motion.io.files import sha256, write_atomically
from smile_motion.io.images import encode_fast, opaque, open_image

CUT = "cut"
"""Folder of cut-out objects while a build is unfinished."""
MADE_ANEW = "run the build again, which makes it anew"
"""What to do about a stored image that is missing or damaged."""
TOO_SMALL = "next to nothing is left after cleaning"
"""Why a candidate has no cut-out although a mask was chosen."""


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How objects are cut out of candidates."""

    thresholds: Thresholds
    """What masks must reach."""
    fill_holes: bool = False
    """See `cleaning.clean`."""
    own_alpha: frozenset[str] = frozenset()
    """Segmenters that take the image's own alpha; colours at its rim are the object's already."""


def segmenters_of_own_alpha(cards: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Names of those segmenters, by what their cards say, that take the image's own alpha."""
    return frozenset(card["name"] for card in cards if card.get("kind") == "full")


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """An object cut out of a candidate, as its record says it."""

    segmenter: str
    """Whose mask was used."""
    width: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    """Pixels."""
    height: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    """Pixels."""
    area_share: Annotated[float, Interval(ge=0, le=1)]
    """Mean alpha of its box, 0 to 1."""
    fingerprint: str
    """Perceptual hash."""
    sha256: str
    """Of the PNG."""


@dataclass(frozen=True, kw_only=True)
class CandidateLine(CandidateFields):
    """A line of the journal."""

    sizes: dict[str, Annotated[int, Ge(0)]]
    cut: CutOut | None


@dataclass(frozen=True, kw_only=True)
class StoredCandidate:
    """A finished candidate: a line of the journal."""

    candidate: Candidate
    """What the models said."""
    sizes: Mapping[str, int]
    """Bytes of its files, by name relative to the bank."""
    cut: CutOut | None
    """None where no mask was chosen or nothing was left."""

    def to_json(self) -> dict[str, Any]:
        """The journal's line."""
        return {
            **asdict(self.candidate),
            "sizes": dict(self.sizes),
            "cut": None if self.cut is None else asdict(self.cut),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StoredCandidate:
        """Read a journal's line."""
        return cls(
            candidate=candidate_from_json(record),
            sizes=record["sizes"],
            cut=None if record["cut"] is None else CutOut(**record["cut"]),
        )


def candidate_from_json(record: Mapping[str, Any]) -> Candidate:
    """Read the fields of a candidate from a record that may have others."""
    masks = tuple(MaskScore(**mask) for mask in record["masks"])
    names = ("category", "attempt", "prompt", "seed", "unsafe")
    return Candidate(**{name: record[name] for name in names}, masks=masks)


def image_name(category: str, attempt: int) -> str:
    """Where a candidate's image is, relative to the bank."""
    return f"{CANDIDATE_IMAGES}/{category}/{attempt:06d}.png"


def mask_name(category: str, attempt: int, segmenter: str) -> str:
    """Where a segmenter's mask is, relative to the bank."""
    return f"{CANDIDATE_IMAGES}/{category}/{attempt:06d}.{segmenter}.png"


def cut_name(category: str, attempt: int) -> str:
    """Where a cut-out is until the build is finished, relative to the bank."""
    return f"{CUT}/{category}/{attempt:06d}.png"


def store_candidate(
    bank: Path,
    candidate: Candidate,
    image: np.ndarray,
    masks: Sequence[Mask],
    cutting: Cutting,
) -> StoredCandidate:
    """Cut the object out and write all of a candidate's files; returns the line to journal.

    image  (H, W, 3 or 4) uint8.
    masks  in the order of `candidate.masks`.
    Raises OSError naming the file when the disk is full.
    """
    sizes = {}
    chosen, rgba = None, None
    if not candidate.unsafe:
        chosen = choose(candidate.masks, cutting.thresholds)
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
        data = encode_fast(rgba)
        cut = describe_cut(rgba, data, chosen.segmenter)
        sizes[name] = _write_bytes(bank, name, data)
    return StoredCandidate(candidate=candidate, sizes=sizes, cut=cut)


def cut_out(
    image: np.ndarray, alpha: np.ndarray, score: MaskScore, cutting: Cutting
) -> np.ndarray | None:
    """Cut an object out of an image (H, W, 3 or 4) uint8 under a mask (H, W) uint8.

    returns RGBA, or None where its area is out of bounds or next to nothing is left.
    """
    limits = cutting.thresholds
    if not limits.min_area <= score.area_share <= limits.max_area:
        return None
    own = score.segmenter in cutting.own_alpha
    colour = np.ascontiguousarray(image[..., :3]) if own else opaque(image[None])[0]
    return clean(colour, alpha, fill_holes=cutting.fill_holes, decontaminate=not own)


def describe_cut(rgba: np.ndarray, data: bytes, segmenter: str) -> CutOut:
    """What records say of a cut-out (h, w, 4) uint8 whose PNG is `data`."""
    return CutOut(
        segmenter=segmenter,
        width=rgba.shape[1],
        height=rgba.shape[0],
        area_share=round(float(rgba[..., 3].mean() / 255), 4),
        fingerprint=fingerprint(rgba),
        sha256=sha256(data),
    )


def is_there(bank: Path, stored: StoredCandidate) -> bool:
    """Whether all of a candidate's files are there; where one is missing all are made again.

    Raises InputError when a file has another size than it was written with.
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
    """Read a stored image (H, W, 3 or 4) or mask (H, W), uint8.

    Raises InputError when it is missing, cannot be read, or is too large.
    """
    remedies = {"remedy": f"delete it and {MADE_ANEW}", "restore": MADE_ANEW}
    with open_image(path, largest_px=LARGEST_SIDE_PX, **remedies) as image:
        return np.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))


def _write(bank: Path, name: str, image: np.ndarray) -> int:
    return _write_bytes(bank, name, encode_fast(image))


def _write_bytes(bank: Path, name: str, data: bytes) -> int:
    try:
        write_atomically(bank / name, data)
    except OSError as error:  # that of a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(bank / name)) from error
    return len(data)
