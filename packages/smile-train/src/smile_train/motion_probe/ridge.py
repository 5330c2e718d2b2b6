"""Linear read-outs: ridge regression, its penalty chosen on clips that are held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTIES = tuple(10.0 ** np.arange(-5, 4))
"""Tried, as shares of the largest eigenvalue of the features' Gram matrix over ten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a read-out says of test clips."""

    predicted: np.ndarray
    """(n,) float64: a number, or a class."""
    penalty: float
    """The one chosen."""


def read_out(
    learn: np.ndarray,
    choose: np.ndarray,
    test: np.ndarray,
    targets: dict[str, np.ndarray],
    classes: int,
) -> Answers:
    """Fit a linear read-out and ask it about test clips.

    Args:
        learn, choose, test: (n, D) float32 features. All are standardised by what `learn` has.
        targets: `learn` and `choose`: (n,) numbers, or classes.
        classes: Number of classes, which are regressed on one by one; 0 for a number.

    Returns:
        Answers of the read-out refitted on `learn` and `choose` together, with the penalty that did
        best on `choose`.
    """
    wanted = {name: _encode(values, classes) for name, values in targets.items()}
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


def _encode(values: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[values.astype(int)] if classes else values[:, None].astype(np.float64)


class _Ridge:
    """Ridge regression for any penalty after one decomposition, of samples by samples."""

    def __init__(self, features: np.ndarray, wanted: np.ndarray) -> None:
        self.mean = features.mean(0)
        self.scale = 1 / np.maximum(features.std(0), 1e-6)
        self.offset = wanted.mean(0)
        self.known = self._standard(features)
        values, self.vectors = np.linalg.eigh((self.known @ self.known.T).astype(np.float64))
        self.values = np.maximum(values, 0)
        self.projected = self.vectors.T @ (wanted - self.offset)

    def __call__(self, features: np.ndarray, penalty: float) -> np.ndarray:
        """Predict (n, outputs)."""
        shrunk = self.projected / (self.values + penalty * self.values[-1] / 10 + 1e-9)[:, None]
        dual = self.vectors @ shrunk
        return (self._standard(features) @ self.known.T).astype(np.float64) @ dual + self.offset

    def _standard(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) * self.scale).astype(np.float32)
