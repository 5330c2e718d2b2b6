"""Pictures of a run: its loss curve, and what the student makes of masked clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from smile_motion.errors import InputError
from smile_motion.io.files import replacing
from smile_motion.tokens import TokenGrid

from smile_train.evaluation.figures.pca import Components, paint_components
from smile_train.training.losses import pixel_targets, restore_pixels

COLUMNS = 6
"""Frames of a clip that are shown at most."""
CELL, GAP = 180, 6
"""Width that a frame is enlarged to at most, unless it is wider, and room between two, pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """A clip with what the student saw of it and what it predicted."""

    frames: torch.Tensor
    """(T, H, W, 3) uint8: the input."""
    masked: torch.Tensor
    """(Nm,) int64 token numbers."""
    predicted: torch.Tensor
    """(Nm, D) float: predicted targets."""
    features: torch.Tensor | None
    """(N, D) float: the teacher's tokens; none where the target is normalized pixels."""


ACCURACIES = {
    "linear_accuracy": ("linear probe", "#1f5f99"),
    "knn_accuracy": ("nearest neighbors", "#c77d2e"),
}
"""Measures of labeled videos that are drawn below the loss, with names and colors."""


def draw_curves(
    path: Path, history: list[dict[str, float]], measures: Mapping[int, Mapping[str, float]]
) -> None:
    """Plot loss and learning rate over steps, and below them what is known of labeled videos.

    Args:
        history: Records with `step`, `loss` and `lr`.
        measures: What was measured now and then, by step; without `ACCURACIES` the loss is alone.
    """
    curves = {
        name: [(step, values[name]) for step, values in sorted(measures.items()) if name in values]
        for name in ACCURACIES
    }
    measured = any(curves.values())
    figure = Figure(figsize=(7, 5.6 if measured else 3.6))
    if measured:
        axes, below = figure.subplots(2, sharex=True, height_ratios=[2, 1])
        for name, points in curves.items():
            if points:
                label, color = ACCURACIES[name]
                steps, values = zip(*points, strict=True)
                below.plot(steps, values, "o-", color=color, markersize=3, label=label)
        below.set_ylim(0, 1.05)
        below.set_ylabel("share right")
        below.grid(alpha=0.3)
        below.legend(frameon=False)
    else:
        axes = below = figure.subplots()
    steps = [record["step"] for record in history]
    losses = np.array([record["loss"] for record in history])
    axes.plot(steps, losses, color="#9ec5e8", linewidth=1, label="loss")
    window = max(1, len(losses) // 25)
    if window > 1:
        weights = np.ones(window) / window
        smooth = np.convolve(losses, weights, mode="valid")
        axes.plot(steps[window - 1 :], smooth, color="#1f5f99", linewidth=2, label="mean")
    below.set_xlabel("step")
    axes.set_ylabel("mean squared error, masked tokens")
    axes.grid(alpha=0.3)
    rate = axes.twinx()
    rate.plot(steps, [r["lr"] for r in history], color="#c77d2e", linewidth=1, linestyle="--")
    rate.set_ylabel("learning rate", color="#c77d2e")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.legend(loc="upper right", frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")


def draw_reconstructions(path: Path, clips: list[Reconstruction], grid: TokenGrid) -> None:
    """Show input, what was visible, and the reconstruction, for some frames of each clip.

    Normalized pixels are shown with each token's true mean and contrast, features by the three
    principal components of the teacher's tokens. Cells are pasted, each pixel as a whole number of
    the picture's: axes of Matplotlib for each take seconds.
    """
    pixels = clips[0].features is None
    frames = np.unique(np.linspace(0, grid.frames - 1, COLUMNS).astype(int))
    labels = ["input", "visible", *(["reconstruction"] if pixels else ["target", "prediction"])]
    enlarged = max(1, CELL // grid.width)
    width, height = (side * enlarged + GAP for side in (grid.width, grid.height))
    left, top = 120, 28
    shown = [row for clip in clips for row in _rows(clip, grid)]
    size = (left + len(frames) * width + GAP, top + len(shown) * height + 32)
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for column, t in enumerate(frames):
        middle = left + column * width + width // 2
        draw.text((middle, top // 2), f"frame {t}", "black", font, anchor="mm")
    for number, row in enumerate(shown):
        y = top + number * height
        label = labels[number % len(labels)]
        draw.text((left - 10, y + height // 2), label, "black", font, anchor="rm")
        for column, t in enumerate(frames):
            cell = row[t].repeat(enlarged, axis=0).repeat(enlarged, axis=1)
            picture.paste(Image.fromarray(cell), (left + column * width, y))
    said = (
        "masked tokens are predicted; each shown with its true mean and contrast"
        if pixels
        else "teacher features by their principal components; predicted where masked"
    )
    draw.text((left, size[1] - 16), said, "black", font, anchor="lm")
    with replacing(path) as temporary:
        picture.save(temporary, format="png")


def _rows(clip: Reconstruction, grid: TokenGrid) -> list[np.ndarray]:
    """(T, H, W, 3) uint8 pictures of one clip."""
    seen = torch.ones(grid.tokens, dtype=torch.bool)
    seen[clip.masked] = False
    shown = grid.upsample(seen.view(grid.shape).numpy())
    whole = clip.frames.numpy()
    visible = np.where(shown[..., None], whole, np.uint8(128))
    if clip.features is None:
        tokens = pixel_targets(clip.frames[None], grid)[0]
        tokens[clip.masked] = clip.predicted
        rebuilt = restore_pixels(tokens[None], clip.frames[None], grid)[0].numpy()
        return [whole, visible, np.rint(np.clip(rebuilt, 0, 1) * 255).astype(np.uint8)]
    predicted = clip.features.clone()
    predicted[clip.masked] = clip.predicted
    return [whole, visible, *_principal(clip.features, predicted, grid)]


def _principal(target: torch.Tensor, predicted: torch.Tensor, grid: TokenGrid) -> list[np.ndarray]:
    """Both by the principal components of the target; black where all its tokens are equal."""
    try:
        components = Components.fit([target.numpy()])
    except InputError:
        return 2 * [np.zeros((grid.frames, grid.height, grid.width, 3), np.uint8)]
    return [paint_components(own.numpy(), components, grid) for own in (target, predicted)]
