"""Select the candidates of a category that become objects, with a reason for each refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smile_motion.bank.candidates.cutout import TOO_SMALL, CutOut, select_masks
from smile_motion.bank.candidates.store import StoredCandidate
from smile_motion.bank.candidates.types import Candidate, Category, Thresholds
from smile_motion.bank.dedup import mark_duplicates


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


def by_attempt(stored: Mapping[int, StoredCandidate], count: int) -> list[StoredCandidate]:
    """First `count` candidates of a category, in the order of attempts."""
    return [stored[attempt] for attempt in range(count)]
