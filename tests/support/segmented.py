"""Segment images with the model in a file, and compare masks."""

from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.bank.candidates.types import Category, Mask

CAT = Category("cat")


def segment(path: Path | str, images: np.ndarray, **options: int) -> list[Mask]:
    return open_segmenter(str(path), **options).segment(images, [CAT] * len(images))


def overlap(mask: Mask, truth: np.ndarray) -> float:
    """Intersection over union of the mask above 128 and the truth."""
    found = mask.alpha > 128
    return float((found & truth).sum() / (found | truth).sum())


def assert_same(left: list[Mask], right: list[Mask], *, levels: int = 0) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert np.abs(one.alpha.astype(int) - other.alpha).max() <= levels
        assert one.raw_max == pytest.approx(other.raw_max, abs=levels / 255)
