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
def move_present(ids, maps, tubelet, patch, side, background, displacement, visible, slot):
    """Compute the motion of the points that are in a token when its slice begins.

    Args:
        ids: (T, H, W) uint8 id map.
        maps: (K, T, 2, 3) float64: unit coordinates -> frame pixels.
        tubelet: Frames in a token.
        patch: Side of a token, pixels.
        side: Number of points along each side of a token.
        background: Displacement of the background, 0 or NaN.
        displacement: (slices, rows, columns, side * side, 2) float32, filled; pixels.
        visible: (slices, rows, columns, side * side) bool, filled.
        slot: (slices, rows, columns, side * side) int16, filled.
    """
    slices, rows, columns = displacement.shape[:3]
    turn = np.empty((maps.shape[0], 2, 2))
    still = np.float32(background)
    for s in range(slices):
        here = s * tubelet
        sign = 1.0 if s + 1 < slices else -1.0
        there = here + tubelet if s + 1 < slices else here - tubelet
        for k in range(maps.shape[0]):
            _relate(maps[k, here], maps[k, there], turn[k])
        for row in range(rows):
            for i in range(side):
                y = row * patch + ((2 * i + 1) * patch) // (2 * side)
                line, later = ids[here, y], ids[there, y]
                for j in range(side):
                    point = i * side + j
                    shift = ((2 * j + 1) * patch) // (2 * side)
                    for column in range(columns):
                        x = column * patch + shift
                        label = line[x]
                        slot[s, row, column, point] = np.int16(label) - np.int16(1)
                        if label == 0:
                            displacement[s, row, column, point, 0] = still
                            displacement[s, row, column, point, 1] = still
                            visible[s, row, column, point] = later[x] == 0
                            continue
                        k = label - 1
                        dx, dy = x - maps[k, here, 0, 2], y - maps[k, here, 1, 2]
                        to_x = turn[k, 0, 0] * dx + turn[k, 0, 1] * dy + maps[k, there, 0, 2]
                        to_y = turn[k, 1, 0] * dx + turn[k, 1, 1] * dy + maps[k, there, 1, 2]
                        displacement[s, row, column, point, 0] = sign * (to_x - x)
                        displacement[s, row, column, point, 1] = sign * (to_y - y)
                        visible[s, row, column, point] = _is_on_top(ids, there, to_x, to_y, label)


@compiled()
def move_started(ids, maps, tubelet, patch, side, background, displacement, visible, slot):
    """Follow what was in a token's place when the clip began; arguments as of `move_present`."""
    slices, rows, columns = displacement.shape[:3]
    turn = np.empty((maps.shape[0], slices, 2, 2))
    still = np.float32(background)
    for k in range(maps.shape[0]):
        for s in range(slices):
            _relate(maps[k, 0], maps[k, s * tubelet], turn[k, s])
    for s in range(slices):
        here = min(s, slices - 2) * tubelet
        there = here + tubelet
        for row in range(rows):
            for i in range(side):
                y = row * patch + ((2 * i + 1) * patch) // (2 * side)
                line, first, second = ids[0, y], ids[here, y], ids[there, y]
                for j in range(side):
                    point = i * side + j
                    shift = ((2 * j + 1) * patch) // (2 * side)
                    for column in range(columns):
                        x = column * patch + shift
                        label = line[x]
                        slot[s, row, column, point] = np.int16(label) - np.int16(1)
                        if label == 0:
                            displacement[s, row, column, point, 0] = still
                            displacement[s, row, column, point, 1] = still
                            visible[s, row, column, point] = first[x] == 0 and second[x] == 0
                            continue
                        k = label - 1
                        dx, dy = x - maps[k, 0, 0, 2], y - maps[k, 0, 1, 2]
                        before, after = turn[k, here // tubelet], turn[k, there // tubelet]
                        at_x = before[0, 0] * dx + before[0, 1] * dy + maps[k, here, 0, 2]
                        at_y = before[1, 0] * dx + before[1, 1] * dy + maps[k, here, 1, 2]
                        to_x = after[0, 0] * dx + after[0, 1] * dy + maps[k, there, 0, 2]
                        to_y = after[1, 0] * dx + after[1, 1] * dy + maps[k, there, 1, 2]
                        displacement[s, row, column, point, 0] = to_x - at_x
                        displacement[s, row, column, point, 1] = to_y - at_y
                        visible[s, row, column, point] = _is_on_top(
                            ids, here, at_x, at_y, label
                        ) and _is_on_top(ids, there, to_x, to_y, label)
