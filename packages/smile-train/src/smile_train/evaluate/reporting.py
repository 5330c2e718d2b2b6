"""The files that an evaluation leaves."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from smile_motion.files import write_atomically

from smile_train.datasets import LabelledVideos
from smile_train.evaluate.metrics import average_precision, confusion, per_class_top1
from smile_train.evaluate.results import Results
from smile_train.evaluate.testing import Predictions

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

    grid  what was tried, and what the choice was made on, if there was one: grid.json.
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
        _write_classes(out, videos, "top1", per_class_top1(counts), counts.sum(1))
        from smile_train.evaluate.confusion import draw_confusion

        draw_confusion(counts, videos.classes, out / "confusion.png")
    elif videos.task == "multi-label":
        precision = average_precision(predictions.scores, predictions.targets)
        _write_classes(
            out, videos, "average_precision", precision, predictions.targets.sum(0).astype(int)
        )
    if grid is not None:
        write_atomically(out / GRID, (json.dumps(grid, indent=2) + "\n").encode())
    results.write(out)


def _write_classes(
    out: Path, videos: LabelledVideos, name: str, values: np.ndarray, samples: np.ndarray
) -> None:
    content = {
        "classes": list(videos.classes),
        name: [None if np.isnan(value) else float(value) for value in values],
        "samples": samples.tolist(),
    }
    write_atomically(out / "classes.json", (json.dumps(content, indent=2) + "\n").encode())
