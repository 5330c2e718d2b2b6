"""From an image and its masks to a cut-out object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
from annotated_types import Interval

from smile_motion.bank.candidates.types import Candidate, MaskVerdict, Thresholds
from smile_motion.bank.dedup import fingerprint
from smile_motion.bank.format import LARGEST_SIDE_PX, MaskScore
from smile_motion.io.files import sha256
from smile_motion.io.images import opaque

LEVEL = 128
"""A pixel belongs to the object where the mask exceeds this (X-Paste)."""
SOFT_PX = 3
"""How far around the object its soft edge may reach; ours."""
SMALLEST_PX = 8
"""Objects with a shorter side are dropped; ours."""
RADII_PX = (90, 6)
"""Reach of the two passes of colour estimation, pixels (Forte 2021)."""
COARSE = 6
"""Pixels of a side that the wide pass takes for one; ours."""


def clean(
    image: np.ndarray, alpha: np.ndarray, *, fill_holes: bool = False, decontaminate: bool = True
) -> np.ndarray | None:
    """Cut the object out of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8, soft.
        fill_holes: Fill what the outer contour encloses (X-Paste); else real holes stay, such as a
            mug's handle.
        decontaminate: Estimate the object's own colour where alpha is soft, so that none of the
            background's shows at the rim.

    Returns:
        (h, w, 4) uint8 straight-alpha RGBA: the largest connected part, with its soft edge, tightly
        cropped, clear pixels black. None where next to nothing is left.
    """
    alpha = _largest_part(alpha, fill_holes)
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if min(len(rows), len(columns)) == 0:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < SMALLEST_PX:
        return None
    # The background's colour is learned from around the object too.
    y0, x0 = max(0, top - RADII_PX[1]), max(0, left - RADII_PX[1])
    around = slice(y0, bottom + RADII_PX[1]), slice(x0, right + RADII_PX[1])
    color, alpha = image[around], alpha[around]
    if decontaminate:
        color = estimate_foreground(color, alpha)
    tight = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    color, alpha = np.ascontiguousarray(color[tight]), np.ascontiguousarray(alpha[tight])
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    cv2.mixChannels([color, alpha], [rgba], [0, 0, 1, 1, 2, 2, 3, 3])
    return cv2.bitwise_and(rgba, rgba, mask=alpha)


def _largest_part(alpha: np.ndarray, fill_holes: bool) -> np.ndarray:
    """Alpha of the largest connected part of a mask and of its soft edge; zero elsewhere."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > LEVEL).view(np.uint8))
    if count < 2:
        return np.zeros_like(alpha)
    part = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).view(np.uint8)
    if fill_holes:
        outer, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(part), outer, -1, 1, thickness=cv2.FILLED)
        alpha = np.where((filled > part) & (alpha <= LEVEL), np.uint8(255), alpha)
        part = filled
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * SOFT_PX + 1, 2 * SOFT_PX + 1))
    return np.where(cv2.dilate(part, reach) > 0, alpha, np.uint8(0))


def estimate_foreground(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimate the object's own colour at every pixel (Forte, "Approximate Fast Foreground Colour
    Estimation", ICIP 2021: blurred means of both colours, then what the image says of them).

    Args:
        image: (H, W, 3) uint8; alpha (H, W) uint8.

    Returns:
        (H, W, 3) uint8; pixels that are wholly the object's keep their colour.
    """
    pixels = image.astype(np.float32)
    share = alpha.astype(np.float32)[..., None] / 255
    height, width = alpha.shape
    # The wide pass blurs so much that a small copy says the same.
    size = max(1, width // COARSE), max(1, height // COARSE)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small_share = cv2.resize(share, size, interpolation=cv2.INTER_AREA)[..., None]
    wide = _blur_fusion(small, small, small, small_share, RADII_PX[0] // COARSE)
    front, behind = (cv2.resize(color, (width, height)) for color in wide)
    front, _ = _blur_fusion(pixels, front, behind, share, RADII_PX[1])
    np.rint(front, out=front)
    estimated = np.clip(front, 0, 255, out=front).astype(np.uint8)
    return cv2.copyTo(np.ascontiguousarray(image), (alpha == 255).view(np.uint8), estimated)


def _blur_fusion(
    pixels: np.ndarray, front: np.ndarray, behind: np.ndarray, share: np.ndarray, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    side = (2 * radius + 1, 2 * radius + 1)
    weight = cv2.blur(share, side)[..., None]
    front = cv2.blur(front * share, side) / (weight + 1e-5)
    behind = cv2.blur(behind * (1 - share), side) / (1 - weight + 1e-5)
    return front + share * (pixels - share * front - (1 - share) * behind), behind


REFUSED = -1.0
"""Score of a mask that was not even asked about."""


def select_mask(masks: Sequence[MaskScore], thresholds: Thresholds) -> MaskScore | None:
    """Take the mask with the highest score; of equal ones the first. None where all are refused.

    A mask is refused when its raw output never exceeds `min_raw`, or its score is not finite.
    """
    able = [mask for mask in masks if mask.raw_max > thresholds.min_raw and mask.score > REFUSED]
    return max(able, key=lambda mask: mask.score, default=None)


def select_masks(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[MaskVerdict]:
    """Decide on all candidates of one category; each decision depends on the set, not the order.

    A candidate is accepted when its best mask scores at least `min_score`, or, in a category that
    scores low, at most `margin` below the best mask of any image, and takes a share of the image
    from `min_area` to `max_area`. What a safety checker marked is refused, and counts for nothing.
    """
    chosen = [None if c.unsafe else select_mask(c.masks, thresholds) for c in candidates]
    best = max((mask.score for mask in chosen if mask is not None), default=REFUSED)
    least = min(thresholds.min_score, best - thresholds.margin)
    return [
        MaskVerdict(
            None if mask is None else mask.segmenter,
            _fault(candidate, mask, least, thresholds),
        )
        for candidate, mask in zip(candidates, chosen, strict=True)
    ]


def _fault(
    candidate: Candidate, mask: MaskScore | None, least: float, thresholds: Thresholds
) -> str | None:
    if candidate.unsafe:
        return "marked by the safety checker"
    if mask is None:
        raw = max((m.raw_max for m in candidate.masks), default=0.0)
        if raw > thresholds.min_raw:
            return "no confident mask has a score: all are empty"
        return f"no confident mask: raw maximum {raw:.2f}, above {thresholds.min_raw:g} asked for"
    if not mask.score >= least:
        return f"score {mask.score:.2f} below {least:.2f}"
    if mask.area_share < thresholds.min_area:
        return f"area share {mask.area_share:.3f} below {thresholds.min_area:g}"
    if mask.area_share > thresholds.max_area:
        return f"area share {mask.area_share:.3f} above {thresholds.max_area:g}"
    return None


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


def cut_out(
    image: np.ndarray, alpha: np.ndarray, score: MaskScore, cutting: Cutting
) -> np.ndarray | None:
    """Cut an object out of an image (H, W, 3 or 4) uint8 under a mask (H, W) uint8.

    Returns:
        RGBA, or None where its area is out of bounds or next to nothing is left.
    """
    limits = cutting.thresholds
    if not limits.min_area <= score.area_share <= limits.max_area:
        return None
    own = score.segmenter in cutting.own_alpha
    color = np.ascontiguousarray(image[..., :3]) if own else opaque(image[None])[0]
    return clean(color, alpha, fill_holes=cutting.fill_holes, decontaminate=not own)


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
