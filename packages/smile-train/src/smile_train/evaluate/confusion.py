"""A picture of which classes are taken for which."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from smile_motion.bank.layout import write_atomically

NAMED = 60
"""Most classes whose names fit beside the picture."""
LISTED = 20
"""Pairs that are listed in the file beside it."""


def draw_confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix, a row for each true class, shares of the row as colour.

    counts   (classes, classes) int64 as from `metrics.confusion`.
    path     of the PNG; the most frequent confusions are listed in a JSON file beside it.
    """
    from matplotlib.figure import Figure

    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(4.5, 0.24 * len(classes)), 16)
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= NAMED:
        names = [name if len(name) <= 28 else f"{name[:27]}…" for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(classes)), names, fontsize=7)
    right = 100 * counts.trace() / max(counts.sum(), 1)
    axes.set_title(f"{counts.sum()} samples, {right:.1f} % right", fontsize=10)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=110)
    temporary.replace(path)
    write_atomically(
        path.with_suffix(".json"),
        (json.dumps(most_confused(counts, classes), indent=2, ensure_ascii=False) + "\n").encode(),
    )


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
