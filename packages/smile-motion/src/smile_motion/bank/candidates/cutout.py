"""Cut the object under a mask out of an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
from annotated_types import Interval

from smile_motion.bank.candidates.types import Thresholds
from smile_motion.bank.dedup import fingerprint
from smile_motion.bank.format import LARGEST_SIDE_PX, MaskScore
from smile_motion.io.files import sha256
from smile_motion.io.images import opaque

LEVEL = 128
"""A pixel belongs to the object where the mask exceeds this (X-Paste)."""
SOFT_PX = 3
"""Largest distance of an object's soft edge from it, pixels (ours)."""
SMALLEST_PX = 8
"""Smallest side of an object, pixels; smaller ones are dropped (ours)."""
RADII_PX = (90, 6)
"""Radii of the two passes of color estimation, pixels (Forte 2021)."""
COARSE = 6
"""Factor by which the wide pass reduces the image (ours)."""


def clean(
    image: np.ndarray, alpha: np.ndarray, *, fill_holes: bool = False, decontaminate: bool = True
) -> np.ndarray | None:
    """Cut the object out of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8, soft.
        fill_holes: Fill what the outer contour encloses (X-Paste); otherwise holes such as that of
            a mug's handle are kept.
        decontaminate: Estimate the object's own color where alpha is soft, so that the background
            does not show at the rim.

    Returns:
        (h, w, 4) uint8 straight-alpha RGBA: the largest connected part with its soft edge, tightly
        cropped, transparent pixels black. None where less than `SMALLEST_PX` is left.
    """
    alpha = _largest_part(alpha, fill_holes)
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if min(len(rows), len(columns)) == 0:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < SMALLEST_PX:
        return None
    # The background's color is estimated from around the object too.
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
    """Alpha of the largest connected part of a mask, with its soft edge; zero elsewhere."""
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
    """Estimate the foreground color at every pixel by blur fusion.

    Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021: blurred means of both colors,
    corrected by the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8.

    Returns:
        (H, W, 3) uint8 RGB; pixels with alpha 255 keep their color.
    """
    pixels = image.astype(np.float32)
    share = alpha.astype(np.float32)[..., None] / 255
    height, width = alpha.shape
    # The wide pass blurs so much that a small copy gives the same result.
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


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How objects are cut out of candidates."""

    thresholds: Thresholds
    """Thresholds that masks must reach."""
    fill_holes: bool = False
    """Fill holes; see `clean`."""
    own_alpha: frozenset[str] = frozenset()
    """Segmenters that return the image's own alpha, whose rim needs no color estimation."""


def segmenters_of_own_alpha(cards: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the segmenters, given by their cards, that return the image's own alpha."""
    return frozenset(card["name"] for card in cards if card.get("kind") == "full")


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """Record of an object that was cut out of a candidate."""

    segmenter: str
    """Segmenter whose mask was used."""
    width: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    """Width, pixels."""
    height: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    """Height, pixels."""
    area_share: Annotated[float, Interval(ge=0, le=1)]
    """Mean alpha of the tight crop, 0 to 1."""
    fingerprint: str
    """Perceptual hash; see `dedup.fingerprint`."""
    sha256: str
    """SHA-256 of the PNG file."""


def cut_out(
    image: np.ndarray, alpha: np.ndarray, score: MaskScore, cutting: Cutting
) -> np.ndarray | None:
    """Cut the object under a mask out of an image.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W, 4) uint8 straight-alpha RGBA.
        alpha: (H, W) uint8, the mask.
        score: Score of the mask.
        cutting: Thresholds and options.

    Returns:
        (h, w, 4) uint8 straight-alpha RGBA; None where the area is out of bounds or less than
        `SMALLEST_PX` is left.
    """
    limits = cutting.thresholds
    if not limits.min_area <= score.area_share <= limits.max_area:
        return None
    own = score.segmenter in cutting.own_alpha
    color = np.ascontiguousarray(image[..., :3]) if own else opaque(image[None])[0]
    return clean(color, alpha, fill_holes=cutting.fill_holes, decontaminate=not own)


def describe_cut(rgba: np.ndarray, data: bytes, segmenter: str) -> CutOut:
    """Describe a cut-out, (h, w, 4) uint8 RGBA, whose PNG file is `data`."""
    return CutOut(
        segmenter=segmenter,
        width=rgba.shape[1],
        height=rgba.shape[0],
        area_share=round(float(rgba[..., 3].mean() / 255), 4),
        fingerprint=fingerprint(rgba),
        sha256=sha256(data),
    )
