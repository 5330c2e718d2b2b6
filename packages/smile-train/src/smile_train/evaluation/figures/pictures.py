"""What figures of evaluations share: colours, strips of frames, writing whole files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from smile_motion.io.files import replacing
from smile_motion.tokens import TokenGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Of lines; told apart by the colour-blind as well (Okabe and Ito)."""
MARKERS = "osD^vP"
"""On lines; not as many as colours, so that no pair of the two comes again soon."""
SMALLEST_PX = 224
"""Side that clips are enlarged to for showing, at least."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def shorten(name: str, letters: int) -> str:
    """A name of at most so many letters, cut in its middle: ends tell names apart, too."""
    if len(name) <= letters:
        return name
    end = (letters - 1) // 3
    return f"{name[: letters - 1 - end]}…{name[len(name) - end :]}"


def spread_tokens(values: np.ndarray, grid: TokenGrid) -> np.ndarray:
    """Values of tokens, (T', rows, columns, …), for all their pixels, (T, H, W, …)."""
    for axis, factor in enumerate((grid.tubelet, grid.patch, grid.patch)):
        values = values.repeat(factor, axis=axis)
    return values


def side_by_side(*clips: np.ndarray) -> np.ndarray:
    """Put (T, H, W, 3) uint8 clips of one size beside each other, small ones enlarged.

    returns (T, H', W', 3) uint8 with even sides, as video codecs need them.
    """
    zoom = max(1, -(-SMALLEST_PX // clips[0].shape[1]))
    height = clips[0].shape[1] * zoom
    gap = np.full((len(clips[0]), height, 4, 3), 255, np.uint8)
    parts: list[np.ndarray] = []
    for clip in clips:
        parts += [clip.repeat(zoom, axis=1).repeat(zoom, axis=2), gap]
    joined = np.concatenate(parts[:-1], axis=2)
    return joined[:, : joined.shape[1] // 2 * 2, : joined.shape[2] // 2 * 2]
