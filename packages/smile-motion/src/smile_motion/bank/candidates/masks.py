"""From a model's output to a mask, and from any image to what a model sees."""

from __future__ import annotations

import numpy as np
from PIL import Image

from smile_motion.bank.candidates.types import Mask


def to_mask(output: np.ndarray, height: int, width: int) -> Mask:
    """Resize an output (h, w) float of 0 to 1 to the image's size and stretch it to 0 to 255.

    A constant output, or one that is not finite, finds nothing: its mask is 0 everywhere.
    """
    if not np.isfinite(output).all():
        return Mask(np.zeros((height, width), np.uint8), 0.0)
    raw_max = float(np.clip(output.max(), 0, 1))
    field = np.asarray(
        Image.fromarray(output.astype(np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
    )
    low, high = float(field.min()), float(field.max())
    if high - low < 1e-6:
        return Mask(np.zeros((height, width), np.uint8), raw_max)
    return Mask(np.rint((field - low) * (255 / (high - low))).astype(np.uint8), raw_max)
