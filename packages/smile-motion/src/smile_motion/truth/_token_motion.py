"""Compiled loops that compute the motion of points of tokens."""

import numpy as np

from smile_motion.runtime.compiled import compiled


@compiled(inline="always")
def _relate(source, target, turn):
    """Compute the linear part of the transform between two maps of an object, turn (2, 2), filled.

    It is zero if the first map has no area, so that the object is not visible.
    """
    a, b, c, d = source[0, 0], source[0, 1], source[1, 0], source[1, 1]
    whole = a * d - b * c
    if whole == 0.0:
        turn[:] = 0.0
        return
    for axis in range(2):
        turn[axis, 0] = (target[axis, 0] * d - target[axis, 1] * c) / whole
        turn[axis, 1] = (target[axis, 1] * a - target[axis, 0] * b) / whole


@compiled(inline="always")
def _is_on_top(ids, t, x, y, label):
    """Whether a position is inside the frame and its nearest pixel has this label."""
    column, row = int(np.rint(x)), int(np.rint(y))
    if column < 0 or column >= ids.shape[2] or row < 0 or row >= ids.shape[1]:
        return False
    return ids[t, row, column] == label


@compiled()
def move_points(
    ids, maps, tubelet, patch, side, present, moving, still, displacement, visible, slot
):
    """Compute the motion of points from the first frame of each slice to that of the next.

    Args:
        ids: (T, H, W) uint8 id map.
        maps: (K + 1, T, 2, 3) float64: maps of what has each label, as `surface_maps`.
        tubelet: Frames in a token.
        patch: Side of a token, pixels.
        side: Number of points along each side of a token.
        present: The points are those in a token when its slice begins; otherwise those that were in
            its place when the clip began.
        moving: Whether the background moves as its maps say.
        still: Displacement of a background that does not, 0 or NaN.
        displacement: (slices, rows, columns, side * side, 2) float32, filled; pixels.
        visible: (slices, rows, columns, side * side) bool, filled.
        slot: (slices, rows, columns, side * side) int16, filled.
    """
    slices, rows, columns = displacement.shape[:3]
    before, after = np.empty((2, maps.shape[0], 2, 2))
    unmoved = np.float32(still)
    for s in range(slices):
        first = min(s, slices - 2) * tubelet
        second = first + tubelet
        source = s * tubelet if present else 0
        for label in range(maps.shape[0]):
            if first != source:
                _relate(maps[label, source], maps[label, first], before[label])
            if second != source:
                _relate(maps[label, source], maps[label, second], after[label])
        for row in range(rows):
            for i in range(side):
                y = row * patch + ((2 * i + 1) * patch) // (2 * side)
                line, one, other = ids[source, y], ids[first, y], ids[second, y]
                for j in range(side):
                    point = i * side + j
                    shift = ((2 * j + 1) * patch) // (2 * side)
                    for column in range(columns):
                        x = column * patch + shift
                        label = line[x]
                        slot[s, row, column, point] = np.int16(label) - np.int16(1)
                        if label == 0 and not moving:
                            displacement[s, row, column, point, 0] = unmoved
                            displacement[s, row, column, point, 1] = unmoved
                            visible[s, row, column, point] = one[x] == 0 and other[x] == 0
                            continue
                        dx = x - maps[label, source, 0, 2]
                        dy = y - maps[label, source, 1, 2]
                        at_x, at_y, to_x, to_y = float(x), float(y), float(x), float(y)
                        seen = True
                        if first != source:
                            turn, place = before[label], maps[label, first]
                            at_x = turn[0, 0] * dx + turn[0, 1] * dy + place[0, 2]
                            at_y = turn[1, 0] * dx + turn[1, 1] * dy + place[1, 2]
                            seen = _is_on_top(ids, first, at_x, at_y, label)
                        if second != source:
                            turn, place = after[label], maps[label, second]
                            to_x = turn[0, 0] * dx + turn[0, 1] * dy + place[0, 2]
                            to_y = turn[1, 0] * dx + turn[1, 1] * dy + place[1, 2]
                            seen = seen and _is_on_top(ids, second, to_x, to_y, label)
                        displacement[s, row, column, point, 0] = to_x - at_x
                        displacement[s, row, column, point, 1] = to_y - at_y
                        visible[s, row, column, point] = seen


@compiled()
def join_parts(displacement, visible, slot, rates, with_visible, out):
    """Write what is known of each token's points one after the other.

    Args:
        displacement: (slices, rows, columns, points, 2) float32.
        visible: (slices, rows, columns, points) bool.
        slot: (slices, rows, columns, points) int16.
        rates: (K + 1, slices, 3) float64, by label; without labels there are none to write.
        with_visible: Whether it is written which points are visible; NaN where their displacement
            is.
        out: (tokens, values) float32, filled: displacements, visibility, rates.
    """
    slices, rows, columns, points = slot.shape
    with_rates = len(rates) > 0
    token = 0
    for s in range(slices):
        for row in range(rows):
            for column in range(columns):
                line = out[token]
                token += 1
                own = displacement[s, row, column]
                at = 2 * points
                for point in range(points):
                    line[2 * point] = own[point, 0]
                    line[2 * point + 1] = own[point, 1]
                    if with_visible:
                        shown = np.float32(visible[s, row, column, point])
                        unknown = np.isnan(own[point, 0])
                        line[at + point] = np.float32(np.nan) if unknown else shown
                if with_rates:
                    at = out.shape[1] - 3 * points
                    for point in range(points):
                        rate = rates[slot[s, row, column, point] + 1, s]
                        for axis in range(3):
                            line[at + 3 * point + axis] = np.float32(rate[axis])
