"""Statistics of a bank's records: scores, segmenters, reasons of refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Probabilities of the reported quantiles of scores."""


def object_score(record: Mapping[str, Any]) -> float | None:
    """CLIP score of an object or candidate: that of its segmenter's mask, else of its best mask.

    Args:
        record: A line of `metadata.jsonl` or `candidates.jsonl`.

    Returns:
        100 times a cosine; None where the record has no score.
    """
    score = record.get("score")
    if isinstance(score, int | float):
        return float(score)
    masks = [mask for mask in record.get("masks") or () if isinstance(mask, dict)]
    chosen = [mask for mask in masks if mask.get("segmenter") == record.get("segmenter")] or masks
    scores = [mask["score"] for mask in chosen if isinstance(mask.get("score"), int | float)]
    return float(max(scores)) if scores else None


def score_summary(records: Sequence[Mapping[str, Any]], bins: int = 12) -> dict[str, Any] | None:
    """Summarize the CLIP scores of records.

    Args:
        records: Lines of `metadata.jsonl`.
        bins: Number of bins of the histogram.

    Returns:
        `count`, `mean`, `quantiles` (probability to score), `edges` (bins + 1) and `counts` (bins);
        None where no record has a score.
    """
    scores = np.array([s for s in map(object_score, records) if s is not None])
    if not len(scores):
        return None
    counts, edges = np.histogram(scores, bins=bins)
    values = np.quantile(scores, QUANTILES)
    return {
        "count": len(scores),
        "mean": round(float(scores.mean()), 3),
        "quantiles": {f"{q:g}": round(float(v), 3) for q, v in zip(QUANTILES, values, strict=True)},
        "edges": [round(float(edge), 3) for edge in edges],
        "counts": counts.tolist(),
    }


def pose_counts(records: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    """Number of animated objects, and of their poses together; None where all are still."""
    poses = [record["poses"] for record in records if record.get("poses")]
    return {"objects": len(poses), "poses": sum(poses)} if poses else None


def segmenter_counts(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Number of objects that each segmenter cut out, most frequent first."""
    found = Counter(str(record["segmenter"]) for record in records if record.get("segmenter"))
    return dict(found.most_common())


def refusal_counts(candidates: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Number of refused candidates by kind of reason, most frequent first."""
    kinds = Counter(
        _kind(str(record.get("reason") or "no reason given"))
        for record in candidates
        if not record.get("accepted")
    )
    return dict(kinds.most_common())


def _kind(reason: str) -> str:
    """Reason without its numbers: `score 17.2 below 21.0` becomes `score below`."""
    words = reason.partition(":")[0].split()
    kept = [word for word in words if not any(sign.isdigit() for sign in word) and "/" not in word]
    return " ".join(kept) or reason
