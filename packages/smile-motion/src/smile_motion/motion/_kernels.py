"""Compiled loops that turn uniform random numbers into motion.

Plain loops rather than matrix products, whose last bit differs between processors: a plan must be
the same everywhere.
"""

import math

import numpy as np

from smile_motion.runtime.compiled import compiled
from smile_motion.runtime.sorting import rank


@compiled()
def draw_smooth_paths(uniform, smoothing, samples, extent, span, shared, whole):
    """Draw Gaussian-smoothed paths; see `GaussianPath`.

    Args:
        uniform: (K, 2 * points + 4) float64: random numbers in 0..1.
        smoothing: (points, points) float64: transpose of the filter's matrix.
        samples: (T,) int64: way-point of each frame.
        extent: (2, 2) float64: lowest and highest extent of a path along x and along y, pixels.
        span: (2,) float64: width and height of the frame, pixels.
        shared: Whether both axes have the same extent.
        whole: Whether extent and start are whole pixels.

    Returns:
        (K, T, 2) float64 centers, pixels.
    """
    count, frames = uniform.shape[0], samples.shape[0]
    points = smoothing.shape[0]
    smooth = np.empty(points)
    centre = np.empty((count, frames, 2))
    for slot in range(count):
        for axis in range(2):
            smooth[:] = 0.0
            for i in range(points):
                drawn = uniform[slot, axis * points + i]
                for j in range(points):
                    smooth[j] += smoothing[i, j] * drawn
            low, high = smooth.min(), smooth.max()
            drawn = uniform[slot, 2 * points + (0 if shared else axis)]
            reach = extent[axis, 0] + (extent[axis, 1] - extent[axis, 0]) * drawn
            if whole:
                reach = math.floor(reach)
            start = uniform[slot, 2 * points + 2 + axis] * (span[axis] - reach)
            if whole:
                start = math.floor(start)
            for t in range(frames):
                unit = (smooth[samples[t]] - low) / (high - low)
                value = unit * reach + start
                centre[slot, t, axis] = (math.floor(value) if whole else value) - 0.5
    return centre


@compiled()
def draw_keyframed(uniform, inner, frames, rotation_deg, scale):
    """Draw angles and scales at random keyframes, linear in between; see `KeyframeValues`.

    Args:
        uniform: (K, 2 * (inner + 2) + T) float64: random numbers in 0..1.
        inner: Number of keyframes between the first and the last frame.
        frames: Number of frames T.
        rotation_deg: (low, high) of the angle at a keyframe, degrees.
        scale: (low, high) of the scale at a keyframe.

    Returns:
        angle_deg (K, T) and scale (K, T, 2), both float64.
    """
    count, keys = uniform.shape[0], inner + 2
    angle, factor = np.empty((count, frames)), np.empty((count, frames, 2))
    times, pool = np.empty(keys, np.int64), np.empty(max(frames - 2, 0), np.int64)
    for slot in range(count):
        for i in range(pool.shape[0]):
            pool[i] = i + 1
        for i in range(inner):
            j = i + int(uniform[slot, 2 * keys + i] * (pool.shape[0] - i))
            pool[i], pool[j] = pool[j], pool[i]
        times[0], times[keys - 1] = 0, max(frames - 1, 1)
        for i in range(inner):  # into times[1 : i + 1], which ascend
            place = i + 1
            while place > 1 and times[place - 1] > pool[i]:
                times[place] = times[place - 1]
                place -= 1
            times[place] = pool[i]
        for key in range(keys - 1):
            for t in range(times[key], min(times[key + 1], frames - 1) + 1):
                u = (t - times[key]) / (times[key + 1] - times[key])
                for channel in range(2):
                    low, high = rotation_deg if channel == 0 else scale
                    before = low + (high - low) * uniform[slot, channel * keys + key]
                    after = low + (high - low) * uniform[slot, channel * keys + key + 1]
                    value = before + (after - before) * u
                    if channel == 0:
                        angle[slot, t] = value
                    else:
                        factor[slot, t, 0] = factor[slot, t, 1] = value
    return angle, factor


@compiled()
def order_by_area(base_size, scale, order):
    """Order slots by mean area, the largest at the bottom: order (T, K) int64, filled."""
    area = np.empty(base_size.shape[0])
    for slot in range(area.shape[0]):
        width, height = 0.0, 0.0
        for t in range(scale.shape[1]):
            width += abs(scale[slot, t, 0])
            height += abs(scale[slot, t, 1])
        area[slot] = -base_size[slot, 0] * width * base_size[slot, 1] * height
    bottom_up = rank(area)
    for t in range(order.shape[0]):
        for place in range(area.shape[0]):
            order[t, place] = bottom_up[place]


@compiled()
def place_objects(base_size, scale, angle_deg, centre):
    """Compute the affine maps of objects, (K, T, 2, 3) float64; see `MotionPlan.placement`."""
    count, frames = angle_deg.shape
    maps = np.empty((count, frames, 2, 3))
    for slot in range(count):
        for t in range(frames):
            turn = angle_deg[slot, t] * (math.pi / 180)
            cosine, sine = math.cos(turn), math.sin(turn)
            width = base_size[slot, 0] * scale[slot, t, 0]
            height = base_size[slot, 1] * scale[slot, t, 1]
            maps[slot, t, 0, 0], maps[slot, t, 0, 1] = cosine * width, sine * height
            maps[slot, t, 1, 0], maps[slot, t, 1, 1] = -sine * width, cosine * height
            maps[slot, t, 0, 2], maps[slot, t, 1, 2] = centre[slot, t, 0], centre[slot, t, 1]
    return maps
