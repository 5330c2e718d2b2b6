"""The compiled loops that count pixels of an id map."""

import numpy as np

from smile_motion.runtime.compiled import compiled


@compiled()
def count_ids(ids, slots):
    """Pixels of each slot in each frame: (K, T) int64 from an id map (T, H, W) uint8."""
    counts = np.zeros((slots + 1, ids.shape[0]), dtype=np.int64)
    for t in range(ids.shape[0]):
        for y in range(ids.shape[1]):
            for x in range(ids.shape[2]):
                counts[ids[t, y, x], t] += 1
    return counts[1:]


@compiled()
def count_tokens(ids, boxes, tubelet, patch, counts):
    """Add to counts (K, slices, rows, columns) int32 the pixels of each slot in each token.

    boxes (K, T, 4) float64 bound each object, in pixels; only they are looked through. Pixels are
    first summed down the columns of a row of tokens, which vector instructions do best.
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
