"""Painting of records with plain torch operations, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

_LANES = 0x00FF00FF
_HIGH_LANES = -0x00FF0100  # 0xFF00FF00 as a signed number
_HALF_LANES = 0x00800080


def paint(
    frames: Tensor,
    ids: Tensor,
    words: Tensor,
    whole: Tensor,
    base: Tensor,
    real: Tensor,
    tint: Tensor,
    label: Tensor,
) -> None:
    """Paint B clips, one after the other, since every step needs several numbers per pixel.

    Args:
        frames: (B, T, H, W, 3) uint8 RGB background, painted in place.
        ids: (B, T, H, W) uint8, filled.
        words: (n,) int32: the bank's pixels.
        whole, base, real, tint, label: Fields of `LayerRecords`.
    """
    height, width = frames.shape[2:4]
    y = torch.arange(height, device=frames.device)
    x = torch.arange(width, device=frames.device, dtype=torch.int32)
    ids.zero_()
    exposures = base.shape[3] - 1
    for clip in range(frames.shape[0]):
        for place in range(base.shape[2]):
            record = (whole[clip, :, place], base[clip, :, place], real[clip, :, place])

            def sample(s: int, record: tuple[Tensor, Tensor, Tensor] = record) -> Tensor:
                return _sample(words, *(part[:, s] for part in record), x=x, y=y)

            seen = sample(0)
            solid = ((seen[3] >= 128) & (label[clip, :, place, None, None] > 0))[..., None]
            marked = torch.where(solid[..., 0], label[clip, :, place, None, None], ids[clip])
            ids[clip] = marked
            if exposures:
                total = sample(1)
                for s in range(2, 1 + exposures):
                    total += sample(s)
                shift = exposures.bit_length() - 1
                mean = (total + ((1 << shift) >> 1)) >> shift
                by = tint[clip, :, place].T[..., None, None]
                seen = (mean * by + 128) >> 8
                seen[3].clamp_(max=255)
                seen[:3] = torch.minimum(seen[:3], seen[3])
            keep = 255 - seen[3]
            for channel in range(3):
                under = frames[clip, ..., channel].to(torch.int32) * keep + 128
                over = seen[channel] + ((under + (under >> 8)) >> 8)
                frames[clip, ..., channel] = over.to(torch.uint8)


def _sample(
    words: Tensor, whole: Tensor, base: Tensor, real: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Sample premultiplied red, green, blue and alpha of T records: (4, T, H, W) int32."""

    def part(name: int) -> Tensor:
        return whole[:, name, None, None]

    # 64 bits: far from thin objects coordinates outgrow 32.
    rows = y[None] - real[:, 4:5]
    across = (x[None, None] - part(7)).to(torch.int64)
    start_u = torch.round(real[:, 0:1] + real[:, 1:2] * rows).to(torch.int64)
    start_v = torch.round(real[:, 2:3] + real[:, 3:4] * rows).to(torch.int64)
    u, v = start_u[..., None] + part(5) * across, start_v[..., None] + part(6) * across
    line = y[None, :, None]
    valid = (
        (x >= part(0)) & (x <= part(1)) & (line >= part(2)) & (line <= part(3))
        & (u >= 0) & (u <= part(8)) & (v >= 0) & (v <= part(9))
    )  # fmt: skip
    at = base[:, None, None] + (v >> 16) * part(4) + (u >> 16)
    at = torch.where(valid, at, 0)
    below = at + torch.where(valid, part(4), 0)
    p00, p01, p10, p11 = words[at], words[at + 1], words[below], words[below + 1]
    part_u, part_v = (((c >> 8) & 255).to(torch.int32) for c in (u, v))
    w11 = (part_u * part_v) >> 8
    w01, w10 = part_u - w11, part_v - w11
    w00 = 256 - part_u - w10
    red_blue = _HALF_LANES + sum(
        (p & _LANES) * w for p, w in ((p00, w00), (p01, w01), (p10, w10), (p11, w11))
    )
    green_alpha = _HALF_LANES + sum(
        ((p >> 8) & _LANES) * w for p, w in ((p00, w00), (p01, w01), (p10, w10), (p11, w11))
    )
    mixed = ((red_blue >> 8) & _LANES) | (green_alpha & _HIGH_LANES)
    mixed = torch.where(valid, mixed, 0)
    return torch.stack([(mixed >> shift) & 255 for shift in (0, 8, 16, 24)])
