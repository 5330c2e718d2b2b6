"""Clips beside what an encoder makes of them: a video of each, and a strip of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from smile_motion.files import write_atomically
from smile_motion.video import encode_animation, write_video

from smile_train.evaluate.pictures import save_figure, side_by_side

COLUMNS = 6
"""Frames of a clip in a strip."""
ROWS = 8
"""Most clips in a strip; all have a video."""
MovingFormat = Literal["mp4", "webp"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """A clip and its picture."""

    name: str
    """Of the video."""
    frames: np.ndarray
    """(T, H, W, 3) uint8: the input."""
    painted: np.ndarray
    """(T, H, W, 3) uint8: what is shown beside it."""
    rate_hz: float
    """Frames a second, as in the video."""
    caption: str = ""
    """A few words on the picture."""

    def write(self, folder: Path, form: MovingFormat) -> Path:
        """Write input and picture beside each other, moving."""
        path = folder / f"{self.name}.{form}"
        folder.mkdir(parents=True, exist_ok=True)
        joined = side_by_side(self.frames, self.painted)
        if form == "mp4":
            write_video(path, joined, rate_hz=self.rate_hz)
        else:
            write_atomically(path, encode_animation(joined, rate_hz=self.rate_hz))
        return path


def draw_strip(exhibits: Sequence[Exhibit], path: Path, *, title: str) -> None:
    """Draw some frames of each clip, and below them their pictures."""
    from matplotlib.figure import Figure

    shown = exhibits[:ROWS]
    frames = np.linspace(0, len(shown[0].frames) - 1, COLUMNS).round().astype(int)
    height, width = shown[0].frames.shape[1:3]
    cell = 1.5
    figure = Figure(
        figsize=(cell * COLUMNS + 0.4, 2 * cell * height / width * len(shown) + 0.6),
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr]
    axes = figure.subplots(2 * len(shown), COLUMNS, squeeze=False)
    for number, exhibit in enumerate(shown):
        for row, clip in enumerate((exhibit.frames, exhibit.painted)):
            line = axes[2 * number + row]
            for cell_axes, t in zip(line, frames, strict=True):
                cell_axes.imshow(clip[t], interpolation="nearest")
                cell_axes.set_xticks([])
                cell_axes.set_yticks([])
                if number == row == 0:
                    cell_axes.set_title(f"frame {t}", fontsize=9)
            line[0].set_ylabel((exhibit.name[:20], exhibit.caption)[row], fontsize=8)
    left = len(exhibits) - len(shown)
    more = f"; {left} more in the videos" if left else ""
    figure.suptitle(f"{title}{more}", fontsize=9)
    save_figure(figure, path)
