"""Linear read-outs by ridge regression, and their scores with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smile_train.motion_probe.config import Factor

RESAMPLES = 2000
"""Resamples of the bootstrap."""
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
        predicted, truth: Arrays (n,) float64, one per seed, clips in order: neighbors share a
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
        centered = truth - truth.mean()
        parts = [(predicted - truth) ** 2, np.ones(len(truth)), centered, centered**2]
    stacked = np.stack(parts, axis=1)
    return np.add.reduceat(stacked, np.arange(0, len(stacked), 2), axis=0)


def _value(factor: Factor, sums: np.ndarray) -> np.ndarray:
    """Percent right, or R2 in percent, of sums (…, 2 or 4)."""
    if factor.classes:
        return 100 * sums[:, 0] / np.maximum(sums[:, 1], 1)
    errors, count, first, second = sums.T
    spread = second - first**2 / np.maximum(count, 1)
    return 100 * (1 - errors / np.maximum(spread, 1e-12))


PENALTIES = tuple(10.0 ** np.arange(-5, 4))
"""Tried, as shares of the largest eigenvalue of the features' Gram matrix over ten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a read-out says of test clips."""

    predicted: np.ndarray
    """(n,) float64: a number, or a class."""
    penalty: float
    """The one chosen; of an attentive read-out its epoch."""


def read_out(
    learn: np.ndarray,
    choose: np.ndarray,
    test: np.ndarray,
    targets: dict[str, np.ndarray],
    classes: int,
) -> Answers:
    """Fit a linear read-out and ask it about test clips.

    Args:
        learn, choose, test: (n, D) float32 features. All are standardized by what `learn` has.
        targets: `learn` and `choose`: (n,) numbers, or classes.
        classes: Number of classes, which are regressed on one by one; 0 for a number.

    Returns:
        Answers of the read-out refitted on `learn` and `choose` together, with the penalty that did
        best on `choose`.
    """
    wanted = {name: encode_targets(values, classes) for name, values in targets.items()}
    fit = _Ridge(learn, wanted["learn"])
    outcomes = [fit(choose, penalty) for penalty in PENALTIES]
    errors = [((predicted - wanted["choose"]) ** 2).mean() for predicted in outcomes]
    if classes:
        right = [(p.argmax(1) == targets["choose"]).mean() for p in outcomes]
        best = min(range(len(PENALTIES)), key=lambda k: (-right[k], errors[k]))
    else:
        best = int(np.argmin(errors))
    both = _Ridge(
        np.concatenate([learn, choose]), np.concatenate([wanted["learn"], wanted["choose"]])
    )
    predicted = both(test, PENALTIES[best])
    return Answers(
        predicted=predicted.argmax(1).astype(np.float64) if classes else predicted[:, 0],
        penalty=PENALTIES[best],
    )


def encode_targets(values: np.ndarray, classes: int) -> np.ndarray:
    """What a read-out is fitted to, (n, outputs): a class as a one among zeros, a number itself."""
    return np.eye(classes)[values.astype(int)] if classes else values[:, None].astype(np.float64)


class _Ridge:
    """Ridge regression for any penalty after one decomposition, of the smaller of the features' two
    Gram matrices: samples by samples, or features by features."""

    def __init__(self, features: np.ndarray, wanted: np.ndarray) -> None:
        self.mean = features.mean(0)
        self.scale = 1 / np.maximum(features.std(0), 1e-6)
        self.offset = wanted.mean(0)
        known = self._standard(features)
        targets = wanted - self.offset
        self.samples = None if known.shape[1] < len(known) else known
        if self.samples is None:
            gram, targets = known.T @ known, known.T.astype(np.float64) @ targets
        else:
            gram = known @ known.T
        values, self.vectors = np.linalg.eigh(gram.astype(np.float64))
        self.values = np.maximum(values, 0)
        self.projected = self.vectors.T @ targets

    def __call__(self, features: np.ndarray, penalty: float) -> np.ndarray:
        """Predict (n, outputs)."""
        shrunk = self.projected / (self.values + penalty * self.values[-1] / 10 + 1e-9)[:, None]
        seen = self._standard(features)
        if self.samples is not None:
            seen = seen @ self.samples.T
        return seen.astype(np.float64) @ (self.vectors @ shrunk) + self.offset

    def _standard(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) * self.scale).astype(np.float32)
