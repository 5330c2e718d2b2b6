"""A picture of which classes are taken for which."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from smile_motion.io.files import encode_json, write_atomically

from smile_train.evaluation.figures.gallery import save_figure, shorten

NAMED = 60
"""Most classes whose names fit beside the picture."""
NUMBERED = 15
"""Most classes whose percentages fit into its cells."""
LISTED = 20
"""Pairs that are listed in the file beside it."""
SHOWN = 12
"""Pairs that are listed in the picture, where names do not fit beside it."""


def draw_confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix, a row for each true class, shares of the row as color.

    Up to `NAMED` classes are named at the axes; of more, the most frequent confusions are named
    below. Colors follow the square root, so that rare confusions are seen.

    Args:
        counts: (classes, classes) int64 as from `metrics.confusion`.
        path: PNG to write; the most frequent confusions are listed in a JSON file beside it.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    pairs = most_confused(counts, classes)
    named = len(classes) <= NAMED
    side = float(np.clip(0.24 * len(classes), 5.5, 14 if named else 9))
    below = 0 if named else 0.2 * min(SHOWN, len(pairs)) + 0.4
    figure = Figure(figsize=(side + 1.5, side + below), layout="constrained")
    if named:
        axes = figure.subplots()
    else:
        axes, text = figure.subplots(2, 1, height_ratios=(side, below))
        text.axis("off")
        text.text(0, 1, _listing(pairs[:SHOWN]), va="top", fontsize=9, linespacing=1.4)
    image = axes.imshow(
        share, cmap="BuPu", norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest"
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    bar.set_ticks([0, 0.05, 0.2, 0.5, 1], labels=["0", "5 %", "20 %", "50 %", "100 %"])
    axes.set(xlabel="predicted", ylabel="true")
    if named:
        names = [shorten(name, 28) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), names, fontsize=8)
    if len(classes) <= NUMBERED:
        for row, column in np.argwhere(counts):
            value = share[row, column]
            axes.text(
                column,
                row,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > 0.35 else "black",
            )
    right = 100 * counts.trace() / max(counts.sum(), 1)
    axes.set_title(
        f"{counts.sum():,} samples, {len(classes)} classes, {right:.1f} % right", fontsize=10
    )
    save_figure(figure, path)
    content = json.dumps(pairs, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path.with_suffix(".json"), encode_json(content))


def _listing(pairs: Sequence[dict[str, Any]]) -> str:
    """Lines for the picture: what is most often taken for what."""
    lines = [
        f"{100 * pair['share']:5.1f} %   {shorten(pair['true'], 52)}  →  "
        f"{shorten(pair['predicted'], 52)}"
        for pair in pairs
    ]
    return "\n".join(["most frequent confusions, share of the true class", *lines])


def most_confused(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """List the most frequent confusions, the largest share of their true class first."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    order = np.argsort(-share, axis=None, kind="stable")[:LISTED]
    rows, columns = np.unravel_index(order, share.shape)
    return [
        {
            "true": classes[row],
            "predicted": classes[column],
            "samples": int(counts[row, column]),
            "share": round(float(share[row, column]), 4),
        }
        for row, column in zip(rows, columns, strict=True)
        if share[row, column] > 0
    ]
