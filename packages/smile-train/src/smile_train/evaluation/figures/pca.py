"""What features have in common: tokens colored by their first three principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

COMPONENTS = 3
"""Red, green and blue."""
CLIPPED = 0.02
"""Share of values at either end that are drawn as the extreme color."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """Directions in which tokens differ most, and how they become colors."""

    mean: np.ndarray
    """(D,) float64."""
    basis: np.ndarray
    """(3, D) float64 of unit length, the largest entry of each positive."""
    explained: np.ndarray
    """(3,) float64: share of the variance along each."""
    low: np.ndarray
    """(3,) float64: coordinate that is drawn as 0."""
    high: np.ndarray
    """(3,) float64: coordinate that is drawn as 255."""

    @classmethod
    def fit(cls, clips: Sequence[np.ndarray]) -> Components:
        """Find the components of all tokens of some clips together.

        Args:
            clips: (N, D) float each.

        Raises:
            InputError: All tokens are the same.
        """
        tokens = np.concatenate(clips).astype(np.float64)
        mean = tokens.mean(0)
        # The (D, D) moments need no copy of all centered tokens, however many clips there are.
        moments = tokens.T @ tokens / len(tokens) - np.outer(mean, mean)
        variances, vectors = np.linalg.eigh(moments)
        if variances[-1] <= 1e-12 * max(1.0, float((mean**2).sum())):
            raise InputError("all tokens have the same feature; there are no components to show")
        basis = vectors[:, ::-1][:, :COMPONENTS].T
        largest = np.abs(basis).argmax(1)
        basis *= np.sign(basis[np.arange(len(basis)), largest])[:, None]
        found = (tokens - mean) @ basis.T
        low, high = np.quantile(found, (CLIPPED, 1 - CLIPPED), axis=0)
        explained = np.clip(variances[::-1][:COMPONENTS], 0, None) / variances.sum()
        return cls(mean=mean, basis=basis, explained=explained, low=low, high=high)

    def project(self, tokens: np.ndarray) -> np.ndarray:
        """Coordinates of (N, D) tokens: (N, 3) float64."""
        return (tokens.astype(np.float64) - self.mean) @ self.basis.T

    def colors(self, tokens: np.ndarray) -> np.ndarray:
        """Colors of (N, D) tokens: (N, 3) uint8."""
        span = np.maximum(self.high - self.low, 1e-12)
        share = np.clip((self.project(tokens) - self.low) / span, 0, 1)
        return (255 * share).round().astype(np.uint8)


def paint_components(tokens: np.ndarray, components: Components, grid: TokenGrid) -> np.ndarray:
    """Tokens of a clip as a picture of their components: (N, D) to (T, H, W, 3) uint8."""
    return grid.upsample(components.colors(tokens).reshape(*grid.shape, -1))
