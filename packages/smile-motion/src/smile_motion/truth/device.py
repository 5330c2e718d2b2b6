"""Motion of tokens on a device, from the id maps of clips that were rendered there."""

from __future__ import annotations

import torch
from torch import Tensor

from smile_motion.io.options import MotionReading
from smile_motion.tokens import TokenGrid
from smile_motion.truth.token_motion import point_pixels


def token_displacement(
    ids: Tensor,
    maps: Tensor,
    grid: TokenGrid,
    *,
    points: int = 2,
    reading: MotionReading = "present",
    still: bool = True,
) -> Tensor:
    """Compute the displacements of `Truth.token_motion` for a batch.

    Args:
        ids: (B, T, H, W) uint8 modal id maps.
        maps: (B, K, slices, 2, 3) float64: `MotionPlan.placement` at the first frame of each slice;
            anything for objects that a clip does not have.
        grid: The tokens; at least two slices.
        points: Along each side of a token.
        reading: Which points a token has the motion of.
        still: The background stays; else its points have NaN.

    Returns:
        (B, slices, rows, columns, points ** 2, 2) float32 x, y, pixels.
    """
    x, y = torch.from_numpy(point_pixels(grid, points)).to(ids.device).flatten(0, 2).unbind(-1)
    steps = torch.arange(grid.slices, device=ids.device)
    if reading == "present":
        labels = ids[:, :: grid.tubelet][:, :, y, x].long()
        other = steps + torch.where(steps < grid.slices - 1, 1, -1)
        sign = torch.where(steps < grid.slices - 1, 1.0, -1.0).double()
        moves = (_carry(maps, maps[:, :, other]) - _stay(maps)) * sign[:, None, None]
    else:
        labels = ids[:, 0][:, y, x].long()[:, None].expand(-1, grid.slices, -1)
        carried = _carry(maps[:, :, :1].expand_as(maps), maps)
        first = steps.clamp(max=grid.slices - 2)
        moves = carried[:, :, first + 1] - carried[:, :, first]
    # The background, label 0, does not move.
    moves = torch.cat([torch.zeros_like(moves[:, :1]), moves], dim=1).transpose(1, 2).flatten(3)
    chosen = moves.gather(2, labels[..., None].expand(-1, -1, -1, 6)).unflatten(-1, (2, 3))
    at = torch.stack([x, y, torch.ones_like(x)], dim=-1).double()
    found = (chosen * at[:, None]).sum(-1).float()
    if not still:
        found = torch.where(labels[..., None] == 0, torch.nan, found)
    return found.view(len(ids), *grid.shape, points * points, 2)


def _stay(maps: Tensor) -> Tensor:
    """The map of pixels that leaves them where they are, (2, 3)."""
    return torch.eye(2, 3, dtype=maps.dtype, device=maps.device)


def _carry(source: Tensor, target: Tensor) -> Tensor:
    """Map pixels of objects as placed by `source` to those by `target`, (..., 2, 3) all; zeros
    where the source has no area, and so no pixel."""
    a, b, c, d = source[..., :2].flatten(-2).unbind(-1)
    whole = a * d - b * c
    inverse = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2)) / whole[..., None, None]
    inverse = torch.where(whole[..., None, None] == 0, 0.0, inverse)
    turn = target[..., :2] @ inverse
    return torch.cat([turn, target[..., 2:] - turn @ source[..., 2:]], dim=-1)
