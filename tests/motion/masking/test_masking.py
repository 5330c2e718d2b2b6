import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.options import PathName
from smile_motion.masking.masks import (
    TokenMask,
    mask_motion_bins,
    mask_official,
    mask_random,
    mask_trajectory,
    mask_tube,
)
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid, masked_tokens
from smile_motion.truth.instances import Truth
from support.published import PublishedStatistics

GRID = TokenGrid()


def hidden(mask: TokenMask, grid: TokenGrid) -> np.ndarray:
    """Masked tokens as (slices, positions) bool, after checking that the mask parts the tokens."""
    assert (np.sort(np.concatenate([mask.visible, mask.masked])) == np.arange(grid.tokens)).all()
    assert (np.diff(mask.visible) > 0).all()
    assert (np.diff(mask.masked) > 0).all()
    flags = np.zeros(grid.tokens, bool)
    flags[mask.masked] = True
    return flags.reshape(grid.slices, grid.slice_tokens)


@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_tubes_mask_the_same_positions_in_every_slice(seed: int, ratio: float) -> None:
    flags = hidden(mask_tube(np.random.default_rng(seed), GRID, ratio), GRID)
    assert (flags == flags[0]).all()
    assert flags[0].sum() == int(ratio * 196)


@given(
    st.integers(0, 2**32),
    st.sampled_from([0.5, 0.8, 0.9]),
    st.floats(0, 1),
    st.sampled_from([GRID, TokenGrid(height=112, width=96), TokenGrid(frames=4, tubelet=1)]),
)
@settings(deadline=None)
def test_trajectory_masks_are_exact_and_tubes_off_the_trajectories(
    seed: int, ratio: float, share: float, grid: TokenGrid
) -> None:
    rng = np.random.default_rng(seed)
    coverage = (rng.random((2, *grid.shape)) < share / 2).astype(np.float32)
    flags = hidden(mask_trajectory(rng, grid, ratio, coverage), grid)
    total = masked_tokens(grid, ratio)
    assert flags.sum() == total
    on = (coverage.sum(0) > 0).reshape(flags.shape)
    feasible = np.clip(round(on.sum() * ratio), total - (~on).sum(), total)
    assert flags[on].sum() == feasible
    off_masked = np.array(
        [flags[~on[:, p], p].mean() if (~on[:, p]).any() else 0.0 for p in range(grid.slice_tokens)]
    )
    assert ((off_masked > 0) & (off_masked < 1)).sum() <= 1  # one position makes the total exact


def test_the_share_of_visible_trajectory_tokens_is_an_option() -> None:
    coverage = np.zeros((1, *GRID.shape), np.float32)
    coverage[:, :, 4:9, 4:9] = 1
    on = coverage[0].reshape(8, 196) > 0
    for share in (0.0, 0.1, 0.5, 1.0):
        mask = mask_trajectory(np.random.default_rng(1), GRID, 0.8, coverage, visible_share=share)
        assert (~hidden(mask, GRID))[on].mean() == pytest.approx(share, abs=0.5 / on.sum())


def test_a_threshold_on_coverage_narrows_the_trajectory() -> None:
    coverage = np.full((1, *GRID.shape), 0.2, np.float32)
    coverage[:, :, 3:6, 3:6] = 0.9
    mask = mask_trajectory(
        np.random.default_rng(1), GRID, 0.8, coverage, threshold=0.5, visible_share=0.0
    )
    assert hidden(mask, GRID).reshape(GRID.shape)[:, 3:6, 3:6].all()


def test_masks_follow_real_trajectories(small_bank: ObjectBank) -> None:
    shares = []
    for index in range(40):
        plan = MotionRecipe.paper().plan(keyed_generator(0, Stream.MOTION, index=index), small_bank)
        coverage = Truth(plan, small_bank).token_coverage(GRID)
        rng = keyed_generator(0, Stream.MASK, index=index)
        flags = hidden(mask_trajectory(rng, GRID, 0.8, coverage, visible_share=0.1), GRID)
        on = (coverage.sum(0) > 0).reshape(flags.shape)
        assert flags.sum() == 1248
        shares.append(flags[on].mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.8, 0.95]))
def test_random_masks_are_exact_and_differ_between_slices(seed: int, ratio: float) -> None:
    flags = hidden(mask_random(np.random.default_rng(seed), GRID, ratio), GRID)
    assert flags.sum() == masked_tokens(GRID, ratio)
    assert (flags != flags[0]).any()


def test_random_masks_hide_every_token_equally_often() -> None:
    rng = np.random.default_rng(5)
    often = np.mean([hidden(mask_random(rng, GRID, 0.8), GRID) for _ in range(400)], axis=0)
    assert abs(often - 1248 / 1568).max() < 6 * np.sqrt(0.8 * 0.2 / 400)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["gaussian", "linear"])
def test_official_masks_have_the_published_statistics(
    small_bank: ObjectBank, published: PublishedStatistics, path: PathName
) -> None:
    """The trajectory's share of the tokens, and what is visible inside and outside of it."""
    recipe = MotionRecipe.named("official", path=path)
    measured: dict[str, list[float]] = {}
    for index in range(3000):
        plan = recipe.plan(keyed_generator(4, Stream.MOTION, index=index), small_bank)
        rng = keyed_generator(4, Stream.MASK, index=index)
        flags = hidden(mask_official(rng, GRID, 0.8, plan, visible_share=0.2), GRID)
        on = marked_by_boxes(plan)
        found = {
            "masked_tokens": flags.sum(),
            "trajectory_token_share": on.mean(),
            "visible_share_inside_trajectory": (~flags)[on].mean(),
            "visible_share_outside_trajectory": (~flags)[~on].mean(),
        }
        for name, value in found.items():
            measured.setdefault(name, []).append(value)
    for name, values in measured.items():
        published.compare(path, name, np.array(values)[:, None])


def marked_by_boxes(plan: MotionPlan) -> np.ndarray:
    """Tokens under upright boxes and one more to the right and below: (slices, positions)."""
    on = np.zeros(GRID.shape, bool)
    low = (plan.centre + 0.5 - plan.base_size[:, None] * plan.scale / 2).clip(0, 224) // 16
    high = (plan.centre + 0.5 + plan.base_size[:, None] * plan.scale / 2).clip(0, 224) // 16
    for slot in range(plan.slots):
        for t in range(plan.frames):
            (x0, y0), (x1, y1) = low[slot, t].astype(int), high[slot, t].astype(int)
            on[t // 2, y0 : y1 + 2, x0 : x1 + 2] = True
    return on.reshape(GRID.slices, -1)


def test_official_masks_break_up_tubes_away_from_the_objects(small_bank: ObjectBank) -> None:
    """With its 10 % visible on trajectories, 72 % elsewhere are masked, 60 % in whole tubes."""
    outside, whole = [], []
    for index in range(300):
        plan = MotionRecipe.official().plan(
            keyed_generator(4, Stream.MOTION, index=index), small_bank
        )
        rng = keyed_generator(4, Stream.MASK, index=index)
        flags = hidden(mask_official(rng, GRID, 0.8, plan), GRID)
        on = marked_by_boxes(plan)
        assert flags[on].mean() == pytest.approx(0.9, abs=1 / on.sum())
        outside.append(flags[~on].mean())
        free = ~on.any(axis=0)
        if free.any():
            whole.append((flags[:, free] == flags[0, free]).all(axis=0).mean())
    assert np.mean(outside) == pytest.approx(0.72, abs=0.015)
    assert np.mean(whole) == pytest.approx(0.60, abs=0.03)


def test_a_mask_is_the_same_alone_and_in_a_batch(small_bank: ObjectBank) -> None:
    plans = [
        MotionRecipe.paper().plan(keyed_generator(0, Stream.MOTION, index=index), small_bank)
        for index in range(6)
    ]
    coverage = np.stack([Truth(plan, small_bank).token_coverage(GRID) for plan in plans])

    def generators() -> list[np.random.Generator]:
        return [keyed_generator(0, Stream.MASK, index=index) for index in range(6)]

    batches = [
        (mask_random(generators(), GRID, 0.8), lambda rng, _: mask_random(rng, GRID, 0.8)),
        (mask_tube(generators(), GRID, 0.8), lambda rng, _: mask_tube(rng, GRID, 0.8)),
        (
            mask_trajectory(generators(), GRID, 0.8, coverage),
            lambda rng, i: mask_trajectory(rng, GRID, 0.8, coverage[i]),
        ),
        (
            mask_official(generators(), GRID, 0.8, plans),
            lambda rng, i: mask_official(rng, GRID, 0.8, plans[i]),
        ),
    ]
    for batch, alone in batches:
        for index, rng in enumerate(generators()):
            mask = alone(rng, index)
            assert (batch.masked[index] == mask.masked).all()
            assert (batch.visible[index] == mask.visible).all()


def test_coverage_of_another_grid_is_refused() -> None:
    with pytest.raises(InputError, match="coverage has shape"):
        mask_trajectory(np.random.default_rng(0), GRID, 0.8, np.zeros((2, 8, 7, 7), np.float32))
    with pytest.raises(InputError, match="are shares"):
        mask_trajectory(
            np.random.default_rng(0), GRID, 0.8, np.zeros((2, 8, 14, 14)), visible_share=20
        )


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.2, 1.5, 0.001])
def test_ratios_that_mask_nothing_or_all_are_refused(ratio: float) -> None:
    with pytest.raises(InputError, match="mask ratio"):
        mask_tube(np.random.default_rng(0), GRID, ratio)


@given(
    st.integers(0, 2**32),
    st.sampled_from([0.3, 0.8, 0.9]),
    st.floats(0, 1),
    st.sampled_from([GRID, TokenGrid(height=112, width=48)]),
)
@settings(deadline=None)
def test_motion_bins_show_a_share_of_the_moving_half(
    seed: int, ratio: float, share: float, grid: TokenGrid
) -> None:
    rng = np.random.default_rng(seed)
    motion = rng.permutation(grid.slice_tokens).astype(float)
    flags = hidden(mask_motion_bins(rng, grid, ratio, motion, share=share), grid)
    assert (flags == flags[0]).all()
    assert flags[0].sum() == int(ratio * grid.slice_tokens)
    half = grid.slice_tokens // 2
    moving = motion >= grid.slice_tokens - half
    shown = (~flags[0]).sum()
    expected = min(max(round(share * shown), shown - (grid.slice_tokens - half)), half)
    assert (~flags[0])[moving].sum() == expected


def test_motion_bins_of_a_still_clip_are_tubes_at_random_and_alike_in_any_batch() -> None:
    generators = [np.random.default_rng(seed) for seed in range(200)]
    motion = np.zeros((200, 196))
    motion[:100, 40:60] = 5
    batch = mask_motion_bins(generators, GRID, 0.8, motion)
    alone = mask_motion_bins(np.random.default_rng(7), GRID, 0.8, motion[7])
    assert (batch.visible[7] == alone.visible).all()
    shown = np.zeros((200, 196))
    np.put_along_axis(shown, batch.visible[:, :40], 1, 1)
    # 20 of 40 shown are from the 98 that move most: the 20 that do, and 78 of the others.
    assert shown[:100, 40:60].mean() == pytest.approx(20 / 98, abs=0.03)
    assert np.abs(shown[100:].mean(0) - 40 / 196).max() < 0.2


def test_motion_bins_refuse_motion_of_other_clips() -> None:
    with pytest.raises(InputError, match=r"motion has shape \(7,\); 1 clips need 196"):
        mask_motion_bins(np.random.default_rng(0), GRID, 0.8, np.zeros(7))
    with pytest.raises(InputError, match="share is 2"):
        mask_motion_bins(np.random.default_rng(0), GRID, 0.8, np.zeros(196), share=2)
