"""Compiled loops that count pixels of an id map and compute boxes of outlines."""

import numpy as np

from smile_motion.runtime.compiled import compiled


@compiled()
def count_ids(ids, slots):
    """Count the pixels of each slot in each frame of an id map (T, H, W) uint8: (K, T) int64."""
    counts = np.zeros((slots + 1, ids.shape[0]), dtype=np.int64)
    for t in range(ids.shape[0]):
        for y in range(ids.shape[1]):
            for x in range(ids.shape[2]):
                counts[ids[t, y, x], t] += 1
    return counts[1:]


@compiled()
def count_tokens(ids, boxes, tubelet, patch, counts):
    """Count the pixels of each slot in each token.

    Pixels are first summed along the columns of a row of tokens, which vectorizes best.

    Args:
        ids: (T, H, W) uint8 id map.
        boxes: (K, T, 4) float64: boxes of the objects, pixels; only these are searched.
        tubelet: Frames in a token.
        patch: Side of a token, pixels.
        counts: (K, slices, rows, columns) int32, to which the counts are added.
    """
    height, width = ids.shape[1], ids.shape[2]
    column_sum = np.empty(width, np.uint16)
    for slot in range(boxes.shape[0]):
        want = np.uint8(slot + 1)
        for t in range(ids.shape[0]):
            if not boxes[slot, t, 0] <= boxes[slot, t, 2]:
                continue
            x0 = max(0, int(np.floor(boxes[slot, t, 0])) - 1) // patch
            x1 = (min(width, int(np.ceil(boxes[slot, t, 2])) + 2) + patch - 1) // patch
            y0 = max(0, int(np.floor(boxes[slot, t, 1])) - 1)
            y1 = min(height, int(np.ceil(boxes[slot, t, 3])) + 2)
            if x1 <= x0:
                continue
            sums = column_sum[x0 * patch : x1 * patch]
            for row in range(y0 // patch, (y1 + patch - 1) // patch):
                sums[:] = 0
                for y in range(max(y0, row * patch), min(y1, (row + 1) * patch)):
                    line = ids[t, y, x0 * patch : x1 * patch]
                    for x in range(sums.shape[0]):
                        sums[x] += line[x] == want
                of_row = counts[slot, t // tubelet, row]
                for column in range(x1 - x0):
                    total = np.int32(0)
                    for x in range(column * patch, (column + 1) * patch):
                        total += np.int32(sums[x])
                    of_row[x0 + column] += total


@compiled()
def bound_outline(points, ring_start, maps, width, height, full, cut):
    """Compute the boxes of one object's outline in all frames.

    Args:
        points: (n, 2) float32: points of all rings, unit coordinates.
        ring_start: Ring r is points[ring_start[r] : ring_start[r + 1]], closed without repeating
            its first point.
        maps: (T, 2, 3) float64: unit coordinates -> frame pixels.
        width: Frame width, pixels.
        height: Frame height, pixels.
        full: (T, 4) float64, filled: x0, y0, x1, y1 of the whole outline.
        cut: (T, 4) float64, filled: box of the part inside the frame; NaN if there is none.
    """
    left, top, right, bottom = -0.5, -0.5, width - 0.5, height - 0.5
    across = np.ascontiguousarray(points.T)
    placed = np.empty((2, points.shape[0]))
    for t in range(maps.shape[0]):
        x0, x1 = _place_axis(across, maps[t, 0, 0], maps[t, 0, 1], maps[t, 0, 2], placed[0])
        y0, y1 = _place_axis(across, maps[t, 1, 0], maps[t, 1, 1], maps[t, 1, 2], placed[1])
        full[t, 0], full[t, 1], full[t, 2], full[t, 3] = x0, y0, x1, y1
        if x0 < left or y0 < top or x1 > right or y1 > bottom:
            x0, y0, x1, y1 = _bound_inside(placed, ring_start, left, top, right, bottom)
        if x0 < x1 and y0 < y1:
            cut[t, 0], cut[t, 1], cut[t, 2], cut[t, 3] = x0, y0, x1, y1
        else:
            cut[t] = np.nan


# Without NaN and signed zeros, minima can be taken several at a time; no sum is reordered.
@compiled(fastmath={"nnan", "nsz"})
def _place_axis(points, a, b, c, placed):
    """Place points (2, n) along one axis into placed (n,); returns the smallest and largest."""
    low, high = np.inf, -np.inf
    for i in range(placed.shape[0]):
        value = a * points[0, i] + b * points[1, i] + c
        placed[i] = value
        low, high = min(low, value), max(high, value)
    return low, high


@compiled()
def _bound_inside(placed, ring_start, left, top, right, bottom):
    """Bound the part of an outline inside a rectangle: its cut edges, and corners it holds."""
    x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
    odd = np.zeros(4, np.bool_)
    for ring in range(ring_start.shape[0] - 1):
        start, end = ring_start[ring], ring_start[ring + 1]
        for i in range(start, end):
            j = i + 1 if i + 1 < end else start
            ax, ay, bx, by = placed[0, i], placed[1, i], placed[0, j], placed[1, j]
            dx, dy = bx - ax, by - ay
            enter, leave = 0.0, 1.0
            for direction, room in (
                (-dx, ax - left),
                (dx, right - ax),
                (-dy, ay - top),
                (dy, bottom - ay),
            ):
                if direction == 0:
                    if room < 0:
                        leave = -1.0
                elif direction < 0:
                    enter = max(enter, room / direction)
                else:
                    leave = min(leave, room / direction)
            if enter <= leave:
                for along in (enter, leave):
                    x, y = ax + along * dx, ay + along * dy
                    x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
            for corner in range(4):
                cx = left if corner % 2 == 0 else right
                cy = top if corner < 2 else bottom
                if (ay > cy) != (by > cy) and cx < ax + (cy - ay) / dy * dx:
                    odd[corner] = not odd[corner]
    for corner in range(4):
        if odd[corner]:
            x = left if corner % 2 == 0 else right
            y = top if corner < 2 else bottom
            x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
    return x0, y0, x1, y1
