"""Painting of records by one Triton kernel, which reads and writes every pixel once."""

# Triton's language is not Python's: constants, launches and branches confuse the type checker.
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false, reportAttributeAccessIssue=false

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS, WARPS = 4, 32, 1
"""Pixels and warps of one program: small tiles skip most of the pixels that no object touches
(docs/performance.md)."""


def paint(
    frames: Tensor,
    ids: Tensor,
    background: Tensor,
    words: Tensor,
    whole: Tensor,
    base: Tensor,
    real: Tensor,
    tint: Tensor,
    label: Tensor,
) -> None:
    """Paint B clips; all tensors but the background are contiguous.

    Args:
        frames: (B, T, H, W, 3) uint8 RGB, filled.
        ids: (B, T, H, W) uint8, filled.
        background: (B, T or 1, H, W, 3) uint8 RGB.
        words: (n,) int32: the bank's pixels.
        whole, base, real, tint, label: Fields of `LayerRecords`.
    """
    clips, count, height, width = ids.shape
    is_static = background.shape[1] == 1
    tiles = (triton.cdiv(height, ROWS), triton.cdiv(width, COLUMNS))
    exposures = base.shape[3] - 1
    _paint_tile[(clips * count, *tiles)](
        frames,
        ids,
        background,
        words,
        whole,
        base,
        real,
        tint,
        label,
        count,
        height,
        width,
        background.stride(0),
        0 if is_static else background.stride(1),
        background.stride(2),
        PLACES=base.shape[2],
        EXPOSURES=exposures,
        SHIFT=max(exposures.bit_length() - 1, 0),
        ROWS=ROWS,
        COLUMNS=COLUMNS,
        num_warps=WARPS,
        enable_fp_fusion=False,  # the CPU rounds products too
    )


@triton.jit
def _nearest(value):
    """Round half to even: the sum has no fractional bits."""
    big = 6755399441055744.0
    return ((value + big) - big).to(tl.int64)


@triton.jit
def _sample(words, whole, base, real, record, x, y):
    """Sample premultiplied RGBA of one record at pixels x (1, C), y (R, 1)."""
    whole += record * 10
    real += record * 5
    left, right = tl.load(whole), tl.load(whole + 1)
    top, bottom = tl.load(whole + 2), tl.load(whole + 3)
    stride = tl.load(whole + 4)
    rows = y.to(tl.float64) - tl.load(real + 4)
    across = (x - tl.load(whole + 7)).to(tl.int64)
    u = _nearest(tl.load(real) + tl.load(real + 1) * rows) + tl.load(whole + 5) * across
    v = _nearest(tl.load(real + 2) + tl.load(real + 3) * rows) + tl.load(whole + 6) * across
    valid = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    valid = valid & (u >= 0) & (u <= tl.load(whole + 8)) & (v >= 0) & (v <= tl.load(whole + 9))
    u, v = u.to(tl.int32), v.to(tl.int32)  # far from thin objects they need more
    at = words + tl.load(base + record) + ((v >> 16) * stride + (u >> 16)).to(tl.int64)
    p00 = tl.load(at, mask=valid, other=0)
    p01 = tl.load(at + 1, mask=valid, other=0)
    p10 = tl.load(at + stride, mask=valid, other=0)
    p11 = tl.load(at + stride + 1, mask=valid, other=0)
    part_u, part_v = (u >> 8) & 255, (v >> 8) & 255
    w11 = (part_u * part_v) >> 8
    w01, w10 = part_u - w11, part_v - w11
    w00 = 256 - part_u - w10
    lanes = 0x00FF00FF
    red_blue = (p00 & lanes) * w00 + (p01 & lanes) * w01 + (p10 & lanes) * w10
    red_blue = red_blue + (p11 & lanes) * w11 + 0x00800080
    green_alpha = ((p00 >> 8) & lanes) * w00 + ((p01 >> 8) & lanes) * w01
    green_alpha = green_alpha + ((p10 >> 8) & lanes) * w10 + ((p11 >> 8) & lanes) * w11 + 0x00800080
    red = tl.where(valid, (red_blue >> 8) & 255, 0)
    green = tl.where(valid, (green_alpha >> 8) & 255, 0)
    blue = tl.where(valid, (red_blue >> 24) & 255, 0)
    alpha = tl.where(valid, (green_alpha >> 24) & 255, 0)
    return red, green, blue, alpha


@triton.jit
def _tinted(total, by, SHIFT: tl.constexpr):
    mean = (total + ((1 << SHIFT) >> 1)) >> SHIFT
    return (mean * by + 128) >> 8


@triton.jit
def _over(under, keep, color):
    dimmed = under * keep + 128
    return color + ((dimmed + (dimmed >> 8)) >> 8)


@triton.jit
def _paint_tile(
    frames, ids, background, words, whole, base, real, tint, label,
    count, height, width, of_clip, of_frame, of_row,
    PLACES: tl.constexpr, EXPOSURES: tl.constexpr, SHIFT: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(0).to(tl.int64)
    row, column = tl.program_id(1) * ROWS, tl.program_id(2) * COLUMNS
    y = row + tl.arange(0, ROWS)[:, None]
    x = column + tl.arange(0, COLUMNS)[None, :]
    inside = (y < height) & (x < width)
    behind = background + (frame // count) * of_clip + (frame % count) * of_frame
    behind = behind + y * of_row + 3 * x
    red = tl.load(behind, mask=inside, other=0).to(tl.int32)
    green = tl.load(behind + 1, mask=inside, other=0).to(tl.int32)
    blue = tl.load(behind + 2, mask=inside, other=0).to(tl.int32)
    mark = tl.zeros((ROWS, COLUMNS), tl.int32)
    for place in range(PLACES):
        layer = frame * PLACES + place
        for s in tl.static_range(0, 1 + EXPOSURES):
            # The first record marks; it paints too where there are no exposures.
            record = layer * (1 + EXPOSURES) + s
            if s == 1:
                total_r = tl.zeros((ROWS, COLUMNS), tl.int32)
                total_g = tl.zeros((ROWS, COLUMNS), tl.int32)
                total_b = tl.zeros((ROWS, COLUMNS), tl.int32)
                total_a = tl.zeros((ROWS, COLUMNS), tl.int32)
            at = whole + record * 10
            near = (tl.load(at) < column + COLUMNS) & (tl.load(at + 1) >= column)
            near = near & (tl.load(at + 2) < row + ROWS) & (tl.load(at + 3) >= row)
            if near:
                r, g, b, a = _sample(words, whole, base, real, record, x, y)
                if s == 0:
                    name = tl.load(label + layer).to(tl.int32)
                    mark = tl.where((a >= 128) & (name > 0), name, mark)
                    if EXPOSURES == 0:
                        keep = 255 - a
                        red, green = _over(red, keep, r), _over(green, keep, g)
                        blue = _over(blue, keep, b)
                else:
                    total_r += r
                    total_g += g
                    total_b += b
                    total_a += a
        if EXPOSURES > 0:
            by = tint + layer * 4
            a = tl.minimum(_tinted(total_a, tl.load(by + 3), SHIFT), 255)
            r = tl.minimum(_tinted(total_r, tl.load(by), SHIFT), a)
            g = tl.minimum(_tinted(total_g, tl.load(by + 1), SHIFT), a)
            b = tl.minimum(_tinted(total_b, tl.load(by + 2), SHIFT), a)
            keep = 255 - a
            red, green, blue = _over(red, keep, r), _over(green, keep, g), _over(blue, keep, b)
    pixel = (frame * height + y) * width + x
    tl.store(frames + 3 * pixel, red.to(tl.uint8), mask=inside)
    tl.store(frames + 3 * pixel + 1, green.to(tl.uint8), mask=inside)
    tl.store(frames + 3 * pixel + 2, blue.to(tl.uint8), mask=inside)
    tl.store(ids + pixel, mark.to(tl.uint8), mask=inside)
