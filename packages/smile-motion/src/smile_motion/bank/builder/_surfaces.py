"""Compiled kernels of procedural objects: soft edges, cells, spots, and lit color.

Each takes the steps of the OpenCV or NumPy equivalent, in the same order and precision.
"""

import math

import numpy as np

from smile_motion.runtime.compiled import compiled

FAR = np.float32(9)
"""Larger than any distance within an object, whose coordinates are -1 to 1."""


@compiled(error_model="numpy")
def average_4x4(fine, coarse):
    """Average 4 x 4 sub-pixels as OpenCV's area interpolation does, in a tenth of its time.

    Args:
        fine: (4 H, 4 W) uint8.
        coarse: (H, W) uint8, rounded half to even; written to.
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
    """Find the two nearest of several points for every pixel.

    Args:
        x: (W,) float32, x of the pixels.
        y: (H,) float32, y of the pixels.
        points: (n, 2) float32, x then y.
        tone: (n,) float32, value of each point.
        first: (H, W) float32, distance to the nearest point, at most `FAR`; written to.
        second: (H, W) float32, distance to the second nearest, at most `FAR`; written to.
        own: (H, W) float32, tone of the nearest point; written to.
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
    """Find the smallest distance of every pixel to a spot, in radii of that spot.

    Args:
        x: (W,) float32, x of the pixels.
        y: (H,) float32, y of the pixels.
        points: (n, 2) float32, centers of the spots, x then y.
        radius: (n,) float32, radius of each spot.
        nearest: (H, W) float32, at most `FAR`; written to.
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
    """Make a relief that is rounded within a rim and flat inside it.

    Args:
        depth: (H, W) float32, distance from the edge, pixels.
        rim: Width of the rim, float32, pixels.
        height: (H, W) float32, pixels; written to.
    """
    one = np.float32(1)
    for row in range(depth.shape[0]):
        for i in range(depth.shape[1]):
            share = depth[row, i] / rim
            share = one - (share if share < one else one)
            height[row, i] = np.sqrt(one - share * share) * rim


@compiled(error_model="numpy")
def light_surface(tone, colors, relief, direction, strength, alpha, rgba):
    """Color a surface by its tone and light it by its slope; transparent pixels become black.

    Args:
        tone: (H, W) float32, 0 to 1: position along `colors`.
        colors: (n, 3) float64 RGB, 0 to 1, interpolated linearly.
        relief: (H, W) float32, height, pixels.
        direction: (2,) float64, direction of the light, x then y.
        strength: Relative gain in brightness of a slope of 1 towards the light.
        alpha: (H, W) uint8.
        rgba: (H, W, 4) uint8; written to.
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
