"""Nearest neighbours in feature space."""

from __future__ import annotations

import torch
import torch.nn.functional as F

TEMPERATURE = 0.07
"""Of the votes' weights, exp(similarity / temperature). DINO."""
AT_ONCE = 4096
"""Queries compared at a time."""


def neighbour_votes(
    features: torch.Tensor,
    labels: torch.Tensor,
    queries: torch.Tensor | None,
    *,
    neighbours: int,
    classes: int,
) -> torch.Tensor:
    """Let the nearest samples vote on each query's class.

    Args:
        features: (n, D) of samples whose `labels` (n,) int64 are known; neighbours by cosine.
        queries: (m, D); None asks about the samples themselves, each left out in its turn.

    Returns:
        (m, classes) float32, the weight of the votes.
    """
    known = F.normalize(features, dim=1)
    asked = known if queries is None else F.normalize(queries, dim=1)
    count = min(neighbours, len(labels) - (queries is None))
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
