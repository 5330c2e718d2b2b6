"""Compiled loops that sample objects along the rows of a frame.

A source level is a premultiplied RGBA image of one object with a transparent border one pixel
wide, read as 32-bit words. Every frame pixel inside an object's rectangle takes one fixed-point
bilinear sample of the level whose size is nearest above the size on screen: one resampling, placed
below the pixel.

A row is done in passes over small buffers, because only the first (fetching the neighbors)
cannot use vector instructions; together they take half the time of a single loop
(docs/performance.md).
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from smile_motion.renderer._vectors import LANES, mix_sixteen
from smile_motion.runtime.compiled import compiled

FRACTION = np.int32(16)
"""Fractional bits of source coordinates."""
MARGIN_PX = 2.0
"""Distance beyond its level-0 bounds that an object can be visible at, pixels, due to the smoothing
of coarser levels."""
FAR_PX = 1 << 40
SMALLEST_PX = 0.25
"""Smallest side of an object that is drawn, pixels."""
VECTOR = LANES
"""Rows are padded to a multiple of this many pixels, for vector instructions."""


@compiled(inline="always")
def choose_level(sizes, map_, mip_bias):
    """Choose the coarsest level that is at least as large as the object on screen, plus `mip_bias`.

    Returns:
        Number of the level; -1 if the object is too small to be drawn.
    """
    width = np.sqrt(map_[0, 0] ** 2 + map_[1, 0] ** 2)
    height = np.sqrt(map_[0, 1] ** 2 + map_[1, 1] ** 2)
    if width < SMALLEST_PX or height < SMALLEST_PX:
        return -1
    level = 0
    while (
        level + 1 < sizes.shape[0]
        and sizes[level + 1, 0] >= width
        and sizes[level + 1, 1] >= height
        and sizes[level + 1, 0] < sizes[level, 0]
    ):
        level += 1
    return min(level + mip_bias, sizes.shape[0] - 1)


@compiled()
def find_levels(size, maps, source, mip_bias, lowest, highest):
    """Find the levels of each source that are sampled.

    Args:
        size: (N, levels, 2) int32: width and height of each level, pixels.
        maps: (L, T, n, 2, 3) float64: all maps of each layer in each frame.
        source: (L, T) int64: source of each layer in each frame.
        mip_bias: (L,) int64: offset of the level towards coarser ones.
        lowest: (N,) int64, filled: number of levels if none is sampled.
        highest: (N,) int64, filled: -1 if none is sampled.
    """
    lowest[:], highest[:] = size.shape[1], -1
    for layer in range(maps.shape[0]):
        for t in range(maps.shape[1]):
            into = source[layer, t]
            for i in range(maps.shape[2]):
                level = choose_level(size[into], maps[layer, t, i], mip_bias[layer])
                if level >= 0:
                    lowest[into] = min(lowest[into], level)
                    highest[into] = max(highest[into], level)


@compiled(inline="always")
def _clip_span(first, last, start, step, limit):
    """Clip the pixels first..last to those whose coordinate start + step * x is in 0..limit."""
    if 0 <= start + step * first <= limit and 0 <= start + step * last <= limit:
        return first, last
    if step == 0:
        if start < 0 or start > limit:
            return 1, 0
        return first, last
    if step > 0:
        low = -(start // step)
        high = (limit - start) // step
    else:
        low = -((limit - start) // -step)
        high = start // -step
    return max(first, low), min(last, high)


@intrinsic
def _pair(typing_context, words, at):
    """words[at] and words[at + 1] as one 64-bit number, the first in its lower half."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        address = builder.bitcast(address, ir.IntType(64).as_pointer())
        return builder.load(address, align=4)

    return types.uint64(words, types.uint64), generate


@compiled(inline="always")
def _fetch(pairs, count, words, base, stride, u, v, step_u, step_v):
    """Copy the upper and the lower two neighbors of `count` samples into pairs (2, count)."""
    for i in range(count):
        at = np.uint64(base + np.int64((v >> FRACTION) * stride + (u >> FRACTION)))
        pairs[0, i] = _pair(words, at)  # pyright: ignore[reportCallIssue]
        pairs[1, i] = _pair(words, at + np.uint64(stride))  # pyright: ignore[reportCallIssue]
        u = np.int32(u + step_u)
        v = np.int32(v + step_v)


@compiled()
def bound_rows(hull, map_, margin, low, high):
    """Find the pixels of each row that an object may touch.

    Args:
        hull: (n, 2) float32: convex polygon around the object, unit coordinates.
        map_: (2, 3) float64: unit coordinates -> frame pixels.
        margin: Distance beyond the polygon that the object can be visible at, pixels.
        low: (H,) int64, filled: first pixel of each row.
        high: (H,) int64, filled: last pixel of each row.

    Returns:
        First and last row.
    """
    height = low.shape[0]
    top, bottom = np.inf, -np.inf
    count = hull.shape[0]
    for i in range(count):
        y = map_[1, 0] * hull[i, 0] + map_[1, 1] * hull[i, 1] + map_[1, 2]
        top, bottom = min(top, y), max(bottom, y)
    first = max(0, int(np.ceil(top - margin)))
    last = min(height - 1, int(np.floor(bottom + margin)))
    for y in range(first, last + 1):
        low[y], high[y] = FAR_PX, -FAR_PX
    x1 = map_[0, 0] * hull[count - 1, 0] + map_[0, 1] * hull[count - 1, 1] + map_[0, 2]
    y1 = map_[1, 0] * hull[count - 1, 0] + map_[1, 1] * hull[count - 1, 1] + map_[1, 2]
    for i in range(count):
        x0, y0 = x1, y1
        x1 = map_[0, 0] * hull[i, 0] + map_[0, 1] * hull[i, 1] + map_[0, 2]
        y1 = map_[1, 0] * hull[i, 0] + map_[1, 1] * hull[i, 1] + map_[1, 2]
        upper, lower = min(y0, y1), max(y0, y1)
        slope = (x1 - x0) / (y1 - y0) if lower - upper > 1e-9 else 0.0
        from_y = max(first, int(np.ceil(upper - margin)))
        to_y = min(last, int(np.floor(lower + margin)))
        for y in range(from_y, to_y + 1):
            if slope == 0.0:
                here, there = x0, x1
            else:
                here = x0 + slope * (max(upper, y - margin) - y0)
                there = x0 + slope * (min(lower, y + margin) - y0)
            low[y] = min(low[y], int(np.ceil(min(here, there) - margin)))
            high[y] = max(high[y], int(np.floor(max(here, there) + margin)))
    return first, last


@compiled(inline="always")
def sampling_steps(size, map_):
    """Compute the fixed-point steps in a level from pixel to pixel, which all rows share."""
    a, b, c, d = map_[0, 0], map_[0, 1], map_[1, 0], map_[1, 1]
    determinant = a * d - b * c
    one = float(1 << FRACTION)
    ux, uy = d / determinant * size[0] * one, -b / determinant * size[0] * one
    vx, vy = -c / determinant * size[1] * one, a / determinant * size[1] * one
    # Coordinates run from the object's middle, so that a move by whole pixels changes no rounding.
    anchor = int(np.rint(map_[0, 2]))
    # Source coordinates count the border: level pixel (0, 0) is at (1, 1).
    start_u = (size[0] + 1) / 2 * one + ux * (anchor - map_[0, 2])
    start_v = (size[1] + 1) / 2 * one + vx * (anchor - map_[0, 2])
    limit_u, limit_v = ((size[0] + 1) << FRACTION) - 1, ((size[1] + 1) << FRACTION) - 1
    steps = int(np.rint(ux)), int(np.rint(vx))
    return anchor, steps[0], steps[1], limit_u, limit_v, start_u, uy, start_v, vy, map_[1, 2]


@compiled(inline="always")
def sample_row(words, base, stride, walk, y, row_low, row_high, width, buffers):
    """Sample one object along row y of the frame into `mixed`; return first pixel and count.

    Rows are padded with transparent pixels, if the frame has room, to whole vector instructions:
    a remainder would cost as much as all of them.
    """
    pairs, mixed = buffers
    anchor, step_u, step_v, limit_u, limit_v, start_u, row_u, start_v, row_v, cy = walk
    u = int(np.rint(start_u + row_u * (y - cy)))
    v = int(np.rint(start_v + row_v * (y - cy)))
    low, high = max(0, row_low) - anchor, min(width - 1, row_high) - anchor
    if high >= low:
        low, high = _clip_span(low, high, u, step_u, limit_u)
    if high >= low:
        low, high = _clip_span(low, high, v, step_v, limit_v)
    if high < low:
        return 0, np.int32(0)
    count = np.int32(high - low + 1)
    from_u, from_v = np.int32(u + step_u * low), np.int32(v + step_v * low)
    by_u, by_v = np.int32(step_u), np.int32(step_v)
    _fetch(pairs, count, words, base, stride, from_u, from_v, by_u, by_v)
    start = anchor + low
    full = (count + VECTOR - 1) & -VECTOR
    # At the frame's right edge the padding is on the left.
    before = max(0, start + full - width) if full <= width else 0
    for i in range(0, full, VECTOR):
        at = np.uint64(i)
        mix_sixteen(mixed, at + np.uint64(before), pairs, at, from_u, from_v, by_u, by_v)  # pyright: ignore[reportCallIssue]
    for i in range(before):
        mixed[i] = 0
    for i in range(before + count, full):
        mixed[i] = 0
    return start - before, min(full, width - start + before)


@compiled(inline="always")
def row_buffers(width):
    """Allocate the buffers of `sample_row`: pairs and mixed."""
    return np.zeros((2, width + VECTOR), np.uint64), np.empty(width + 2 * VECTOR, np.uint32)
