"""The grid of space-time tokens that a video transformer sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smile_motion.errors import InputError

if TYPE_CHECKING:
    import numpy as np

MOST_TOKENS = 1 << 20
"""Largest number of tokens of a clip; hundreds of times that of any model. Ours."""


@dataclass(frozen=True, kw_only=True)
class TokenGrid:
    """Grid of space-time tokens of a clip (`tubelet` frames by `patch` x `patch` pixels).

    Tokens are numbered time-major: `index = t * rows * columns + row * columns + column`.
    The defaults are the paper's: 16 x 224 x 224 pixels -> 8 x 14 x 14 = 1568 tokens.
    """

    frames: int = 16
    """Frames in a clip; a multiple of `tubelet`."""
    height: int = 224
    """Frame height, pixels; a multiple of `patch`."""
    width: int = 224
    """Frame width, pixels; a multiple of `patch`."""
    tubelet: int = 2
    """Frames in a token."""
    patch: int = 16
    """Side of a token, pixels."""

    def __post_init__(self) -> None:
        for name, value, unit in (
            ("frames", self.frames, self.tubelet),
            ("height", self.height, self.patch),
            ("width", self.width, self.patch),
        ):
            if unit < 1 or value < unit or value % unit:
                near = max(unit, round(value / unit) * unit) if unit > 0 else value
                raise InputError(
                    f"{name} {value} is not a positive multiple of {unit}, the token size; "
                    f"use {near} for example"
                )
        if self.tokens > MOST_TOKENS:
            raise InputError(
                f"{self.frames} frames of {self.height} x {self.width} px are {self.tokens} tokens "
                f"of {self.tubelet} x {self.patch} x {self.patch}; at most {MOST_TOKENS} are made"
            )

    @property
    def slices(self) -> int:
        """Tokens along time."""
        return self.frames // self.tubelet

    @property
    def rows(self) -> int:
        """Tokens along the height."""
        return self.height // self.patch

    @property
    def columns(self) -> int:
        """Tokens along the width."""
        return self.width // self.patch

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        return self.slices, self.rows, self.columns

    @property
    def slice_tokens(self) -> int:
        """Tokens in one time slice."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """Tokens in the clip."""
        return self.slices * self.slice_tokens

    @property
    def token_pixels(self) -> int:
        """Pixels in one token, over all its frames."""
        return self.tubelet * self.patch * self.patch

    def upsample(self, values: np.ndarray) -> np.ndarray:
        """Repeat the value of each token over all of its pixels.

        Args:
            values: (slices, rows, columns, ...), of any type.

        Returns:
            (frames, height, width, ...) of the same type.
        """
        for axis, factor in enumerate((self.tubelet, self.patch, self.patch)):
            values = values.repeat(factor, axis=axis)
        return values


def masked_tokens(grid: TokenGrid, ratio: float) -> int:
    """Count the tokens masked in a clip: `int(ratio * slice_tokens)` in every slice (VideoMAE).

    Args:
        grid: Token grid of the clip.
        ratio: Share of the tokens to mask, between 0 and 1.

    Raises:
        InputError: The ratio would mask no token, or all of them.
    """
    each = int(ratio * grid.slice_tokens)
    if not 0 < each < grid.slice_tokens:
        raise InputError(
            f"mask ratio {ratio} masks {each} of the {grid.slice_tokens} tokens of a slice; "
            f"give a ratio between 0 and 1 that leaves some of both, such as 0.8"
        )
    return each * grid.slices
