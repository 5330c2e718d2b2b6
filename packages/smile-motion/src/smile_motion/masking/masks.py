"""Token masks of a fixed size: tube, trajectory, random, official, motion bins.

Each function takes the generator of one clip, or a sequence of generators for a batch; the mask of
a clip is the same alone and in any batch. Choices follow random keys, the smallest first (see
`draw_keys`). `grid` is the clip's token grid, `ratio` the share of its tokens to mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid, masked_tokens

if TYPE_CHECKING:
    from smile_motion.motion.plan import MotionPlan

MaskingName = Literal["tube", "trajectory", "random", "official", "motion-bins"]
Generators = np.random.Generator | Sequence[np.random.Generator]


@dataclass(frozen=True, eq=False)
class TokenMask:
    """Visible and masked tokens of one clip, or of B clips."""

    visible: np.ndarray
    """(Nv,) or (B, Nv) int64, ascending: input of the encoder."""
    masked: np.ndarray
    """(Nm,) or (B, Nm) int64, ascending: tokens to reconstruct."""


def draw_keys(rng: Generators, grid: TokenGrid) -> np.ndarray:
    """Draw the random keys of a mask.

    Returns:
        (B, tokens + positions + slices) float64 in 0..1: a key for each token, for each position in
        a slice, and for each slice; B is 1 for a single generator.
    """
    length = grid.slices * grid.slice_tokens + grid.slice_tokens + grid.slices
    if isinstance(rng, np.random.Generator):
        return rng.random((1, length))
    keys = np.empty((len(rng), length))
    for row, generator in zip(keys, rng, strict=True):
        generator.random(out=row)
    return keys


def mask_random(rng: Generators, grid: TokenGrid, ratio: float) -> TokenMask:
    """Mask tokens at random, over all slices together (MAE).

    Raises:
        InputError: The ratio would mask no token of a slice, or all.
    """
    from smile_motion.masking._kernels import hide_random

    hidden = _hidden(rng, grid)
    hide_random(draw_keys(rng, grid), masked_tokens(grid, ratio), hidden)
    return _split_tokens(rng, hidden, masked_tokens(grid, ratio))


def mask_tube(rng: Generators, grid: TokenGrid, ratio: float) -> TokenMask:
    """Mask the same random positions in every time slice (VideoMAE).

    Raises:
        InputError: The ratio would mask no token of a slice, or all.
    """
    from smile_motion.masking._kernels import hide_tubes

    total, hidden = masked_tokens(grid, ratio), _hidden(rng, grid)
    hide_tubes(draw_keys(rng, grid), total // grid.slices, hidden)
    return _split_tokens(rng, hidden, total)


def mask_motion_bins(
    rng: Generators, grid: TokenGrid, ratio: float, motion: np.ndarray, *, share: float = 0.5
) -> TokenMask:
    """Mask the same positions in every slice; half of the visible ones have motion (TrackMAE).

    Positions are ranked by their mean displacement and split into halves. A share of the visible
    positions is drawn from the moving half, the rest from the other one.

    Args:
        rng: Generator of the clip, or those of a batch.
        grid: Token grid of the clips.
        ratio: Share of the tokens to mask.
        motion: (positions,), or (B, positions) for a batch: mean displacement at each position, in
            any unit; `TokenMotion.by_position`.
        share: Share of the visible positions from the moving half. TrackMAE: 0.5.

    Raises:
        InputError: A share is out of range, or `motion` has another shape or non-finite values.
    """
    from smile_motion.masking._kernels import hide_motion_bins

    total, hidden = masked_tokens(grid, ratio), _hidden(rng, grid)
    if not 0 <= share <= 1:
        raise InputError(f"share is {share}; give 0 to 1")
    batched = np.ascontiguousarray(motion if motion.ndim == 2 else motion[None], np.float64)
    if batched.shape != (len(hidden), grid.slice_tokens) or not np.isfinite(batched).all():
        raise InputError(
            f"motion has shape {motion.shape}; {len(hidden)} clips need {grid.slice_tokens} finite "
            f"numbers each, one a position"
        )
    hide_motion_bins(batched, draw_keys(rng, grid), total // grid.slices, share, hidden)
    return _split_tokens(rng, hidden, total)


def mask_trajectory(
    rng: Generators,
    grid: TokenGrid,
    ratio: float,
    coverage: np.ndarray,
    *,
    threshold: float = 0.0,
    visible_share: float | None = None,
) -> TokenMask:
    """Mask along the objects' trajectories first, the rest in tubes (SMILE, section 3.3).

    A random share of the trajectories' tokens is masked; then positions in random order are masked
    in all slices in which no trajectory passes, the last position in as many slices as the total
    requires. The total is that of `mask_tube`; if trajectories are too large or too small for it,
    the share of their tokens is adapted.

    Args:
        rng: Generator of the clip, or those of a batch.
        grid: Token grid of the clips.
        ratio: Share of the tokens to mask.
        coverage: (K, slices, rows, columns), or (B, K, ...) for a batch: share of each token that
            each object covers; `Truth.token_coverage`.
        threshold: A token is on a trajectory when the objects cover more than this share of it.
        visible_share: Share of trajectory tokens left visible; 1 - ratio by default (paper).

    Raises:
        InputError: A share is out of range, or `coverage` has another shape.
    """
    from smile_motion.masking._kernels import hide_trajectories

    total, hidden = masked_tokens(grid, ratio), _hidden(rng, grid)
    if not (0 <= threshold < 1 and (visible_share is None or 0 <= visible_share <= 1)):
        raise InputError(
            f"threshold {threshold} and visible_share {visible_share} are shares; give 0 to 1"
        )
    batched = coverage if coverage.ndim == 5 else coverage[None]
    if batched.shape[0] != len(hidden) or batched.shape[2:] != grid.shape:
        raise InputError(
            f"coverage has shape {coverage.shape}; {len(hidden)} clips of {grid.shape} tokens "
            f"need (objects, {', '.join(map(str, grid.shape))}) each"
        )
    hide_trajectories(
        np.ascontiguousarray(batched, np.float32).reshape(
            len(hidden), batched.shape[1], *hidden.shape[1:]
        ),
        draw_keys(rng, grid),
        threshold,
        total,
        ratio if visible_share is None else 1 - visible_share,
        hidden,
    )
    return _split_tokens(rng, hidden, total)


def mask_official(
    rng: Generators,
    grid: TokenGrid,
    ratio: float,
    plans: MotionPlan | Sequence[MotionPlan],
    *,
    visible_share: float = 0.1,
) -> TokenMask:
    """Mask as the published code does: boxes instead of silhouettes, incomplete tubes.

    Tubes are drawn first; then the tokens in the objects' upright boxes, enlarged by one token to
    the right and below, are drawn again; then random tokens elsewhere are flipped until the total
    is that of `mask_tube`. Boxes ignore the rotation of objects.

    Args:
        rng: Generator of the clip, or those of a batch.
        grid: Token grid of the clips.
        ratio: Share of the tokens to mask.
        plans: Motion plan of the clip, or those of a batch.
        visible_share: Share of box tokens left visible; 0.1 in the published code.

    Raises:
        InputError: A share is out of range.
    """
    from smile_motion.masking._kernels import hide_official, mark_boxes

    total, hidden = masked_tokens(grid, ratio), _hidden(rng, grid)
    if not 0 <= visible_share <= 1:
        raise InputError(f"visible_share is {visible_share}; give 0 to 1")
    marked = np.zeros((len(hidden), *grid.shape), bool)
    for plan, mark in zip(plans if isinstance(plans, Sequence) else [plans], marked, strict=True):
        side = plan.base_size[:, None] * plan.scale
        mark_boxes(plan.centre, side, grid.tubelet, grid.patch, mark)
    hide_official(
        marked.reshape(hidden.shape),
        draw_keys(rng, grid),
        total // grid.slices,
        visible_share,
        hidden,
    )
    return _split_tokens(rng, hidden, total)


def warm_up() -> None:
    """Load numba by drawing a mask, so that processes forked afterwards share it."""
    grid = TokenGrid()
    mask_trajectory(np.random.default_rng(0), grid, 0.5, np.zeros((1, *grid.shape), np.float32))


def _hidden(rng: Generators, grid: TokenGrid) -> np.ndarray:
    count = 1 if isinstance(rng, np.random.Generator) else len(rng)
    return np.empty((count, grid.slices, grid.slice_tokens), bool)


def _split_tokens(rng: Generators, hidden: np.ndarray, total: int) -> TokenMask:
    from smile_motion.masking._kernels import split_tokens

    tokens = hidden.shape[1] * hidden.shape[2]
    visible = np.empty((len(hidden), tokens - total), np.int64)
    masked = np.empty((len(hidden), total), np.int64)
    split_tokens(hidden, visible, masked)
    if isinstance(rng, np.random.Generator):
        return TokenMask(visible[0], masked[0])
    return TokenMask(visible, masked)
