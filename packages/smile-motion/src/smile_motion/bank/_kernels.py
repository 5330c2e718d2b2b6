"""Compiled kernel that premultiplies colors by alpha."""

import numpy as np

from smile_motion.runtime.compiled import compiled


@compiled()
def premultiply(rgba, level):
    """Multiply colors by alpha / 255.

    Args:
        rgba: (H, W, 4) uint8 straight alpha.
        level: (H, W, 4) float32, 0 to 255; written to.
    """
    for row in range(rgba.shape[0]):
        for i in range(rgba.shape[1]):
            alpha = np.float32(rgba[row, i, 3])
            share = alpha / np.float32(255)
            for c in range(3):
                level[row, i, c] = np.float32(rgba[row, i, c]) * share
            level[row, i, 3] = alpha
