"""Files that an evaluation leaves."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from smile_motion.io.files import write_atomically

from smile_train.datasets import LabelledVideos
from smile_train.evaluation.metrics import average_precision, confusion, hits, per_class
from smile_train.evaluation.predict import Predictions
from smile_train.evaluation.results import Results

PREDICTIONS = "predictions.npz"
"""File of the scores that results are computed from."""
GRID = "grid.json"
"""File of what was tried, and how the choice was made."""


def write_evaluation(
    out: Path,
    results: Results,
    predictions: Predictions,
    videos: LabelledVideos,
    grid: Mapping[str, Any] | None = None,
) -> None:
    """Write results.json, predictions.npz, classes.json and, of classes, confusion.png.

    Args:
        grid: What was tried, and what the choice was made on, if there was one: grid.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        keys=np.array(predictions.keys),
        scores=predictions.scores,
        targets=predictions.targets,
    )
    write_atomically(out / PREDICTIONS, content.getvalue())
    if videos.task == "single-label":
        counts = confusion(predictions.scores, predictions.targets)
        scores, labels = predictions.scores, predictions.targets
        shares = {
            f"top{k}": per_class(hits(scores, labels, k), labels, scores.shape[1]) for k in (1, 5)
        }
        _write_classes(out, videos, shares, counts.sum(1))
        from smile_train.evaluation.figures.confusion import draw_confusion

        draw_confusion(counts, videos.classes, out / "confusion.png")
    elif videos.task == "multi-label":
        precision = average_precision(predictions.scores, predictions.targets)
        samples = predictions.targets.sum(0).astype(int)
        _write_classes(out, videos, {"average_precision": precision}, samples)
    if grid is not None:
        write_atomically(out / GRID, (json.dumps(grid, indent=2) + "\n").encode())
    results.write(out)


def _write_classes(
    out: Path, videos: LabelledVideos, shares: Mapping[str, np.ndarray], samples: np.ndarray
) -> None:
    content: dict[str, Any] = {"classes": list(videos.classes)}
    for name, values in shares.items():
        content[name] = [None if np.isnan(value) else float(value) for value in values]
    content["samples"] = samples.tolist()
    write_atomically(out / "classes.json", (json.dumps(content, indent=2) + "\n").encode())
