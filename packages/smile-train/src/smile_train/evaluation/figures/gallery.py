"""Colors, strips of frames and files that all figures share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from smile_motion.io.files import replacing, write_atomically
from smile_motion.video import encode_animation, write_video

if TYPE_CHECKING:
    from matplotlib.figure import Figure


COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Colors of lines that the color-blind tell apart as well (Okabe and Ito)."""
MARKERS = "osD^vP"
"""On lines; not as many as colors, so that no pair of the two comes again soon."""
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


def side_by_side(*clips: np.ndarray) -> np.ndarray:
    """Put (T, H, W, 3) uint8 clips of one size beside each other, small ones enlarged.

    Returns:
        (T, H', W', 3) uint8 with even sides, as video codecs need them.
    """
    zoom = max(1, -(-SMALLEST_PX // clips[0].shape[1]))
    height = clips[0].shape[1] * zoom
    gap = np.full((len(clips[0]), height, 4, 3), 255, np.uint8)
    parts: list[np.ndarray] = []
    for clip in clips:
        parts += [clip.repeat(zoom, axis=1).repeat(zoom, axis=2), gap]
    joined = np.concatenate(parts[:-1], axis=2)
    return joined[:, : joined.shape[1] // 2 * 2, : joined.shape[2] // 2 * 2]


COLUMNS = 6
"""Frames of a clip in a strip."""
ROWS = 8
"""Most clips in a strip; all have a video."""
MovingFormat = Literal["mp4", "webp"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """A clip and its picture."""

    name: str
    """Name of the video."""
    frames: np.ndarray
    """(T, H, W, 3) uint8: the input."""
    painted: np.ndarray
    """(T, H, W, 3) uint8: what is shown beside it."""
    rate_hz: float
    """Frames a second, as in the video."""
    caption: str = ""
    """A few words on the picture."""


@dataclass(kw_only=True)
class Gallery:
    """Exhibits in a folder: each is written as it comes, the first ones are kept for a strip."""

    folder: Path
    """Where the videos go."""
    form: MovingFormat
    """What they are."""
    count: int = 0
    """How many there are."""
    kept: list[Exhibit] = field(default_factory=list)
    """The first ones, `ROWS` at most: as many videos as there are never have to fit in memory."""

    def add(self, exhibit: Exhibit) -> None:
        """Write input and picture beside each other, moving."""
        path = self.folder / f"{exhibit.name}.{self.form}"
        self.folder.mkdir(parents=True, exist_ok=True)
        joined = side_by_side(exhibit.frames, exhibit.painted)
        if self.form == "mp4":
            write_video(path, joined, rate_hz=exhibit.rate_hz)
        else:
            write_atomically(path, encode_animation(joined, rate_hz=exhibit.rate_hz))
        self.count += 1
        if len(self.kept) < ROWS:
            self.kept.append(exhibit)

    def draw_strip(self, path: Path, *, title: str) -> None:
        """Draw some frames of the first clips, and below each their pictures."""
        from matplotlib.figure import Figure

        frames = np.linspace(0, len(self.kept[0].frames) - 1, COLUMNS).round().astype(int)
        height, width = self.kept[0].frames.shape[1:3]
        cell = 1.5
        figure = Figure(
            figsize=(cell * COLUMNS + 0.4, 2 * cell * height / width * len(self.kept) + 0.6),
            layout="constrained",
        )
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr]
        axes = figure.subplots(2 * len(self.kept), COLUMNS, squeeze=False)
        for number, exhibit in enumerate(self.kept):
            for row, clip in enumerate((exhibit.frames, exhibit.painted)):
                line = axes[2 * number + row]
                for cell_axes, t in zip(line, frames, strict=True):
                    cell_axes.imshow(clip[t], interpolation="nearest")
                    cell_axes.set_xticks([])
                    cell_axes.set_yticks([])
                    if number == row == 0:
                        cell_axes.set_title(f"frame {t}", fontsize=9)
                line[0].set_ylabel((shorten(exhibit.name, 20), exhibit.caption)[row], fontsize=8)
        left = self.count - len(self.kept)
        more = f"; {left} more in the videos" if left else ""
        figure.suptitle(f"{title}{more}", fontsize=9)
        save_figure(figure, path)
