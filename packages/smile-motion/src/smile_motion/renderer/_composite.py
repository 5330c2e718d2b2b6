"""Compiled loops that paint objects into frames, with and without effects."""

import numpy as np

from smile_motion.renderer._sampling import (
    MARGIN_PX,
    bound_rows,
    choose_level,
    row_buffers,
    sample_row,
    sampling_steps,
)
from smile_motion.renderer._vectors import LANES, blend_sixteen, mark_sixteen
from smile_motion.runtime.compiled import compiled

_ONE = np.uint64(1)
_EIGHT = np.uint32(8)
_BYTE = np.uint32(255)


@compiled(inline="always")
def blend(row, start, mixed, count):
    """Composite premultiplied pixels over row (3 * W,) uint8 from pixel `start` on."""
    at = np.uint64(3 * start)
    whole = count & -LANES
    for i in range(0, whole, LANES):
        first = np.uint64(i)
        blend_sixteen(row, at + np.uint64(3) * first, mixed, first)  # pyright: ignore[reportCallIssue]
    for i in range(np.uint64(whole), np.uint64(count)):
        pixel = mixed[i]
        keep = _BYTE - (pixel >> np.uint32(24))
        place = at + np.uint64(3) * i
        # (n + (n >> 8)) >> 8 after adding a half is n / 255, rounded.
        red = row[place] * keep + np.uint32(128)
        green = row[place + _ONE] * keep + np.uint32(128)
        blue = row[place + np.uint64(2)] * keep + np.uint32(128)
        row[place] = np.uint8((pixel & _BYTE) + ((red + (red >> _EIGHT)) >> _EIGHT))
        row[place + _ONE] = np.uint8(
            ((pixel >> _EIGHT) & _BYTE) + ((green + (green >> _EIGHT)) >> _EIGHT)
        )
        row[place + np.uint64(2)] = np.uint8(
            ((pixel >> np.uint32(16)) & _BYTE) + ((blue + (blue >> _EIGHT)) >> _EIGHT)
        )


@compiled(inline="always")
def _mark(ids, start, mixed, count, label):
    """Write `label` into ids (W,) uint8 where alpha >= 0.5; return the number of pixels."""
    at = np.uint64(start)
    marked = 0
    whole = count & -LANES
    for i in range(0, whole, LANES):
        first = np.uint64(i)
        marked += mark_sixteen(ids, at + first, mixed, first, label)  # pyright: ignore[reportCallIssue]
    for i in range(np.uint64(whole), np.uint64(count)):
        solid = mixed[i] >= np.uint32(0x80000000)
        marked += solid
        ids[at + i] = label if solid else ids[at + i]
    return marked


@compiled()
def _paint(frame, ids, words, base, size, hull, map_, label, paint, buffers, spans):
    """Put one object into one frame and return its pixels inside the frame with alpha >= 0.5.

    frame (H, 3 * W) uint8 is painted when `paint`; ids (H, W) uint8 gets `label`.
    """
    low, high = spans
    first_y, last_y = bound_rows(hull, map_, MARGIN_PX, low, high)
    walk, stride, width = sampling_steps(size, map_), np.int32(size[0] + 2), ids.shape[1]
    covered = 0
    for y in range(first_y, last_y + 1):
        start, count = sample_row(words, base, stride, walk, y, low[y], high[y], width, buffers)
        if count > 0:
            if paint:
                blend(frame[y], start, buffers[1], count)
            covered += _mark(ids[y], start, buffers[1], count, label)
    return covered


@compiled()
def _copy(source, target):
    """Copy (H, n) uint8: fifteen times as fast as assigning slices, which Numba does by element."""
    for y in range(target.shape[0]):
        from_, to = source[y], target[y]
        for x in range(to.shape[0]):
            to[x] = from_[x]


@compiled()
def composite(
    frames, background, ids, order, maps, source, label, words, offset, size, hull, paint
):
    """Paint objects into frames and their labels into the id map.

    Args:
        frames: (T, H, 3 * W) uint8, painted in place; any array when `paint` is false.
        background: (1, H, 3 * W) uint8, copied to each frame right before it is painted, while it
            is in the cache; or (0, H, 3 * W) if the frames hold their background already.
        ids: (T, H, W) uint8: set to the label of the topmost layer with alpha >= 0.5, else 0.
        order: (T, L) int64: layers from the bottom up.
        maps: (L, T, 2, 3) float64: unit coordinates -> frame pixels.
        source: (L, T) int64: source of each layer in each frame.
        label: (L,) uint8; 0 for layers that are left out.
        words: (n,) uint32: pixels of the sources.
        offset: (N, levels) int64: start of each level in `words`.
        size: (N, levels, 2) int32: width and height of each level, pixels.
        hull: (N, n, 2) float32: convex polygon around each source, unit coordinates.
        paint: Whether frames are painted; otherwise only the id map is.

    Returns:
        (L, T) int64: number of pixels of each layer inside the frame, hidden ones included.
    """
    covered = np.zeros((maps.shape[0], maps.shape[1]), dtype=np.int64)
    buffers = row_buffers(ids.shape[2])
    spans = np.empty(ids.shape[1], np.int64), np.empty(ids.shape[1], np.int64)
    for t in range(order.shape[0]):
        ids[t] = 0
        if background.shape[0] and paint:
            _copy(background[0], frames[t])
        for place in range(order.shape[1]):
            layer = order[t, place]
            if label[layer] == 0:
                continue
            map_, thing = maps[layer, t], source[layer, t]
            level = choose_level(size[thing], map_, 0)
            if level < 0:
                continue
            covered[layer, t] = _paint(
                frames[t if paint else 0],
                ids[t],
                words,
                offset[thing, level],
                size[thing, level],
                hull[thing],
                map_,
                label[layer],
                paint,
                buffers,
                spans,
            )
    return covered


@compiled()
def pack_scene(scene, words):
    """Copy a scene (H, W, 3) uint8 into words (H + 2, W + 2) uint32, opaque, its edges repeated."""
    height, width = scene.shape[0], scene.shape[1]
    for y in range(height + 2):
        line, into = scene[min(max(y - 1, 0), height - 1)], words[y]
        for x in range(width):
            red, green, blue = line[x, 0], line[x, 1], line[x, 2]
            into[x + 1] = (
                np.uint32(red)
                | (np.uint32(green) << _EIGHT)
                | (np.uint32(blue) << np.uint32(16))
                | np.uint32(0xFF000000)
            )
        into[0], into[width + 1] = into[1], into[width]


@compiled()
def composite_scene(frames, words, size, maps):
    """Fill frames with views of a scene that covers them.

    Args:
        frames: (T, H, 3 * W) uint8, filled.
        words: (n,) uint32: the scene as `pack_scene` has it.
        size: (2,) int32: width and height of the scene, pixels.
        maps: (T, 2, 3) float64: unit coordinates -> frame pixels.
    """
    width = frames.shape[2] // 3
    buffers = row_buffers(width)
    stride = np.int32(size[0] + 2)
    for t in range(frames.shape[0]):
        walk = sampling_steps(size, maps[t])
        for y in range(frames.shape[1]):
            start, count = sample_row(words, 0, stride, walk, y, 0, width - 1, width, buffers)
            blend(frames[t, y], start, buffers[1], count)


_HALF = np.uint32(128)
_SIXTEEN = np.uint32(16)
_TOP = np.uint32(24)


@compiled(inline="always")
def _tinted(red, green, blue, alpha, tint):
    """Multiply by a tint with 8 fractional bits, rounded, and limit colors to alpha."""
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
    frames, order, exposures, tint, mip_bias, source, words, offset, size, hull
):
    """Paint layers with effects; see `Layers`.

    Args:
        frames: (T, H, 3 * W) uint8, painted in place.
        order: (T, L) int64: layers from the bottom up.
        exposures: (L, T, S, 2, 3) float64: maps at the instants of motion blur; S is a power of 2.
        tint: (L, T, 4) int32: factors on premultiplied RGBA, 256 for 1.
        mip_bias: (L,) int64: offset of the source level towards coarser ones.
        source: (L, T) int64: source of each layer in each frame.
        words: (n,) uint32: pixels of the sources.
        offset: (N, levels) int64: start of each level in `words`.
        size: (N, levels, 2) int32: width and height of each level, pixels.
        hull: (N, n, 2) float32: convex polygon around each source, unit coordinates.
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
            thing = source[layer, t]
            top, bottom = height, -1
            starts[:], ends[:] = width, 0
            for s in range(instants):
                map_ = exposures[layer, t, s]
                level = choose_level(size[thing], map_, mip_bias[layer])
                if level < 0:
                    continue
                margin = MARGIN_PX * (1 << mip_bias[layer])
                first_y, last_y = bound_rows(hull[thing], map_, margin, low, high)
                top, bottom = min(top, first_y), max(bottom, last_y)
                base = offset[thing, level]
                walk = sampling_steps(size[thing, level], map_)
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
