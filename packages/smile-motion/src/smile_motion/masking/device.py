"""The masks of `smile_motion.masking.masks`, computed from the same keys on a device."""

from __future__ import annotations

import torch
from torch import Tensor

from smile_motion.tokens import TokenGrid, masked_tokens


def split_tokens(hidden: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Split tokens into visible and masked ones.

    Args:
        hidden: (B, tokens) bool: masked tokens, `total` in each row.
        total: Number of masked tokens.

    Returns:
        Visible (B, tokens - total) and masked (B, total), int64, ascending.
    """
    order = torch.sort(hidden.to(torch.uint8), dim=1, stable=True).indices
    return order[:, : hidden.shape[1] - total], order[:, hidden.shape[1] - total :]


def mask_tube(keys: Tensor, grid: TokenGrid, ratio: float) -> tuple[Tensor, Tensor]:
    """Mask the same random positions in every slice; see `masks.mask_tube`.

    Args:
        keys: (B, n) float64 of `masks.draw_keys`.
        grid: Token grid of the clips.
        ratio: Share of the tokens to mask.

    Returns:
        Visible and masked tokens, (B, Nv) and (B, Nm) int64, ascending.
    """
    total = masked_tokens(grid, ratio)
    of_position = keys[:, grid.tokens : grid.tokens + grid.slice_tokens]
    hidden = _smallest(of_position, total // grid.slices)
    return split_tokens(hidden.repeat(1, grid.slices), total)


def mask_random(keys: Tensor, grid: TokenGrid, ratio: float) -> tuple[Tensor, Tensor]:
    """Mask tokens at random; see `mask_tube` and `masks.mask_random`."""
    total = masked_tokens(grid, ratio)
    return split_tokens(_smallest(keys[:, : grid.tokens], total), total)


def mask_trajectory(
    keys: Tensor,
    grid: TokenGrid,
    ratio: float,
    coverage: Tensor,
    *,
    threshold: float = 0.0,
    visible_share: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Mask trajectories first, then tubes; see `mask_tube` and `masks.mask_trajectory`.

    Args:
        keys: (B, n) float64 of `masks.draw_keys`.
        grid: Token grid of the clips.
        ratio: Share of the tokens to mask.
        coverage: (B, K, slices, rows, columns) float32: share of each token that each object
            covers.
        threshold: Coverage above which a token is on a trajectory.
        visible_share: Share of trajectory tokens left visible; 1 - ratio by default (paper).
    """
    total, slices, positions = masked_tokens(grid, ratio), grid.slices, grid.slice_tokens
    covered = coverage[:, 0].clone()
    for slot in range(1, coverage.shape[1]):  # one after the other, as sums round
        covered += coverage[:, slot]
    on = covered.reshape(-1, grid.tokens) > threshold
    count = on.sum(dim=1, keepdim=True)
    share = ratio if visible_share is None else 1 - visible_share
    chosen = torch.round(count.double() * share).long()
    chosen = torch.maximum(chosen, total - (grid.tokens - count)).clamp(max=total)

    of_token = torch.where(on, keys[:, : grid.tokens], torch.inf)
    ranked = torch.cat([torch.full_like(of_token[:, :1], -1), of_token.sort(dim=1).values], dim=1)
    on_hidden = on & (of_token <= ranked.gather(1, chosen))

    # Tubes: positions in the order of their keys, each giving what it has off the trajectories.
    off = ~on.view(-1, slices, positions)
    free = off.sum(dim=1)
    order = keys[:, grid.tokens : grid.tokens + positions].argsort(dim=1)
    in_order = free.gather(1, order)
    before = in_order.cumsum(dim=1) - in_order
    taken = torch.minimum((total - chosen - before).clamp(min=0), in_order)
    take = torch.zeros_like(free).scatter(1, order, taken)
    of_slice = keys[:, grid.tokens + positions :]
    smaller = of_slice[:, :, None] > of_slice[:, None, :]  # (B, slice, other)
    rank = torch.einsum("bto,bop->btp", smaller.float(), off.float()).long()
    off_hidden = off & (rank < take[:, None])
    return split_tokens(on_hidden | off_hidden.reshape(on.shape), total)


def _smallest(keys: Tensor, wanted: int) -> Tensor:
    """Return (B, n) bool: whether a key is among the `wanted` smallest of its row."""
    return keys <= keys.kthvalue(wanted, dim=1, keepdim=True).values
