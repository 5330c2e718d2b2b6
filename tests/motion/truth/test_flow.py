import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.truth.instances import Truth


def draw(bank: ObjectBank, index: int, frames: int = 16) -> MotionPlan:
    rng = keyed_generator(21, Stream.MOTION, index=index)
    return MotionRecipe.paper().plan(rng, bank, frames=frames)


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=10, deadline=None)
def test_warping_one_frame_by_the_flow_gives_the_other_inside_objects(
    small_bank: ObjectBank, index: int, backward: bool
) -> None:
    plan = draw(small_bank, index)
    frames = render(np.full((16, 224, 224, 3), 128, np.uint8), plan, small_bank)
    truth = Truth(plan, small_bank)
    flow = truth.flow(backward=backward)
    grid = np.stack(np.meshgrid(np.arange(224), np.arange(224)), axis=-1).astype(np.float32)
    for t in range(15):
        here, there = (t + 1, t) if backward else (t, t + 1)
        at = grid + flow.vectors[t]
        warped = cv2.remap(frames[there], at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        inside = cv2.erode((truth.ids[here] > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        edge = cv2.dilate(flow.occluded[t].astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        sure = inside & ~edge
        if sure.sum() > 50:
            difference = np.abs(warped[sure].astype(int) - frames[here][sure])
            # Fine texture is resampled twice and shown from another level.
            assert np.median(difference) <= 8
            assert difference.mean() < 14
            unmoved = np.abs(frames[there][sure].astype(int) - frames[here][sure])
            assert difference.mean() < max(0.6 * unmoved.mean(), 6)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_forward_and_backward_flow_undo_each_other(small_bank: ObjectBank, index: int) -> None:
    truth = Truth(draw(small_bank, index), small_bank)
    forward, backward = truth.flow(), truth.flow(backward=True)
    for t in range(15):
        y, x = np.nonzero(~forward.occluded[t] & (truth.ids[t] > 0))
        moved = np.stack([x, y], 1) + forward.vectors[t, y, x]
        column, row = np.rint(moved).astype(int).T
        back = backward.vectors[t, row, column]
        returned = np.stack([column, row], 1) + back - np.stack([x, y], 1)
        # Rounding to a pixel of the other frame costs half a pixel, scaled by the shrinking.
        assert np.abs(returned).max(initial=0) <= 2.2


def test_the_background_is_still_and_hidden_where_an_object_arrives(
    small_bank: ObjectBank,
) -> None:
    truth = Truth(draw(small_bank, 3), small_bank)
    flow = truth.flow()
    still = truth.ids[:-1] == 0
    assert (flow.vectors[still] == 0).all()
    assert (flow.occluded[still] == (truth.ids[1:] > 0)[still]).all()


def test_one_frame_has_no_flow(small_bank: ObjectBank) -> None:
    with pytest.raises(InputError, match="two frames"):
        Truth(draw(small_bank, 0, frames=1), small_bank).flow()
