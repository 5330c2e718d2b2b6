"""Which tokens the student sees, always equally many: tubes, trajectories, random, official, bins.

A scheme takes one clip's generator, or a sequence of them for a batch: a clip's mask is the same
alone and in any batch. Choices follow random keys, the smallest first (see `draw_keys`).
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
    """The tokens of a clip, or of B clips, parted."""

    visible: np.ndarray
    """(Nv,) or (B, Nv) int64, ascending: what the encoder gets."""
    masked: np.ndarray
    """(Nm,) or (B, Nm) int64, ascending: what is reconstructed."""


def draw_keys(rng: Generators, grid: TokenGrid) -> np.ndarray:
    """Draw the keys that decide a mask.

    Returns:
        (B, tokens + positions + slices) float64 in 0..1: a key for each token, for each position in
        a slice, and for each slice; B is 1 for a lone generator.
    """
    length = grid.slices * grid.slice_tokens + grid.slice_tokens + grid.slices
    if isinstance(rng, np.random.Generator):
        return rng.random((1, length))
    keys = np.empty((len(rng), length))
    for row, generator in zip(keys, rng, strict=True):
        generator.random(out=row)
    return keys


def mask_random(rng: Generators, grid: TokenGrid, ratio: float) -> TokenMask:
    """Mask tokens at random, of all slices together (MAE)."""
    from smile_motion.masking._kernels import hide_random

    hidden = _hidden(rng, grid)
    hide_random(draw_keys(rng, grid), masked_tokens(grid, ratio), hidden)
    return _split_tokens(rng, hidden, masked_tokens(grid, ratio))


def mask_tube(rng: Generators, grid: TokenGrid, ratio: float) -> TokenMask:
    """Mask the same random positions in every time slice (VideoMAE)."""
    from smile_motion.masking._kernels import hide_tubes

    total, hidden = masked_tokens(grid, ratio), _hidden(rng, grid)
    hide_tubes(draw_keys(rng, grid), total // grid.slices, hidden)
    return _split_tokens(rng, hidden, total)


def mask_motion_bins(
    rng: Generators, grid: TokenGrid, ratio: float, motion: np.ndarray, *, share: float = 0.5
) -> TokenMask:
    """Mask the same positions in every slice, and show as many that move as that do not (TrackMAE).

    Positions are ranked by their mean displacement and split in halves. Of those that are shown, a
    share is drawn from the moving half, the rest from the still one.

    Args:
        motion: (positions,), or (B, positions) for a batch: how far what is at a position moves, in
            any unit; `Truth.token_motion`.
        share: Of the visible positions, those of the moving half. TrackMAE: 0.5.
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
    in every slice where no trajectory passes, the last one in as many slices as the exact total
    leaves. The total is that of `mask_tube`; where trajectories are too large or too small for it,
    their own share gives way.

    Args:
        coverage: (K, slices, rows, columns), or (B, K, ...) for a batch: share of each token that
            each object covers; `Truth.token_coverage`.
        threshold: A token is on a trajectory when the objects cover more than this share of it.
        visible_share: Share of trajectory tokens left visible; 1 - ratio by default (paper).
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
    """Mask as the published code does: boxes instead of silhouettes, tubes partly broken up.

    Tubes first; then the tokens under the objects' upright boxes, enlarged by one token to the
    right and below, are drawn again; then random tokens elsewhere are flipped until the total is
    that of `mask_tube`. The rotation of objects is left out of account.

    Args:
        plans: A clip's motion, or a batch's.
        visible_share: Share of box tokens left visible; the published code always leaves 0.1.
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
