"""The compiled loops that put objects into frames.

A source level is a premultiplied RGBA image of one object with a transparent border one pixel
wide, read as 32-bit words. Every frame pixel inside an object's rectangle takes one fixed-point
bilinear sample of the level whose size is nearest above the size on screen: one resampling, placed
below the pixel.
"""

import numpy as np
from numba import njit

FRACTION = 16
"""Fractional bits of source coordinates."""
_LANES = np.uint32(0x00FF00FF)
_HALF_LANES = np.uint32(0x00800080)


@njit(cache=True, nogil=True, inline="always")
def _choose_level(sizes, width, height):
    """Deepest level that is still at least as large as the object on screen."""
    level = 0
    while (
        level + 1 < sizes.shape[0]
        and sizes[level + 1, 0] >= width
        and sizes[level + 1, 1] >= height
        and sizes[level + 1, 0] < sizes[level, 0]
    ):
        level += 1
    return level


@njit(cache=True, nogil=True, inline="always")
def _clip_span(first, last, start, step, limit):
    """Narrow the pixels first..last to those whose coordinate start + step * x lies in 0..limit."""
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


@njit(cache=True, nogil=True, inline="always")
def _sample(words, base, stride, u, v):
    """Bilinear sample at fixed-point (u, v): red and blue lanes, green and alpha lanes."""
    at = base + (v >> FRACTION) * stride + (u >> FRACTION)
    fu = np.uint32((u >> (FRACTION - 8)) & 255)
    fv = np.uint32((v >> (FRACTION - 8)) & 255)
    w11 = (fu * fv) >> np.uint32(8)
    w01 = fu - w11
    w10 = fv - w11
    w00 = np.uint32(256) - fu - fv + w11
    p00, p01 = words[at], words[at + 1]
    p10, p11 = words[at + stride], words[at + stride + 1]
    red_blue = (
        (p00 & _LANES) * w00
        + (p01 & _LANES) * w01
        + (p10 & _LANES) * w10
        + (p11 & _LANES) * w11
        + _HALF_LANES
    )
    eight = np.uint32(8)
    green_alpha = (
        ((p00 >> eight) & _LANES) * w00
        + ((p01 >> eight) & _LANES) * w01
        + ((p10 >> eight) & _LANES) * w10
        + ((p11 >> eight) & _LANES) * w11
        + _HALF_LANES
    )
    return (red_blue >> eight) & _LANES, (green_alpha >> eight) & _LANES


@njit(cache=True, nogil=True)
def _paint(frame, ids, words, base, size, map_, slot, paint):
    """Put one object into one frame and return its pixels with alpha >= 0.5 inside the frame.

    frame (H, W, 3) uint8 is painted when `paint`; ids (H, W) uint8 gets slot + 1 where alpha >=
    0.5.
    """
    height, width = ids.shape
    level_w, level_h = size[0], size[1]
    a, b, c, d = map_[0, 0], map_[0, 1], map_[1, 0], map_[1, 1]
    cx, cy = map_[0, 2], map_[1, 2]
    determinant = a * d - b * c
    if determinant == 0:
        return 0
    reach_x = 0.5 * (abs(a) * (1 + 2 / level_w) + abs(b) * (1 + 2 / level_h))
    reach_y = 0.5 * (abs(c) * (1 + 2 / level_w) + abs(d) * (1 + 2 / level_h))
    first_x, last_x = (
        max(0, int(np.ceil(cx - reach_x))),
        min(width - 1, int(np.floor(cx + reach_x))),
    )
    first_y, last_y = (
        max(0, int(np.ceil(cy - reach_y))),
        min(height - 1, int(np.floor(cy + reach_y))),
    )
    one = float(1 << FRACTION)
    # Source coordinates with the border: level pixel (0, 0) is at (1, 1).
    ux = d / determinant * level_w
    uy = -b / determinant * level_w
    vx = -c / determinant * level_h
    vy = a / determinant * level_h
    u_centre = (level_w + 1) / 2
    v_centre = (level_h + 1) / 2
    step_u, step_v = int(np.rint(ux * one)), int(np.rint(vx * one))
    limit_u, limit_v = ((level_w + 1) << FRACTION) - 1, ((level_h + 1) << FRACTION) - 1
    stride = level_w + 2
    covered = 0
    for y in range(first_y, last_y + 1):
        # Anchored at the middle of the object, so that a whole-pixel move changes no rounding.
        anchor = int(np.rint(cx))
        u0 = int(np.rint((u_centre + ux * (anchor - cx) + uy * (y - cy)) * one))
        v0 = int(np.rint((v_centre + vx * (anchor - cx) + vy * (y - cy)) * one))
        low, high = _clip_span(first_x - anchor, last_x - anchor, u0, step_u, limit_u)
        low, high = _clip_span(low, high, v0, step_v, limit_v)
        u = u0 + step_u * low
        v = v0 + step_v * low
        for x in range(anchor + low, anchor + high + 1):
            red_blue, green_alpha = _sample(words, base, stride, u, v)
            u += step_u
            v += step_v
            alpha = green_alpha >> np.uint32(16)
            if alpha == 0:
                continue
            if alpha >= 128:
                covered += 1
                ids[y, x] = slot + 1
            if not paint:
                continue
            red = red_blue & np.uint32(255)
            green = green_alpha & np.uint32(255)
            blue = red_blue >> np.uint32(16)
            if alpha < 255:
                keep = np.uint32(255) - alpha
                # (n * 257 + 257) >> 16 after adding half is division by 255, rounded.
                red += (np.uint32(frame[y, x, 0]) * keep + np.uint32(127)) // np.uint32(255)
                green += (np.uint32(frame[y, x, 1]) * keep + np.uint32(127)) // np.uint32(255)
                blue += (np.uint32(frame[y, x, 2]) * keep + np.uint32(127)) // np.uint32(255)
            frame[y, x, 0] = min(red, np.uint32(255))
            frame[y, x, 1] = min(green, np.uint32(255))
            frame[y, x, 2] = min(blue, np.uint32(255))
    return covered


@njit(cache=True, nogil=True)
def composite(frames, ids, order, maps, objects, words, offset, size, paint):
    """Put a plan's objects into frames and their slots into the id map.

    frames  (T, H, W, 3) uint8, painted in place; any array when `paint` is false.
    ids     (T, H, W) uint8, set to 0, then slot + 1 where an object's alpha >= 0.5 lies on top.
    order   (T, K) int64 slots from the bottom up; maps (K, T, 2, 3) float64 unit -> pixels.
    words   the bank's pixels as uint32; offset (N, L) int64 bytes; size (N, L, 2) int32.
    returns (K, T) int64: each object's pixels inside the frame, hidden ones included.
    """
    covered = np.zeros((maps.shape[0], maps.shape[1]), dtype=np.int64)
    ids[:] = 0
    for t in range(order.shape[0]):
        frame = frames[t] if paint else frames[0]
        for place in range(order.shape[1]):
            slot = order[t, place]
            map_ = maps[slot, t]
            on_screen_w = np.sqrt(map_[0, 0] ** 2 + map_[1, 0] ** 2)
            on_screen_h = np.sqrt(map_[0, 1] ** 2 + map_[1, 1] ** 2)
            thing = objects[slot]
            level = _choose_level(size[thing], on_screen_w, on_screen_h)
            covered[slot, t] = _paint(
                frame,
                ids[t],
                words,
                offset[thing, level] >> 2,
                size[thing, level],
                map_,
                slot,
                paint,
            )
    return covered


@njit(cache=True, nogil=True)
def count_ids(ids, slots):
    """Pixels of each slot in each frame: (K, T) int64 from an id map (T, H, W) uint8."""
    counts = np.zeros((slots + 1, ids.shape[0]), dtype=np.int64)
    for t in range(ids.shape[0]):
        for y in range(ids.shape[1]):
            for x in range(ids.shape[2]):
                counts[ids[t, y, x], t] += 1
    return counts[1:]


@njit(cache=True, nogil=True)
def count_tokens(ids, boxes, tubelet, patch, counts):
    """Add to counts (K, slices, rows, columns) int32 the pixels of each slot in each token.

    boxes (K, T, 4) float64 bound each object, in pixels; only they are looked through.
    """
    height, width = ids.shape[1], ids.shape[2]
    for slot in range(boxes.shape[0]):
        want = np.uint8(slot + 1)
        for t in range(ids.shape[0]):
            if not boxes[slot, t, 0] <= boxes[slot, t, 2]:
                continue
            x0 = max(0, int(np.floor(boxes[slot, t, 0])) - 1)
            x1 = min(width, int(np.ceil(boxes[slot, t, 2])) + 2)
            y0 = max(0, int(np.floor(boxes[slot, t, 1])) - 1)
            y1 = min(height, int(np.ceil(boxes[slot, t, 3])) + 2)
            for y in range(y0, y1):
                row = counts[slot, t // tubelet, y // patch]
                for column in range(x0 // patch, (x1 + patch - 1) // patch):
                    total = 0
                    for x in range(column * patch, (column + 1) * patch):
                        total += ids[t, y, x] == want
                    row[column] += total
