"""The compiled loops of procedural objects: soft edges, cells, spots, and colour under light.

Each takes the steps that OpenCV or NumPy would take, in the same order and the same precision.
"""

import math

import numpy as np

from smile_motion.runtime.compiled import compiled

FAR = np.float32(9)
"""Farther than any point of an object, whose coordinates lie in -1..1."""


@compiled(error_model="numpy")
def average_4x4(fine, coarse):
    """Average sub-pixels, as OpenCV's area interpolation does in ten times the time.

    Args:
        fine: (4 H, 4 W) uint8.
        coarse: (H, W) uint8, what is written; halves are rounded to even.
    """
    sums = np.empty(fine.shape[1], np.uint16)
    for row in range(coarse.shape[0]):
        at = 4 * row
        first, second, third, fourth = fine[at], fine[at + 1], fine[at + 2], fine[at + 3]
        for i in range(fine.shape[1]):
            sums[i] = (
                np.uint16(first[i]) + np.uint16(second[i]) + np.uint16(third[i])
            ) + np.uint16(fourth[i])
        for i in range(coarse.shape[1]):
            at = 4 * i
            total = np.uint32(sums[at]) + sums[at + 1] + sums[at + 2] + sums[at + 3]
            whole, rest = total >> 4, total & 15
            coarse[row, i] = whole + (1 if rest > 8 or (rest == 8 and whole & 1) else 0)


@compiled(error_model="numpy")
def find_cells(x, y, points, tone, first, second, own):
    """Find the nearest two of some points to every pixel.

    Args:
        x, y: (W,), (H,) float32: the pixels' coordinates.
        points: (n, 2) float32; tone (n,) float32.
        first, second: (H, W) float32: distances to the two, `FAR` at most.
        own: (H, W) float32: the tone of the nearest.
    """
    width = x.shape[0]
    for row in range(y.shape[0]):
        near, next_near, mine = first[row], second[row], own[row]
        near[:] = FAR
        next_near[:] = FAR
        mine[:] = np.float32(0)
        for point in range(points.shape[0]):
            dy = np.float64(y[row] - points[point, 1])
            for i in range(width):
                dx = np.float64(x[i] - points[point, 0])
                distance = np.float32(math.sqrt(dx * dx + dy * dy))
                closer = distance < near[i]
                other = near[i] if closer else distance
                next_near[i] = other if other < next_near[i] or closer else next_near[i]
                mine[i] = tone[point] if closer else mine[i]
                near[i] = distance if closer else near[i]


@compiled(error_model="numpy")
def find_spots(x, y, points, radius, nearest):
    """Find how many radii every pixel is away from the spot that is nearest in these terms.

    Args:
        x, y: (W,), (H,) float32: the pixels' coordinates.
        points: (n, 2) float32; radius (n,) float32.
        nearest: (H, W) float32, `FAR` at most.
    """
    for row in range(y.shape[0]):
        near = nearest[row]
        near[:] = FAR
        for point in range(points.shape[0]):
            dy = np.float64(y[row] - points[point, 1])
            for i in range(x.shape[0]):
                dx = np.float64(x[i] - points[point, 0])
                radii = np.float32(math.sqrt(dx * dx + dy * dy)) / radius[point]
                near[i] = radii if radii < near[i] else near[i]


@compiled(error_model="numpy")
def raise_cushion(depth, rim, height):
    """Raise a relief that is round within a rim and flat farther in.

    Args:
        depth: (H, W) float32: distance from the edge, pixels.
        rim: float32, pixels.
        height: (H, W) float32, pixels, what is written.
    """
    one = np.float32(1)
    for row in range(depth.shape[0]):
        for i in range(depth.shape[1]):
            share = depth[row, i] / rim
            share = one - (share if share < one else one)
            height[row, i] = np.sqrt(one - share * share) * rim


@compiled(error_model="numpy")
def light_surface(tone, colors, relief, direction, strength, alpha, rgba):
    """Colour a surface by its tone, light it by its slope, and leave clear pixels black.

    Args:
        tone: (H, W) float32; 0..1 runs along colours (n, 3) float64 in 0..1.
        relief: (H, W) float32 height, pixels.
        direction: (2,) float64 of the light; strength: how much brighter a slope of 1 towards it
            is.
        alpha: (H, W) uint8.
        rgba: (H, W, 4) uint8, what is written.
    """
    height, width = tone.shape
    stops = colors.shape[0]
    place = np.empty(stops)
    for stop in range(stops):
        place[stop] = stop / (stops - 1)
    slope = np.empty((stops - 1, 3))
    for stop in range(stops - 1):
        for c in range(3):
            slope[stop, c] = (colors[stop + 1, c] - colors[stop, c]) / (
                place[stop + 1] - place[stop]
            )
    for row in range(height):
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        down = np.float32(max(below - above, 1))
        for i in range(width):
            if alpha[row, i] == 0:
                rgba[row, i] = 0
                continue
            left, right = max(i - 1, 0), min(i + 1, width - 1)
            across = np.float32(max(right - left, 1))
            dy = np.float64((relief[below, i] - relief[above, i]) / down)
            dx = np.float64((relief[row, right] - relief[row, left]) / across)
            light = 1 + strength * (dx * direction[0] + dy * direction[1])
            light = min(max(light, 0.35), 1.7)
            value = np.float64(tone[row, i])
            stop = 0
            while stop < stops - 2 and value >= place[stop + 1]:
                stop += 1
            for c in range(3):
                if value < 0:
                    color = colors[0, c]
                elif value >= 1:
                    color = colors[stops - 1, c]
                else:
                    color = slope[stop, c] * (value - place[stop]) + colors[stop, c]
                rgba[row, i, c] = np.uint8(min(max(color * light * 255, 0.0), 255.0))
            rgba[row, i, 3] = alpha[row, i]
