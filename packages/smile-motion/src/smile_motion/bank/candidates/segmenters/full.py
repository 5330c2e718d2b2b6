"""Images that are cut out already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smile_motion.bank.candidates.types import Category, Mask
from smile_motion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FullSegmenter:
    """Takes an image's own alpha as the mask."""

    name: str = "full"
    """What records call it."""

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        """Take the alpha of images (N, H, W, 4) uint8 as it is, not stretched.

        Raises InputError when the images have none.
        """
        if images.shape[-1] != 4:
            raise InputError(
                f"segmenter {self.name}: images of category {categories[0].name!r} have no alpha "
                f"channel; use RGBA images, or a segmenter that finds the object"
            )
        return [Mask(image[..., 3].copy(), float(image[..., 3].max()) / 255) for image in images]

    def card(self) -> dict[str, Any]:
        """What the bank's card says of it."""
        return {"name": self.name, "kind": "full"}
