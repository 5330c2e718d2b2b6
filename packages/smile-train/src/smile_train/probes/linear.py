"""Linear classifiers on cached features, one for each penalty of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

TOLERANCE = 1e-5
"""Gradient below which a head is done."""
MEMORY = 20
"""Steps that L-BFGS remembers."""
HELD_OUT = 0.1
"""Share of the training samples that the penalty is chosen by; all serve the last training."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """Shift and scale that training features have mean 0 and variance 1 under."""

    mean: torch.Tensor
    """(D,) float32."""
    scale: torch.Tensor
    """(D,) float32."""

    @classmethod
    def of(cls, features: torch.Tensor) -> Standard:
        """Measure training features, (n, D)."""
        return cls(mean=features.mean(0), scale=1 / features.std(0).clamp_min(1e-6))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Apply to (..., D)."""
        return (features - self.mean) * self.scale


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearHeads:
    """Linear classifiers that share their input."""

    standard: Standard
    """Applied first."""
    weight: torch.Tensor
    """(heads, classes, D)."""
    bias: torch.Tensor
    """(heads, classes)."""

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Class scores: (..., D) to (heads, ..., classes)."""
        flat = self.standard(features).flatten(0, -2)
        scores = torch.baddbmm(
            self.bias[:, None], flat.expand(len(self.weight), -1, -1), self.weight.transpose(1, 2)
        )
        return scores.unflatten(1, features.shape[:-1])


def train_linear(
    features: np.ndarray,
    targets: np.ndarray,
    classes: int,
    *,
    penalties: Sequence[float],
    iterations: int,
    device: torch.device,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LinearHeads:
    """Fit a logistic regression for every penalty, by L-BFGS over all samples at once.

    The loss is convex: no rate, order or seed decides what comes out.

    Args:
        features: (n, D) float32, standardized inside by their own mean and deviation.
        targets: (n,) int64, or (n, classes) float32 of 0 and 1.
        penalties: Factors of half the squared weights, beside the mean loss over samples.
        iterations: Most iterations of L-BFGS.

    Returns:
        The heads, in the order of the penalties, on the device.
    """
    inputs = torch.from_numpy(features).to(device)
    wanted = torch.from_numpy(targets).to(device)
    standard = Standard.of(inputs)
    inputs = standard(inputs)
    weights = torch.zeros(len(penalties), classes, inputs.shape[1], device=device)
    biases = torch.zeros(len(penalties), classes, device=device)
    for number, penalty in enumerate(penalties):
        head = torch.cat([weights[number], biases[number, :, None]], 1)
        head = _minimize(inputs, wanted, head, penalty, iterations)
        weights[number], biases[number] = head[:, :-1], head[:, -1]
        on_progress(number + 1, len(penalties))
    return LinearHeads(standard=standard, weight=weights, bias=biases)


def _minimize(
    inputs: torch.Tensor, wanted: torch.Tensor, head: torch.Tensor, penalty: float, iterations: int
) -> torch.Tensor:
    """Fit one head, weights and bias in a row for each class, (classes, D + 1).

    SciPy takes the steps and the device computes losses, so that a step waits for the device once;
    each of the hundreds of small operations of L-BFGS itself would, too.
    """
    from scipy.optimize import minimize

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        own = torch.from_numpy(values.astype(np.float32)).to(head.device).view_as(head)
        own.requires_grad_()
        value = linear_loss(F.linear(inputs, own[:, :-1], own[:, -1]), wanted)
        value = value + penalty / 2 * own[:, :-1].square().sum()
        (slope,) = torch.autograd.grad(value, own)
        told = torch.cat([value.detach()[None], slope.flatten()]).double().cpu().numpy()
        return float(told[0]), told[1:]

    options = {"maxiter": iterations, "maxcor": MEMORY, "gtol": TOLERANCE, "ftol": TOLERANCE**2}
    start = head.flatten().double().cpu().numpy()
    found = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x.astype(np.float32)).to(head.device).view_as(head)


def linear_loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean over samples: (n, classes) against labels (n,) or marks (n, classes)."""
    if wanted.ndim == 1:
        return F.cross_entropy(scores, wanted)
    return F.binary_cross_entropy_with_logits(scores, wanted)


def hold_out(targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split samples into those learned from and those chosen by, the same share of each class.

    Args:
        targets: (n,) int64, or (n, classes) float32 of 0 and 1.

    Returns:
        Numbers of both. A class's last sample is never held out, so that there are fewer to choose
        by, or none, where classes have one sample each.
    """
    count = len(targets)
    order = np.random.default_rng(seed).permutation(count)
    if targets.ndim == 1:
        shares = np.empty(count)
        for label in np.unique(targets):
            own = order[targets[order] == label]
            shares[own] = (np.arange(len(own)) + 0.5) / len(own)
        order = order[np.argsort(shares[order], kind="stable")]
        left = np.bincount(targets)
    else:
        left = targets.sum(0)
    wanted = max(1, round(HELD_OUT * count))
    held: list[int] = []
    for number in order:
        own = targets[number] if targets.ndim == 1 else targets[number] > 0
        if np.all(left[own] > 1):
            left[own] -= 1
            held.append(int(number))
        if len(held) == wanted:
            break
    choose = np.array(sorted(held), np.int64)
    return np.setdiff1d(np.arange(count), choose), choose


def held_out_loss(scores: np.ndarray, targets: np.ndarray) -> float:
    """Mean cross-entropy of probabilities (n, classes): what tells equal accuracies apart."""
    scores = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    if targets.ndim == 1:
        return float(-np.log(scores[np.arange(len(targets)), targets]).mean())
    return float(-(targets * np.log(scores) + (1 - targets) * np.log(1 - scores)).mean())


def score_views(
    heads: LinearHeads,
    features: np.ndarray,
    task: Literal["single-label", "multi-label"],
    device: torch.device,
) -> np.ndarray:
    """Probabilities, averaged over views: (n, views, D) to (heads, n, classes)."""
    logits = heads(torch.from_numpy(features).to(device))
    scores = logits.softmax(-1) if task == "single-label" else logits.sigmoid()
    return scores.mean(2).cpu().numpy()
