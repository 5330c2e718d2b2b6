"""Moving objects as a transform of albumentations; see `MotionOverlay.albumentations`.

A module of its own, because processes that load data look the class up by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from albumentations import ImageOnlyTransform

from smile_motion.errors import InputError

if TYPE_CHECKING:
    from smile_motion.clips.overlay import MotionOverlay


class Overlay(ImageOnlyTransform):
    """Moving objects over the frames of `images`."""

    def __init__(self, overlay: MotionOverlay, *, p: float) -> None:
        super().__init__(p=p)
        self.overlay = overlay

    def get_params(self) -> dict[str, Any]:
        """Draw a key from the pipeline's seed."""
        return {"key": self.py_random.getrandbits(63)}

    def apply_to_images(self, images: np.ndarray, key: int, **params: Any) -> np.ndarray:
        """Paint over a clip."""
        return self.overlay(np.ascontiguousarray(images), key).frames

    def apply(self, img: np.ndarray, key: int, **params: Any) -> np.ndarray:
        """Raise InputError: one image has no motion."""
        raise InputError("one `image`: give a clip as `images`, (T, H, W, 3)")
