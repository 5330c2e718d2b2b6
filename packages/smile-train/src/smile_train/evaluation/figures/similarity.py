"""How features change over a clip: similarity of frames' mean features (SMILE, Figure 4).

    features of a clip          (T', D)      mean over the tokens of each time slice
    matrix                      (T', T')     cosine of every two slices
    curve                       (T',)        its first row: every slice with the first one

A curve near 1 throughout says that an encoder hardly sees what changes from frame to frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from smile_motion.errors import InputError
from smile_motion.io.files import encode_json, write_atomically

from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.evaluation.figures.clips import ShownClip
from smile_train.evaluation.figures.gallery import COLORS, MARKERS, save_figure, shorten

PUBLISHED = {"second": 0.66, "last": 0.47}
"""SMILE, Figure 4: from where to where the curve falls on the paper's videos."""
ACROSS = 4
"""Matrices in a row of the picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity:
    """Frame similarities of one encoder."""

    name: str
    """What the encoder is called in the figure."""
    matrices: np.ndarray
    """(videos, T', T') float64 cosines."""
    starts: tuple[int, ...]
    """(T',) first clip frame of each slice."""

    @property
    def matrix(self) -> np.ndarray:
        """(T', T'): mean over videos."""
        return self.matrices.mean(0)

    @property
    def curve(self) -> np.ndarray:
        """(T',): similarity to the first slice, mean over videos."""
        return self.matrices[:, 0].mean(0)

    @property
    def spread(self) -> np.ndarray:
        """(T',): its standard deviation over videos."""
        return self.matrices[:, 0].std(0)

    @property
    def metrics(self) -> dict[str, float]:
        """`second` and `last` of the curve; `mean` over all pairs of different slices."""
        different = ~np.eye(len(self.starts), dtype=bool)
        return {
            "second": float(self.curve[1]),
            "last": float(self.curve[-1]),
            "mean": float(self.matrix[different].mean()),
        }


def frame_similarity(features: np.ndarray) -> np.ndarray:
    """Cosine of every two frames' features.

    Args:
        features: (T', D) float; none all zero.

    Returns:
        (T', T') float64, ones on the diagonal.
    """
    rows = features.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.clip(rows @ rows.T, -1, 1)


def measure_similarity(
    encoder: VideoEncoder, clips: Iterable[ShownClip], *, name: str
) -> Similarity:
    """Encode clips and compare their frames.

    Raises:
        InputError: The encoder's clips are a single slice long.
    """
    grid = encoder.grid
    if grid.slices < 2:
        raise InputError(f"{name}: its clips have one time slice; there is nothing to compare")
    device = next(encoder.parameters()).device
    matrices = []
    for clip in clips:
        video = torch.from_numpy(clip.frames)[None].to(device)
        matrices.append(frame_similarity(encoder.frame_features(video)[0].float().cpu().numpy()))
    return Similarity(
        name=name,
        matrices=np.stack(matrices),
        starts=tuple(range(0, grid.frames, grid.tubelet)),
    )


def draw_similarity(found: Sequence[Similarity], path: Path) -> None:
    """Draw the curves with their spread over videos, and a matrix for each encoder.

    One encoder's matrix is beside its curve; those of several are below, `ACROSS` in a row.
    """
    from matplotlib.figure import Figure

    columns = min(ACROSS, len(found))
    rows = -(-len(found) // columns)
    if len(found) == 1:
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        parts = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.6, 1))
    else:
        figure = Figure(figsize=(max(6.4, 2.5 * columns), 3.4 + 2.6 * rows), layout="constrained")
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.4, 2.6 * rows))
    above, below = parts.flat
    axes = above.subplots()
    for entry, color, marker in zip(found, cycle(COLORS), cycle(MARKERS), strict=False):
        low, high = entry.curve - entry.spread, entry.curve + entry.spread
        axes.fill_between(entry.starts, low, np.minimum(high, 1), color=color, alpha=0.15, lw=0)
        label = shorten(entry.name, 70)
        axes.plot(entry.starts, entry.curve, color=color, marker=marker, ms=4, label=label)
    videos = len(found[0].matrices)
    title = f"mean and standard deviation over {videos} videos" if videos > 1 else "of one video"
    axes.set_title(title, fontsize=10)
    axes.set(xlabel="frame of the clip", ylabel="cosine similarity to the first frame")
    axes.set_ylim(min(0.9, axes.get_ylim()[0]), 1.005)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    cells = below.subplots(rows, columns, squeeze=False).flat
    lowest = min(float(entry.matrix.min()) for entry in found)
    shown = None
    for entry, cell in zip(found, cells, strict=False):
        shown = cell.imshow(entry.matrix, vmin=lowest, vmax=1, cmap="viridis")
        every = max(1, len(entry.starts) // 4)
        ticks = range(0, len(entry.starts), every)
        cell.set_xticks(ticks, entry.starts[::every], fontsize=8)
        cell.set_yticks(ticks, entry.starts[::every], fontsize=8)
        cell.set_title(shorten(entry.name, 24), fontsize=9)
    for cell in list(cells)[len(found) :]:
        cell.axis("off")
    assert shown is not None
    below.colorbar(shown, ax=below.axes, label="cosine similarity")
    save_figure(figure, path)


def write_similarity(
    path: Path, found: Sequence[Similarity], origins: Sequence[dict[str, str]], videos: list[str]
) -> None:
    """Write the numbers behind the figure: means over the videos, and `curves`, one a video.

    Args:
        origins: `source` and `sha256` of each encoder.
    """
    content = {
        "encoders": [
            {
                "name": entry.name,
                **origin,
                "frames": list(entry.starts),
                "curve": entry.curve.round(6).tolist(),
                "spread": entry.spread.round(6).tolist(),
                "matrix": entry.matrix.round(6).tolist(),
                "curves": entry.matrices[:, 0].round(6).tolist(),
                **entry.metrics,
            }
            for entry, origin in zip(found, origins, strict=True)
        ],
        "videos": videos,
        "published": {"SMILE, Figure 4": PUBLISHED},
    }
    write_atomically(path, encode_json(json.dumps(content, indent=1, ensure_ascii=False) + "\n"))
