"""What the segmenters and the scorer say of a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from smile_motion.bank.candidates.choice import REFUSED
from smile_motion.bank.candidates.cutout import LEVEL
from smile_motion.bank.candidates.images import MadeImage
from smile_motion.bank.candidates.types import (
    Candidate,
    Category,
    Mask,
    MaskScore,
    Scorer,
    Segmenter,
)
from smile_motion.bank.candidates.units import Attempt
from smile_motion.io.images import opaque

DIGITS = 4
"""Decimals of scores and shares in records; decisions are made on the rounded numbers."""


@dataclass(frozen=True, eq=False)
class Assessed:
    """An image with everything that the models said of it."""

    candidate: Candidate
    """The record."""
    image: np.ndarray
    """(H, W, 3 or 4) uint8."""
    masks: tuple[Mask, ...]
    """In the order of the segmenters."""


def assess(
    attempts: Sequence[Attempt],
    made: Sequence[MadeImage],
    segmenters: Sequence[Segmenter],
    scorer: Scorer,
) -> list[Assessed]:
    """Segment and score the images of one batch; neighbours of one size and kind go together."""
    assessed = []
    pairs = zip(attempts, made, strict=True)
    for _, group in groupby(pairs, key=lambda pair: pair[1].image.shape):
        assessed += _assess_alike(list(group), segmenters, scorer)
    return assessed


def _assess_alike(
    pairs: Sequence[tuple[Attempt, MadeImage]], segmenters: Sequence[Segmenter], scorer: Scorer
) -> list[Assessed]:
    images = np.stack([made.image for _, made in pairs])
    categories = [attempt.category for attempt, _ in pairs]
    masks: list[list[Mask]] = [[] for _ in pairs]
    scores: list[list[MaskScore]] = [[] for _ in pairs]
    for segmenter in segmenters:
        found = segmenter.segment(images, categories)
        said = _scores(images, found, categories, scorer)
        for place, (mask, score) in enumerate(zip(found, said, strict=True)):
            masks[place].append(mask)
            scores[place].append(_mask_score(segmenter.name, mask, score))
    return [
        Assessed(
            Candidate(
                category=attempt.category.folder,
                attempt=attempt.number,
                prompt=one.prompt,
                seed=one.seed,
                unsafe=one.unsafe,
                masks=tuple(scores[place]),
            ),
            one.image,
            tuple(masks[place]),
        )
        for place, (attempt, one) in enumerate(pairs)
    ]


def _scores(
    images: np.ndarray, masks: Sequence[Mask], categories: Sequence[Category], scorer: Scorer
) -> np.ndarray:
    """Score all masks of a segmenter together, whether or not one is empty: what else is in the
    batch must not depend on it."""
    alphas = np.stack([mask.alpha for mask in masks])
    return scorer.score(opaque(images), alphas, categories)


def _mask_score(segmenter: str, mask: Mask, score: float) -> MaskScore:
    inside = float((mask.alpha > LEVEL).mean())
    raw_max = round(float(mask.raw_max), DIGITS)
    if not inside or not np.isfinite(score):
        return MaskScore(segmenter, REFUSED, 0.0, raw_max)
    return MaskScore(segmenter, round(float(score), DIGITS), round(inside, DIGITS), raw_max)
