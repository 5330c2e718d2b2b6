"""Linear classifiers on cached features, a grid of learning rates at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from smile_train.training.optim import warmup_cosine

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Learning rates for a batch of 256. Ours."""
HELD_OUT = 0.1
"""Share of the training samples that the rate is chosen by; all are used for the last training."""


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
    rates: Sequence[float],
    epochs: int,
    batch: int,
    weight_decay: float,
    seed: int,
    device: torch.device,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LinearHeads:
    """Train a linear classifier for every learning rate, on the same batches.

    features  (n, D) float32, standardised inside by their own mean and deviation.
    targets   (n,) int64, or (n, classes) float32 of 0 and 1.
    rates     for a batch of 256; with AdamW, one epoch of warm-up and half a cosine.
    returns   the heads, in the order of the rates, on the device.
    """
    inputs = torch.from_numpy(features).to(device)
    wanted = torch.from_numpy(targets).to(device)
    standard = Standard.of(inputs)
    inputs = standard(inputs)
    weights = [torch.zeros(classes, inputs.shape[1], device=device) for _ in rates]
    biases = [torch.zeros(classes, device=device) for _ in rates]
    parameters = [tensor.requires_grad_() for tensor in (*weights, *biases)]
    optimiser = torch.optim.AdamW(
        [
            {"params": [weight], "weight_decay": weight_decay, "rate": rate}
            for weight, rate in zip(weights, rates, strict=True)
        ]
        + [
            {"params": [bias], "weight_decay": 0.0, "rate": rate}
            for bias, rate in zip(biases, rates, strict=True)
        ],
        foreach=True,
    )
    batch = min(batch, len(inputs))
    steps_each = len(inputs) // batch
    schedule = warmup_cosine(batch / 256, 0.0, epochs * steps_each, steps_each)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        order = torch.randperm(len(inputs), generator=generator).to(device)
        for step in range(steps_each):
            chosen = order[step * batch : (step + 1) * batch]
            for group in optimiser.param_groups:
                group["lr"] = float(schedule[epoch * steps_each + step]) * group["rate"]
            scores = F.linear(inputs[chosen], torch.cat(weights), torch.cat(biases))
            # The sum over heads: none feels the others.
            loss = linear_loss(scores.unflatten(1, (len(rates), classes)), wanted[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        on_progress(epoch + 1, epochs)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return LinearHeads(standard=standard, weight=torch.stack(weights), bias=torch.stack(biases))


def linear_loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean over samples, summed over heads: (n, heads, classes) against labels or marks."""
    heads = scores.shape[1]
    if wanted.ndim == 1:
        labels = wanted.repeat_interleave(heads)
        return heads * F.cross_entropy(scores.flatten(0, 1), labels)
    marks = wanted[:, None].expand_as(scores)
    return heads * F.binary_cross_entropy_with_logits(scores, marks)


def hold_out(targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split samples into those learned from and those chosen by, the same share of each class.

    targets  (n,) int64, or (n, classes) float32 of 0 and 1.
    returns  numbers of both. A class's last sample is never held out, so that there are fewer to
             choose by, or none, where classes have one sample each.
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
