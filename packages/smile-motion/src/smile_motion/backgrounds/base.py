"""The interface of backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class BackgroundClip:
    """A background, cut to size."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB; writable."""
    origin: dict[str, Any]
    """Where it comes from, as JSON values, exactly enough for `redraw`."""


class Background(Protocol):
    """A collection of backgrounds. `len` counts its files; 0 means it is endless."""

    @property
    def is_static(self) -> bool:
        """Whether one image is repeated in all frames."""
        ...

    def __len__(self) -> int:
        """Count the files."""
        ...

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Cut one background.

        Args:
            rng: Generator of `Stream.BACKGROUND` for this clip: chooses the start and the crop.
            index: Selects the file, counted round.
            frames: Number of frames T; size (height, width), pixels.
            out: (T, H, W, 3) uint8 to draw into; new frames by default.

        Raises:
            InputError: The file cannot be read or is too short.
        """
        ...
