"""The compiled loops that paint layers with effects: exposures averaged, tinted, then blended."""

import numpy as np

from smile_motion.renderer._composite import blend
from smile_motion.renderer._sampling import (
    MARGIN_PX,
    bound_rows,
    choose_level,
    find_walk,
    row_buffers,
    sample_row,
)
from smile_motion.runtime.compiled import compiled

_BYTE = np.uint32(255)
_HALF = np.uint32(128)
_EIGHT = np.uint32(8)
_SIXTEEN = np.uint32(16)
_TOP = np.uint32(24)


@compiled(inline="always")
def _tinted(red, green, blue, alpha, tint):
    """Multiply by a tint with 8 fractional bits, rounded, and limit colours to alpha."""
    alpha = min((alpha * np.uint32(tint[3]) + _HALF) >> _EIGHT, _BYTE)
    red = min((red * np.uint32(tint[0]) + _HALF) >> _EIGHT, alpha)
    green = min((green * np.uint32(tint[1]) + _HALF) >> _EIGHT, alpha)
    blue = min((blue * np.uint32(tint[2]) + _HALF) >> _EIGHT, alpha)
    return red | (green << _EIGHT) | (blue << _SIXTEEN) | (alpha << _TOP)


@compiled()
def _tint_row(mixed, count, tint):
    """Tint premultiplied pixels in place."""
    for i in range(count):
        pixel = mixed[i]
        mixed[i] = _tinted(
            pixel & _BYTE,
            (pixel >> _EIGHT) & _BYTE,
            (pixel >> _SIXTEEN) & _BYTE,
            pixel >> _TOP,
            tint,
        )


@compiled()
def _collect(total, start, mixed, count):
    """Add one exposure to a row of totals (4, W) uint16."""
    for i in range(count):
        pixel = mixed[i]
        total[0, start + i] += pixel & _BYTE
        total[1, start + i] += (pixel >> _EIGHT) & _BYTE
        total[2, start + i] += (pixel >> _SIXTEEN) & _BYTE
        total[3, start + i] += pixel >> _TOP


@compiled()
def _develop(total, start, end, tint, shift, mixed):
    """Average a row of totals, tint it into mixed, and clear it."""
    half = np.uint32((1 << shift) >> 1)
    by = np.uint32(shift)
    for x in range(start, end):
        mixed[x - start] = _tinted(
            (np.uint32(total[0, x]) + half) >> by,
            (np.uint32(total[1, x]) + half) >> by,
            (np.uint32(total[2, x]) + half) >> by,
            (np.uint32(total[3, x]) + half) >> by,
            tint,
        )
    total[:, start:end] = 0


@compiled()
def composite_exposures(
    frames, order, exposures, tint, coarser, objects, words, offset, size, cover
):
    """Paint layers with effects; see `Layers` for what they mean and `composite` for the sources.

    frames     (T, H, 3 * W) uint8, painted in place.
    order      (T, L) int64; exposures (L, T, S, 2, 3) float64, S a power of two.
    tint       (L, T, 4) int32; coarser, objects (L,) int64.
    """
    height, width = frames.shape[1], frames.shape[2] // 3
    instants = exposures.shape[2]
    total = np.zeros((height, 4, width), np.uint16)
    buffers = row_buffers(width)
    mixed = buffers[1]
    low, high = np.empty(height, np.int64), np.empty(height, np.int64)
    starts, ends = np.empty(height, np.int64), np.empty(height, np.int64)
    shift = 0
    while 1 << shift < instants:
        shift += 1
    for t in range(order.shape[0]):
        for layer in order[t]:
            thing = objects[layer]
            top, bottom = height, -1
            starts[:], ends[:] = width, 0
            for s in range(instants):
                map_ = exposures[layer, t, s]
                level = choose_level(size[thing], map_, coarser[layer])
                if level < 0:
                    continue
                margin = MARGIN_PX * (1 << coarser[layer])
                first_y, last_y = bound_rows(cover[thing], map_, margin, low, high)
                top, bottom = min(top, first_y), max(bottom, last_y)
                base = offset[thing, level]
                walk = find_walk(size[thing, level], map_)
                stride = np.int32(size[thing, level, 0] + 2)
                for y in range(first_y, last_y + 1):
                    start, count = sample_row(
                        words, base, stride, walk, y, low[y], high[y], width, buffers
                    )
                    if instants == 1:
                        _tint_row(mixed, count, tint[layer, t])
                        blend(frames[t, y], start, mixed, count)
                    elif count > 0:
                        _collect(total[y], start, mixed, count)
                        starts[y] = min(starts[y], start)
                        ends[y] = max(ends[y], start + count)
            if instants == 1:
                continue
            for y in range(top, bottom + 1):
                if starts[y] < ends[y]:
                    _develop(total[y], starts[y], ends[y], tint[layer, t], shift, mixed)
                    blend(frames[t, y], starts[y], mixed, np.int32(ends[y] - starts[y]))
