"""From an image and a mask to a cut-out object."""

from __future__ import annotations

import cv2
import numpy as np

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

    image          (H, W, 3) uint8 RGB.
    alpha          (H, W) uint8, soft.
    fill_holes     fill what the outer contour encloses (X-Paste); else real holes stay, such as a
                   mug's handle.
    decontaminate  estimate the object's own colour where alpha is soft, so that none of the
                   background's shows at the rim.
    returns        (h, w, 4) uint8 straight-alpha RGBA: the largest connected part, with its soft
                   edge, tightly cropped, clear pixels black. None where next to nothing is left.
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
    colour, alpha = image[around], alpha[around]
    if decontaminate:
        colour = estimate_foreground(colour, alpha)
    tight = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    colour, alpha = np.ascontiguousarray(colour[tight]), np.ascontiguousarray(alpha[tight])
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    cv2.mixChannels([colour, alpha], [rgba], [0, 0, 1, 1, 2, 2, 3, 3])
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

    image   (H, W, 3) uint8; alpha (H, W) uint8.
    returns (H, W, 3) uint8; pixels that are wholly the object's keep their colour.
    """
    pixels = image.astype(np.float32)
    share = alpha.astype(np.float32)[..., None] / 255
    height, width = alpha.shape
    # The wide pass blurs so much that a small copy says the same.
    size = max(1, width // COARSE), max(1, height // COARSE)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small_share = cv2.resize(share, size, interpolation=cv2.INTER_AREA)[..., None]
    wide = _blur_fusion(small, small, small, small_share, RADII_PX[0] // COARSE)
    front, behind = (cv2.resize(colour, (width, height)) for colour in wide)
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
