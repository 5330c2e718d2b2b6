"""Which mask of an image is used, and which images of a category become objects (X-Paste)."""

from __future__ import annotations

from collections.abc import Sequence

from smile_motion.bank.candidates.types import Candidate, Decision, MaskScore, Thresholds

REFUSED = -1.0
"""Score of a mask that was not even asked about."""


def choose(masks: Sequence[MaskScore], thresholds: Thresholds) -> MaskScore | None:
    """Take the mask with the highest score; of equal ones the first. None where all are refused.

    A mask is refused when its raw output never exceeds `min_raw`, or its score is no number.
    """
    able = [mask for mask in masks if mask.raw_max > thresholds.min_raw and mask.score > REFUSED]
    return max(able, key=lambda mask: mask.score, default=None)


def decide(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[Decision]:
    """Decide on all candidates of one category; each decision depends on the set, not the order.

    A candidate is accepted when its best mask scores at least `min_score`, or, in a category that
    scores low, at most `margin` below the best mask of any image, and takes a share of the image
    from `min_area` to `max_area`. What a safety checker marked is refused, and counts for nothing.
    """
    chosen = [None if c.unsafe else choose(c.masks, thresholds) for c in candidates]
    best = max((mask.score for mask in chosen if mask is not None), default=REFUSED)
    least = min(thresholds.min_score, best - thresholds.margin)
    return [
        Decision(
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
