"""Parameter groups and learning-rate schedules."""

import numpy as np
from torch import nn


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to vectors, biases, positions or the mask token."""
    return parameter.ndim > 1 and not name.endswith((".bias", "mask_token", "positions"))


def parameter_groups(
    model: nn.Module, weight_decay: float, scales: dict[str, float] | None = None
) -> list[dict]:
    """Group parameters by weight decay and, with `scales`, by learning-rate scale.

    Args:
        scales: Factor on the learning rate of each parameter, by name; see `layer_scales`.

    Returns:
        Groups for an optimizer; each has `lr_scale` besides `params` and `weight_decay`.
    """
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = weight_decay if decays(name, parameter) else 0.0
        scale = scales[name] if scales else 1.0
        group = groups.setdefault(
            (decay, scale), {"params": [], "weight_decay": decay, "lr_scale": scale}
        )
        group["params"].append(parameter)
    return list(groups.values())


def layer_scales(model: nn.Module, depth: int, decay: float) -> dict[str, float]:
    """Learning-rate factors of a classifier: `decay` to the power of layers above (BEiT, VideoMAE).

    Args:
        depth: Number of blocks; the head has factor 1, the patch embedding decay ** (depth + 1).
    """

    def layer(name: str) -> int:
        if name.startswith("patch_embed"):
            return 0
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return depth + 1

    return {name: decay ** (depth + 1 - layer(name)) for name, _ in model.named_parameters()}


def warmup_cosine(
    base: float, final: float, steps: int, warmup_steps: int, start: float = 0.0
) -> np.ndarray:
    """Learning rate of every step: linear warm-up, then half a cosine.

    Returns:
        (steps,) float64: from `start` towards `base` over `warmup_steps`, then from `base` down
        towards `final`, which the step after the last would reach.
    """
    warmup_steps = min(warmup_steps, steps)
    rising = np.linspace(start, base, warmup_steps)
    left = steps - warmup_steps
    falling = final + 0.5 * (base - final) * (1 + np.cos(np.pi * np.arange(left) / max(left, 1)))
    return np.concatenate([rising, falling])
