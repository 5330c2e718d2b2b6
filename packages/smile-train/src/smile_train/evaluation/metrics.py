"""Scores of predictions, every sample counted once, and votes of nearest neighbors."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from smile_motion.errors import InputError


def hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Tell which samples have their label among the k highest scores.

    Args:
        scores: (n, classes) float; labels (n,) int64. Equal scores count against the sample, so
            that a constant prediction is never right by its order, and so do scores that are no
            numbers.

    Returns:
        (n,) bool.
    """
    own = np.take_along_axis(scores, labels[:, None], 1)
    return (~(scores < own)).sum(1) <= k


def per_class(found: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Percentage of each class that was found; NaN where the split has none of a class.

    Args:
        found: (n,) bool as from `hits`; labels (n,) int64.
    """
    total = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[found], minlength=classes)
    return np.divide(100.0 * right, total, out=np.full(classes, np.nan), where=total > 0)


def confusion(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count samples by label (row) and prediction (column).

    Returns:
        (classes, classes) int64.
    """
    classes = scores.shape[1]
    return np.bincount(labels * classes + scores.argmax(1), minlength=classes**2).reshape(
        classes, classes
    )


def average_precision(scores: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Average precision of each class, percent; NaN where the split has none of a class.

    Args:
        scores: (n, classes) float; marks (n, classes) of 0 and 1. As scikit-learn and the Charades
            evaluation: the mean of the precision at every positive, ties taken together.
    """
    precisions = np.full(scores.shape[1], np.nan)
    for number in range(scores.shape[1]):
        own, found = scores[:, number], marks[:, number] > 0
        if not found.any():
            continue
        order = np.argsort(-own, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(own[order]) != 0, True))
        hits = np.cumsum(found[order])[ends]
        gained = np.diff(hits, prepend=0)
        precisions[number] = 100 * float((gained * hits / (ends + 1)).sum() / found.sum())
    return precisions


def counting_errors(predicted: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Score repetition counts (UCFRep; SEVERE).

    Args:
        predicted, counts: (n,) float; counts above 0.

    Returns:
        `mae`, the mean of |predicted - count| / count, and `off_by_one`, the percentage of samples
        whose rounded prediction differs from the count by at most 1.

    Raises:
        InputError: A count is 0, of which no error is a share.
    """
    if (counts <= 0).any():
        raise InputError(
            f"sample {int(np.argmax(counts <= 0))} has the count 0; the relative error needs 1 or "
            f"more, leave it out"
        )
    return {
        "mae": float((np.abs(predicted - counts) / counts).mean()),
        "off_by_one": 100 * float((np.abs(np.rint(predicted) - counts) <= 1).mean()),
    }


def classification_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """`top1` and `top5` over the samples; `mean_class_top1` and `mean_class_top5`, the means over
    the classes that the split has."""
    metrics = {}
    for k in (1, 5):
        found = hits(scores, labels, k)
        metrics[f"top{k}"] = 100 * float(found.mean())
        metrics[f"mean_class_top{k}"] = float(np.nanmean(per_class(found, labels, scores.shape[1])))
    return metrics


def multi_label_metrics(scores: np.ndarray, marks: np.ndarray) -> dict[str, float]:
    """`map`: the mean average precision over the classes that the split has."""
    return {"map": float(np.nanmean(average_precision(scores, marks)))}


TEMPERATURE = 0.07
"""Temperature of the votes' weights, exp(similarity / temperature). DINO."""
AT_ONCE = 4096
"""Queries compared at a time."""


def neighbor_votes(
    features: torch.Tensor,
    labels: torch.Tensor,
    queries: torch.Tensor | None,
    *,
    neighbors: int,
    classes: int,
) -> torch.Tensor:
    """Let the nearest samples vote on each query's class.

    Args:
        features: (n, D) of samples whose `labels` (n,) int64 are known; neighbors by cosine.
        queries: (m, D); None asks about the samples themselves, each left out in its turn.

    Returns:
        (m, classes) float32, the weight of the votes.
    """
    known = F.normalize(features, dim=1)
    asked = known if queries is None else F.normalize(queries, dim=1)
    count = min(neighbors, len(labels) - (queries is None))
    votes = torch.zeros(len(asked), classes, device=features.device)
    for start in range(0, len(asked), AT_ONCE):
        similarity = asked[start : start + AT_ONCE] @ known.T
        if queries is None:
            rows = torch.arange(len(similarity), device=features.device)
            similarity[rows, start + rows] = -torch.inf
        nearest = similarity.topk(count, dim=1)
        part = votes[start : start + AT_ONCE]
        part.scatter_add_(1, labels[nearest.indices], (nearest.values / TEMPERATURE).exp())
    return votes
