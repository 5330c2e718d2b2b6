"""Compiled loops that compute masks from random keys.

Every choice is "those with the smallest keys", so that every device that sorts makes the same one.
Keys of a clip: one for each token, then one for each position, then one for each time slice.
"""

import numpy as np

from smile_motion.runtime.compiled import compiled
from smile_motion.runtime.sorting import rank, select


@compiled(inline="always")
def _bar(keys, wanted):
    """Return the `wanted`-th smallest key."""
    if wanted <= 0:
        return -np.inf
    return select(keys.copy(), wanted)


@compiled()
def hide_random(keys, total, hidden):
    """Hide the `total` tokens with the smallest keys: hidden (B, slices, positions) bool."""
    slices, positions = hidden.shape[1:]
    for clip in range(hidden.shape[0]):
        bar = _bar(keys[clip, : slices * positions], total)
        for t in range(slices):
            for place in range(positions):
                hidden[clip, t, place] = keys[clip, t * positions + place] <= bar


@compiled()
def hide_tubes(keys, each, hidden):
    """Hide the `each` positions with the smallest keys in every slice."""
    slices, positions = hidden.shape[1:]
    for clip in range(hidden.shape[0]):
        of_position = keys[clip, slices * positions : slices * positions + positions]
        bar = _bar(of_position, each)
        for t in range(slices):
            for place in range(positions):
                hidden[clip, t, place] = of_position[place] <= bar


@compiled()
def hide_motion_bins(motion, keys, each, share, hidden):
    """Hide all positions but a share of the moving half and some of the other; see
    `mask_motion_bins`.

    Args:
        motion: (B, positions) float64: mean displacement.
        keys: (B, slices * positions + positions + slices) float64: random keys, in 0..1.
        each: Number of positions to hide in every slice.
        share: Share of the visible positions from the moving half.
        hidden: (B, slices, positions) bool, filled.
    """
    slices, positions = hidden.shape[1:]
    half = positions // 2
    shown = positions - each
    for clip in range(hidden.shape[0]):
        of_position = keys[clip, slices * positions : slices * positions + positions]
        # Ties, such as positions that stand still, are broken by other keys than those that choose.
        by_other = rank(keys[clip, :positions])
        ranked = by_other[rank(-motion[clip][by_other])]
        moving = np.zeros(positions, np.bool_)
        for place in ranked[:half]:
            moving[place] = True
        wanted = min(max(int(np.rint(share * shown)), shown - (positions - half)), half)
        hidden[clip] = True
        left_moving, left_still = wanted, shown - wanted
        for place in rank(of_position):
            if moving[place] and left_moving > 0:
                left_moving -= 1
                hidden[clip, :, place] = False
            elif not moving[place] and left_still > 0:
                left_still -= 1
                hidden[clip, :, place] = False


@compiled()
def hide_trajectories(coverage, keys, threshold, total, share, hidden):
    """Hide trajectories first, then tubes, `total` tokens exactly; see `mask_trajectory`.

    Args:
        coverage: (B, K, slices, positions) float32: share of each token that each object covers.
        keys: (B, slices * positions + positions + slices) float64: random keys, in 0..1.
        threshold: Coverage above which a token is on a trajectory.
        total: Number of tokens to hide.
        share: Share of trajectory tokens to hide.
        hidden: (B, slices, positions) bool, filled.
    """
    slices, positions = hidden.shape[1:]
    tokens = slices * positions
    on = np.empty((slices, positions), np.bool_)
    of_token = np.empty(tokens)
    for clip in range(hidden.shape[0]):
        key = keys[clip, :tokens].reshape(slices, positions)
        count = 0
        for t in range(slices):
            for place in range(positions):
                covered = np.float32(0)
                for slot in range(coverage.shape[1]):
                    covered += coverage[clip, slot, t, place]
                on[t, place] = covered > threshold
                of_token[count] = key[t, place]
                count += on[t, place]
        chosen = min(max(int(np.rint(count * share)), total - (tokens - count)), total)
        bar = _bar(of_token[:count], chosen)
        left = total - chosen
        of_slice = keys[clip, tokens + positions :]
        for t in range(slices):
            for place in range(positions):
                hidden[clip, t, place] = on[t, place] and key[t, place] <= bar
        for place in rank(keys[clip, tokens : tokens + positions]):
            if left == 0:
                break
            free = 0
            for t in range(slices):
                free += not on[t, place]
            for t in range(slices):
                if on[t, place]:
                    continue
                before = 0
                if free > left:
                    for other in range(slices):
                        before += not on[other, place] and of_slice[other] < of_slice[t]
                hidden[clip, t, place] = before < left
            left -= min(free, left)


@compiled()
def hide_official(marked, keys, each, visible_share, hidden):
    """Hide tubes, redraw what is marked, and flip tokens elsewhere until the total is met.

    Args:
        marked: (B, slices, positions) bool: tokens in the objects' boxes.
        keys: (B, slices * positions + positions + slices) float64: random keys, in 0..1.
        each: Mean number of tokens to hide in a slice.
        visible_share: Share of marked tokens left visible.
        hidden: (B, slices, positions) bool, filled.
    """
    slices, positions = hidden.shape[1:]
    tokens = slices * positions
    hide_tubes(keys, each, hidden)
    of_token = np.empty(tokens)
    for clip in range(hidden.shape[0]):
        key = keys[clip, :tokens].reshape(slices, positions)
        count = 0
        for t in range(slices):
            for place in range(positions):
                if marked[clip, t, place]:
                    of_token[count] = key[t, place]
                    count += 1
        total = each * slices
        shown = int(count * visible_share)
        shown = min(max(shown, count - total), count + (tokens - count) - total)
        bar = _bar(of_token[:count], shown)
        excess = -(total - (count - shown))
        for t in range(slices):
            for place in range(positions):
                if marked[clip, t, place]:
                    hidden[clip, t, place] = key[t, place] > bar
                else:
                    excess += hidden[clip, t, place]
        count = 0
        for t in range(slices):
            for place in range(positions):
                if not marked[clip, t, place] and hidden[clip, t, place] == (excess > 0):
                    of_token[count] = key[t, place]
                    count += 1
        bar = _bar(of_token[:count], abs(excess))
        for t in range(slices):
            for place in range(positions):
                if (
                    not marked[clip, t, place]
                    and hidden[clip, t, place] == (excess > 0)
                    and key[t, place] <= bar
                ):
                    hidden[clip, t, place] = excess < 0


@compiled()
def mark_boxes(centre, side, tubelet, patch, marked):
    """Mark the tokens under upright boxes, and one more to the right and below (official).

    centre, side (K, T, 2) pixels; marked (slices, rows, columns) bool, cleared before.
    """
    rows, columns = marked.shape[1:]
    for slot in range(centre.shape[0]):
        for t in range(centre.shape[1]):
            x, y = centre[slot, t, 0] + 0.5, centre[slot, t, 1] + 0.5
            width, height = abs(side[slot, t, 0]), abs(side[slot, t, 1])
            left = max(0, int(np.floor(max(x - width / 2, 0) / patch)))
            top = max(0, int(np.floor(max(y - height / 2, 0) / patch)))
            right = min(columns, int(np.floor(min(x + width / 2, columns * patch) / patch)) + 2)
            bottom = min(rows, int(np.floor(min(y + height / 2, rows * patch) / patch)) + 2)
            for row in range(top, bottom):
                for column in range(left, right):
                    marked[t // tubelet, row, column] = True


@compiled()
def split_tokens(hidden, visible, masked):
    """Number the tokens, ascending: visible (B, Nv) and masked (B, Nm) int64, filled."""
    for clip in range(hidden.shape[0]):
        seen, unseen, token = 0, 0, 0
        for t in range(hidden.shape[1]):
            for place in range(hidden.shape[2]):
                if hidden[clip, t, place]:
                    masked[clip, unseen] = token
                    unseen += 1
                else:
                    visible[clip, seen] = token
                    seen += 1
                token += 1
