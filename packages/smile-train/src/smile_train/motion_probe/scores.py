"""Scores of read-outs with 95 % intervals over clips and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smile_train.motion_probe.factors import Factor

RESAMPLES = 2000
"""Of the bootstrap."""
LEAK_ERRORS = 3.5
"""Standard errors above chance from which a control tells that a probe leaks: of a hundred sound
ones, one in forty tables would."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a read-out reached."""

    value: float
    """Percent right, or R2 in percent."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""
    error: float
    """Standard error, of which the interval's ends are percentiles."""

    def above(self, chance: float) -> bool:
        """Whether this is more than guessing, beyond doubt."""
        return self.value - chance > LEAK_ERRORS * max(self.error, 0.1)


def score(factor: Factor, predicted: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> Score:
    """Score answers.

    Args:
        predicted, truth: Of each seed: (n,) float64, clips in order, so that neighbours share a
            scene.

    Returns:
        The mean over all, and a bootstrap over seeds and, within each, over scenes.
    """
    sums = [_sums(factor, *pair) for pair in zip(predicted, truth, strict=True)]
    rng = np.random.default_rng(0)
    total = sum(own.sum(0) for own in sums)
    assert isinstance(total, np.ndarray)
    seeds = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES)
    drawn = np.zeros((RESAMPLES, total.shape[0]))
    for own, times in zip(sums, seeds.T, strict=True):
        drawn += rng.multinomial(times * len(own), np.full(len(own), 1 / len(own))) @ own
    values = _value(factor, drawn)
    low, high = np.percentile(values, (2.5, 97.5))
    return Score(
        value=float(_value(factor, total[None])[0]),
        low=float(low),
        high=float(high),
        error=float(values.std()),
    )


def _sums(factor: Factor, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What scores are made of, summed over the two clips of each scene: (scenes, 2 or 4)."""
    if factor.classes:
        right = (predicted == truth).astype(np.float64)
        if factor.both:
            both = right[: len(right) // 2 * 2].reshape(-1, 2).all(1).astype(np.float64)
            return np.stack([both, np.ones(len(both))], axis=1)
        parts = [right, np.ones(len(right))]
    else:
        centred = truth - truth.mean()
        parts = [(predicted - truth) ** 2, np.ones(len(truth)), centred, centred**2]
    stacked = np.stack(parts, axis=1)
    return np.add.reduceat(stacked, np.arange(0, len(stacked), 2), axis=0)


def _value(factor: Factor, sums: np.ndarray) -> np.ndarray:
    """Percent right, or R2 in percent, of sums (…, 2 or 4)."""
    if factor.classes:
        return 100 * sums[:, 0] / np.maximum(sums[:, 1], 1)
    errors, count, first, second = sums.T
    spread = second - first**2 / np.maximum(count, 1)
    return 100 * (1 - errors / np.maximum(spread, 1e-12))
