"""The compiled loop that bounds outlines, whole and cut to the frame."""

import numpy as np

from smile_motion.runtime.compiled import compiled


@compiled()
def bound_outline(points, ring_start, maps, width, height, full, cut):
    """Bound one object's outline in every frame.

    points      (n, 2) unit coordinates of all its rings; ring r is points[ring_start[r] :
                ring_start[r + 1]], closed without repeating its first point.
    maps        (T, 2, 3) unit -> pixels.
    full, cut   (T, 4) float64 x0, y0, x1, y1, filled: the whole outline; its part inside the
                frame, NaN where there is none.
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
