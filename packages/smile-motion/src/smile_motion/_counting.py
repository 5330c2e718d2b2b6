"""The compiled loops that count pixels of an id map."""

import numpy as np
from numba import njit


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
