"""The compiled loop that works out where layers are sampled from."""

import numpy as np

from smile_motion.renderer._sampling import MARGIN_PX, choose_level, find_walk
from smile_motion.runtime.compiled import compiled


@compiled()
def locate(
    order, maps, coarser, of_layer, tints, offset, size, cover, height, width,
    whole, base, real, tint, label,
):  # fmt: skip
    """Fill the records of one clip; see `Records`.

    order (T, L); maps (L, T, 1 + S, 2, 3); coarser, of_layer (labels) (L,); tints (L, T, 4);
    offset (L, levels) words; size (L, levels, 2); cover (L, n, 2).
    """
    for t in range(order.shape[0]):
        for place in range(order.shape[1]):
            layer = order[t, place]
            label[t, place] = of_layer[layer]
            tint[t, place] = tints[layer, t]
            for s in range(maps.shape[2]):
                map_ = maps[layer, t, s]
                level = choose_level(size[layer], map_, coarser[layer])
                if level < 0:
                    continue
                anchor, step_u, step_v, limit_u, limit_v, start_u, row_u, start_v, row_v, _ = (
                    find_walk(size[layer, level], map_)
                )
                margin = MARGIN_PX * (1 << coarser[layer])
                left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
                for i in range(cover.shape[1]):
                    x = map_[0, 0] * cover[layer, i, 0] + map_[0, 1] * cover[layer, i, 1]
                    y = map_[1, 0] * cover[layer, i, 0] + map_[1, 1] * cover[layer, i, 1]
                    left, right = min(left, x), max(right, x)
                    top, bottom = min(top, y), max(bottom, y)
                cx, cy = map_[0, 2], map_[1, 2]
                into = whole[t, place, s]
                into[0] = max(0, int(np.ceil(left + cx - margin)))
                into[1] = min(width - 1, int(np.floor(right + cx + margin)))
                into[2] = max(0, int(np.ceil(top + cy - margin)))
                into[3] = min(height - 1, int(np.floor(bottom + cy + margin)))
                if into[1] < into[0] or into[3] < into[2]:
                    into[0], into[1] = 0, -1
                    continue
                into[4] = size[layer, level, 0] + 2
                into[5], into[6], into[7] = step_u, step_v, anchor
                into[8], into[9] = limit_u, limit_v
                base[t, place, s] = offset[layer, level]
                numbers = real[t, place, s]
                numbers[0], numbers[1] = start_u, row_u
                numbers[2], numbers[3] = start_v, row_v
                numbers[4] = cy
