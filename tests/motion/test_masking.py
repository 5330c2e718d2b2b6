import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.masking import TokenMask, mask_trajectory, mask_tube, masked_tokens
from smile_motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth import Truth

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


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.2, 1.5, 0.001])
def test_ratios_that_mask_nothing_or_all_are_refused(ratio: float) -> None:
    with pytest.raises(InputError, match="mask ratio"):
        mask_tube(np.random.default_rng(0), GRID, ratio)
