"""Motion of tokens on a device, from the id maps of clips that were rendered there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from smile_motion.io.options import MotionReading
from smile_motion.tokens import TokenGrid
from smile_motion.truth.token_motion import point_pixels


class DeviceMotion(NamedTuple):
    """What `TokenMotion` says, for a batch on a device."""

    displacement: Tensor
    """(B, slices, rows, columns, points ** 2, 2) float32 x, y, pixels; NaN if unknown."""
    visible: Tensor | None
    """(B, slices, rows, columns, points ** 2) bool; None if it was not asked for."""
    label: Tensor
    """(B, slices, rows, columns, points ** 2) int64: 0 for the background, slots plus 1."""


def token_motion(
    ids: Tensor,
    maps: Tensor,
    grid: TokenGrid,
    *,
    points: int = 2,
    reading: MotionReading = "present",
    still: bool = True,
    background: Tensor | None = None,
    visible: bool = False,
) -> DeviceMotion:
    """Compute `Truth.token_motion` for a batch.

    Args:
        ids: (B, T, H, W) uint8 modal id maps.
        maps: (B, K, slices, 2, 3) float64: `MotionPlan.placement` at the first frame of each slice;
            anything for objects that a clip does not have.
        grid: The tokens; at least two slices.
        points: Along each side of a token.
        reading: Which points a token has the motion of.
        still: The background stays, or moves as `background` says; else its points have NaN.
        background: (B, slices, 2, 3) float64: `Camera.placement` at the same frames; by default the
            background stays.
        visible: Compute visibility, too.
    """
    x, y = torch.from_numpy(point_pixels(grid, points)).to(ids.device).flatten(0, 2).unbind(-1)
    steps = torch.arange(grid.slices, device=ids.device)
    first = steps.clamp(max=grid.slices - 2)
    own = ids[:, :: grid.tubelet]
    if background is None:
        stay = torch.eye(2, 3, dtype=maps.dtype, device=maps.device)
        background = stay.expand(len(maps), grid.slices, 2, 3)
    maps = torch.cat([background[:, None], maps], dim=1)  # by label
    if reading == "present":
        label = own[:, :, y, x].long()
        other = steps + torch.where(steps < grid.slices - 1, 1, -1)
        # A point is where it is, and goes to (or has come from) another place.
        source, carried = maps, [(other, maps[:, :, other])]
    else:
        label = own[:, 0][:, y, x].long()[:, None].expand(-1, grid.slices, -1)
        source = maps[:, :, :1].expand_as(maps)
        carried = [(number, maps[:, :, number]) for number in (first, first + 1)]
    at = torch.stack([x, y, torch.ones_like(x)], dim=-1).double()
    places = [at[:, :2].expand(*label.shape, 2)] if reading == "present" else []
    places += [_follow(_carry(source, target), label, at) for _, target in carried]
    moved = places[1] - places[0]
    if reading == "present":
        moved = torch.where(steps[:, None, None] < grid.slices - 1, moved, -moved)
    found = moved.float()
    if not still:
        found = torch.where(label[..., None] == 0, torch.nan, found)
    shape = (len(ids), *grid.shape, points * points)
    seen = None
    if visible:
        seen = torch.ones_like(label, dtype=torch.bool)
        for (number, _), place in zip(carried, places[-len(carried) :], strict=True):
            seen &= _is_on_top(own[:, number], place, label)
        seen = seen.view(shape)
    return DeviceMotion(found.view(*shape, 2), seen, label.view(shape))


def gather_rates(rates: Tensor, label: Tensor) -> Tensor:
    """Give points the rates of what they are on, as `truth.token_motion.token_rates`.

    Args:
        rates: (B, K + 1, slices, 3) float64: `surface_rates`.
        label: (B, slices, rows, columns, points) int64: `DeviceMotion.label`.

    Returns:
        (B, slices, rows, columns, points, 3) float32.
    """
    chosen = label.flatten(2)[..., None].expand(-1, -1, -1, 3)
    return rates.transpose(1, 2).float().gather(2, chosen).view(*label.shape, 3)


def _follow(maps: Tensor, label: Tensor, at: Tensor) -> Tensor:
    """Where points are carried: maps (B, K + 1, slices, 2, 3), label (B, slices, points), at
    (points, 3) to (B, slices, points, 2)."""
    chosen = (
        maps.transpose(1, 2)
        .flatten(3)
        .gather(2, label[..., None].expand(-1, -1, -1, 6))
        .unflatten(-1, (2, 3))
    )
    return (chosen * at[:, None]).sum(-1)


def _is_on_top(ids: Tensor, place: Tensor, label: Tensor) -> Tensor:
    """Whether places are inside the frame and their nearest pixels have these labels.

    Args:
        ids: (B, slices, H, W) uint8.
        place: (B, slices, points, 2) float64 x, y.
        label: (B, slices, points) int64.
    """
    height, width = ids.shape[-2:]
    column, row = place.round().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
    return inside & (ids.flatten(2).gather(2, pixel).long() == label)


def _carry(source: Tensor, target: Tensor) -> Tensor:
    """Map pixels of objects as placed by `source` to those by `target`, (..., 2, 3) all; zeros
    where the source has no area, and so no pixel."""
    a, b, c, d = source[..., :2].flatten(-2).unbind(-1)
    whole = a * d - b * c
    inverse = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2)) / whole[..., None, None]
    inverse = torch.where(whole[..., None, None] == 0, 0.0, inverse)
    turn = target[..., :2] @ inverse
    return torch.cat([turn, target[..., 2:] - turn @ source[..., 2:]], dim=-1)
