"""Sorting in compiled loops: numpy's functions take numba six seconds to compile, these one."""

import numpy as np

from smile_motion.runtime.compiled import compiled


@compiled()
def rank(keys):
    """Sort stably: the indices of ascending keys, (N,) float64 -> (N,) int64; no NaN."""
    count = keys.shape[0]
    order, other = np.arange(count), np.empty(count, np.int64)
    width = 1
    while width < count:  # merge neighbouring runs of `width`
        for begin in range(0, count, 2 * width):
            middle, end = min(begin + width, count), min(begin + 2 * width, count)
            left, right = begin, middle
            for place in range(begin, end):
                if right == end or (left < middle and keys[order[left]] <= keys[order[right]]):
                    other[place] = order[left]
                    left += 1
                else:
                    other[place] = order[right]
                    right += 1
        order, other = other, order
        width *= 2
    return order


@compiled()
def select(keys, wanted):
    """Find the `wanted`-th smallest of keys, (N,) float64, counted from 1; no NaN.

    Hoare's selection: keys are put in another order, (N,) float64.
    """
    low, high, place = 0, keys.shape[0] - 1, wanted - 1
    while low < high:
        pivot = keys[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while keys[left] < pivot:
                left += 1
            while keys[right] > pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if place <= right:
            high = right
        elif place >= left:
            low = left
        else:
            break
    return keys[place]
