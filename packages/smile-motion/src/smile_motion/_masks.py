"""The compiled loop that draws trajectory masks."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def draw_trajectory_mask(coverage, threshold, total, share, uniform, hidden):
    """Mask trajectories first, then tubes, `total` tokens exactly; see `mask_trajectory`.

    coverage  (K, slices, positions) float32; share of trajectory tokens to mask.
    uniform   (slices * positions + positions + slices,) float64 in 0..1: the randomness.
    hidden    (slices, positions) bool, filled.
    """
    slices, positions = hidden.shape
    on = np.empty(slices * positions, np.int64)
    count = 0
    for t in range(slices):
        for place in range(positions):
            covered = np.float32(0)
            for slot in range(coverage.shape[0]):
                covered += coverage[slot, t, place]
            hidden[t, place] = covered > threshold
            if covered > threshold:
                on[count] = t * positions + place
                count += 1
    off = slices * positions - count
    chosen = min(max(int(np.rint(count * share)), total - off), total)
    _shuffle(on, count, count - chosen, uniform[: slices * positions])
    order = np.arange(positions)
    drawn = uniform[slices * positions :]
    _shuffle(order, positions, positions, drawn[:positions])
    left = total - chosen
    free = np.empty(slices, np.int64)
    for place in order:
        found = 0
        for t in range(slices):
            if not hidden[t, place]:
                free[found] = t
                found += 1
        if found > left:
            _shuffle(free, found, found, drawn[positions:])
            found = left
        for i in range(found):
            hidden[free[i], place] = True
        left -= found
        if left == 0:
            break
    # Trajectory tokens were marked as hidden so far: uncover those that were not chosen.
    for i in range(count - chosen):
        hidden[on[i] // positions, on[i] % positions] = False


@njit(cache=True, nogil=True)
def _shuffle(values, count, wanted, uniform):
    """Bring a random choice of `wanted` of the first `count` values to the front (Fisher-Yates)."""
    for i in range(min(wanted, count - 1)):
        j = i + int(uniform[i] * (count - i))
        values[i], values[j] = values[j], values[i]
