"""Select the candidates of a category that become objects, with a reason for each refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smile_motion.bank.candidates.cutout import CutOut
from smile_motion.bank.candidates.types import Candidate, Category, MaskVerdict, Thresholds
from smile_motion.bank.dedup import mark_duplicates
from smile_motion.bank.format import MaskScore

REFUSED = -1.0
"""Score of a refused mask."""


def select_mask(masks: Sequence[MaskScore], thresholds: Thresholds) -> MaskScore | None:
    """Select the mask with the highest score, the first of equal ones.

    Args:
        masks: Scores of all segmenters' masks of one image.
        thresholds: Its `min_raw` must be exceeded by a mask's `raw_max`.

    Returns:
        The mask; None where every mask is empty or below `min_raw`.
    """
    able = [mask for mask in masks if mask.raw_max > thresholds.min_raw and mask.score > REFUSED]
    return max(able, key=lambda mask: mask.score, default=None)


def select_masks(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[MaskVerdict]:
    """Select a mask of each candidate of a category, or refuse the candidate by score and area.

    A candidate passes where its best mask scores at least `min_score`, or, in a category whose
    scores are low, at most `margin` below the category's best, and its area share is within
    `min_area` to `max_area`. Candidates that a safety checker marked are refused and not counted.

    Args:
        candidates: All candidates of one category; the decisions do not depend on their order.
        thresholds: Thresholds of score and area.

    Returns:
        A decision per candidate.
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
"""Reason of a candidate without cut-out although a mask was selected."""


@dataclass(frozen=True)
class Verdict:
    """Final decision on a candidate."""

    accepted: bool
    """Whether it becomes an object."""
    passed: bool
    """Whether it meets all criteria, even if no more objects were wanted."""
    segmenter: str | None
    """Segmenter whose mask is used; None where no mask was selected."""
    reason: str | None
    """Why it was refused; None where it was accepted."""


def select(
    candidates: Sequence[Candidate],
    cuts: Sequence[CutOut | None],
    thresholds: Thresholds,
    wanted: int,
) -> list[Verdict]:
    """Decide on all candidates of a category by score, cut-out, near-duplicates and number wanted.

    Args:
        candidates: Candidates in the order of attempts; the first that pass are accepted.
        cuts: Cut-out of each candidate's selected mask.
        thresholds: Thresholds that candidates must reach.
        wanted: Number of objects wanted.

    Returns:
        A verdict per candidate.
    """
    decisions = select_masks(candidates, thresholds)
    able = [
        number
        for number, (decision, cut) in enumerate(zip(decisions, cuts, strict=True))
        if decision.reason is None and cut is not None
    ]
    prints = [cut.fingerprint for cut in (cuts[number] for number in able) if cut is not None]
    marks = dict(zip(able, mark_duplicates(prints, thresholds.max_distance), strict=True))
    verdicts, accepted = [], 0
    for number, decision in enumerate(decisions):
        reason, passed = decision.reason, False
        if reason is None and cuts[number] is None:
            reason = TOO_SMALL
        elif reason is None and (mark := marks[number]) is not None:
            reason = f"looks like {candidates[able[mark]].id}"
        elif reason is None:
            passed = True
            if accepted == wanted:
                reason = f"beyond the {wanted} wanted"
        accepted += reason is None
        verdicts.append(Verdict(reason is None, passed, decision.segmenter, reason))
    return verdicts


def candidate_record(candidate: Candidate, verdict: Verdict) -> dict[str, Any]:
    """A line of `candidates.jsonl`."""
    return {
        "id": candidate.id,
        **asdict(candidate),
        "accepted": verdict.accepted,
        "segmenter": verdict.segmenter,
        "reason": verdict.reason,
    }


def object_record(candidate: Candidate, cut: CutOut, category: Category) -> dict[str, Any]:
    """A line of `metadata.jsonl`."""
    chosen = next(mask for mask in candidate.masks if mask.segmenter == cut.segmenter)
    return {
        "file_name": f"images/{candidate.id}.png",
        "id": candidate.id,
        "category": candidate.category,
        "width": cut.width,
        "height": cut.height,
        "area_share": cut.area_share,
        "sha256": cut.sha256,
        "name": category.name,
        "prompt": candidate.prompt,
        "seed": candidate.seed,
        "segmenter": cut.segmenter,
        "score": chosen.score,
        "scores": {mask.segmenter: mask.score for mask in candidate.masks},
        "image_share": chosen.area_share,
        "fingerprint": cut.fingerprint,
    }


def category_record(
    category: Category, wanted: int, max_tries: int, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """A line of `categories.jsonl`."""
    return {
        "category": category.folder,
        "name": category.name,
        "definition": category.definition,
        "sense": category.sense,
        "wanted": wanted,
        "max_tries": max_tries,
        "tries": len(verdicts),
        "passed": sum(verdict.passed for verdict in verdicts),
        "accepted": sum(verdict.accepted for verdict in verdicts),
    }
