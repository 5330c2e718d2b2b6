"""Which tokens the student sees: tube masking and trajectory masking, always of one exact size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid


@dataclass(frozen=True, eq=False)
class TokenMask:
    """A clip's tokens, parted."""

    visible: np.ndarray
    """(Nv,) int64, ascending: what the encoder gets."""
    masked: np.ndarray
    """(Nm,) int64, ascending: what is reconstructed."""


def masked_tokens(grid: TokenGrid, ratio: float) -> int:
    """Tokens masked in a clip: `int(ratio * tokens of a slice)` for every slice (VideoMAE).

    Raises InputError when nothing, or everything, would be masked.
    """
    each = int(ratio * grid.slice_tokens)
    if not 0 < each < grid.slice_tokens:
        raise InputError(
            f"mask ratio {ratio} masks {each} of the {grid.slice_tokens} tokens of a slice; "
            f"give a ratio between 0 and 1 that leaves some of both, such as 0.8"
        )
    return each * grid.slices


def mask_tube(rng: np.random.Generator, grid: TokenGrid, ratio: float) -> TokenMask:
    """Mask the same random positions in every time slice (VideoMAE)."""
    each = masked_tokens(grid, ratio) // grid.slices
    hidden = np.zeros((grid.slices, grid.slice_tokens), bool)
    hidden[:, rng.permutation(grid.slice_tokens)[:each]] = True
    return _parted(hidden)


def mask_trajectory(
    rng: np.random.Generator,
    grid: TokenGrid,
    ratio: float,
    coverage: np.ndarray,
    *,
    threshold: float = 0.0,
    visible_share: float | None = None,
) -> TokenMask:
    """Mask along the objects' trajectories first, the rest in tubes (SMILE, section 3.3).

    coverage       (K, slices, rows, columns) share of each token that each object covers;
                   `Truth.token_coverage`.
    threshold      a token is on a trajectory when the objects cover more than this share of it.
    visible_share  share of trajectory tokens left visible; 1 - ratio by default (paper).

    A random share of the trajectories' tokens is masked; then positions in random order are masked
    in every slice where no trajectory passes, the last one in as many slices as the exact total
    leaves. The total is that of `mask_tube`; where trajectories are too large or too small for it,
    their own share gives way.
    """
    from smile_motion._masks import draw_trajectory_mask

    hidden = np.empty((grid.slices, grid.slice_tokens), bool)
    draw_trajectory_mask(
        np.ascontiguousarray(coverage, np.float32).reshape(-1, *hidden.shape),
        threshold,
        masked_tokens(grid, ratio),
        ratio if visible_share is None else 1 - visible_share,
        rng.random(hidden.size + grid.slice_tokens + grid.slices),
        hidden,
    )
    return _parted(hidden)


def _parted(hidden: np.ndarray) -> TokenMask:
    flat = hidden.reshape(-1)
    return TokenMask(np.flatnonzero(~flat), np.flatnonzero(flat))
