"""Interface of backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class BackgroundClip:
    """A drawn background."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB; writable."""
    origin: dict[str, Any]
    """Origin of the frames, as JSON values from which `redraw` renders them again."""


class Background(Protocol):
    """A collection of backgrounds. `len` is the number of its files; 0 if it needs none."""

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
        """Draw one background.

        Args:
            rng: Generator of `Stream.BACKGROUND` for this clip, for the start and the crop.
            index: Number of the file, modulo the number of files.
            frames: Number of frames T.
            size: (height, width), pixels.
            out: (T, H, W, 3) uint8 array to draw into; new frames by default.

        Raises:
            InputError: The file cannot be read or is too short.
        """
        ...
