from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.options import MotionReading
from smile_motion.motion.camera import surface_maps
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth.flow import optical_flow
from smile_motion.truth.instances import Truth
from smile_motion.truth.token_motion import (
    object_rates,
    point_pixels,
    surface_rates,
    token_motion,
)

GRIDS = (
    TokenGrid(height=96, width=128),
    TokenGrid(height=96, width=128, tubelet=4, patch=32),
    TokenGrid(height=96, width=128, tubelet=1, patch=8),
)
RECIPES = {
    "paper": MotionRecipe.named("paper", objects=3, transform="both"),
    "effects": MotionRecipe.named(
        "paper", objects=4, effects=("motion-blur", "drop-shadow", "depth-swaps")
    ),
    "linear": MotionRecipe.named("official", objects=2, path="linear"),
    "none": MotionRecipe.named("paper", objects=0),
    "camera": MotionRecipe.named("paper", objects=2, camera="pan-zoom-roll"),
}
TOLERANCE = 2e-5
"""Pixels: float32 of displacements of some hundred."""


def draw(bank: ObjectBank, recipe: str, index: int) -> Truth:
    rng = keyed_generator(77, Stream.MOTION, index=index)
    plan = RECIPES[recipe].plan(rng, bank, frames=16, size=(96, 128))
    return Truth(plan, bank)


def every(plan: MotionPlan, step: int) -> MotionPlan:
    """The same motion at the first frame of each slice alone."""
    camera = plan.camera and replace(
        plan.camera,
        centre=plan.camera.centre[::step],
        angle_deg=plan.camera.angle_deg[::step],
        scale=plan.camera.scale[::step],
    )
    return replace(
        plan,
        centre=plan.centre[:, ::step],
        angle_deg=plan.angle_deg[:, ::step],
        scale=plan.scale[:, ::step],
        order=plan.order[::step],
        tint=None if plan.tint is None else plan.tint[:, ::step],
        camera=camera,
    )


clips = given(
    st.sampled_from(sorted(RECIPES)),
    st.integers(0, 10_000),
    st.sampled_from(GRIDS),
    st.sampled_from([1, 2, 3]),
)


@clips
@settings(max_examples=60, deadline=None)
def test_what_is_there_moves_as_the_flow_says(
    small_bank: ObjectBank, recipe: str, index: int, grid: TokenGrid, points: int
) -> None:
    truth = draw(small_bank, recipe, index)
    motion = truth.token_motion(grid, points=points)
    ids = truth.ids[:: grid.tubelet]
    slices = every(truth.plan, grid.tubelet)
    x, y = np.moveaxis(point_pixels(grid, points), -1, 0)
    ahead = optical_flow(slices, ids)
    back = optical_flow(slices, ids, backward=True)
    for s in range(grid.slices):
        flow, sign, at = (ahead, 1, s) if s + 1 < grid.slices else (back, -1, s - 1)
        moved = sign * flow.vectors[at, y, x]
        np.testing.assert_allclose(motion.displacement[s], moved, atol=TOLERANCE, rtol=1e-6)
        assert (motion.visible[s] == ~flow.occluded[at, y, x]).all()
        assert (motion.slot[s] == ids[s, y, x].astype(int) - 1).all()


@clips
@settings(max_examples=20, deadline=None)
def test_what_is_known_of_a_token_is_joined_in_a_row(
    small_bank: ObjectBank, recipe: str, index: int, grid: TokenGrid, points: int
) -> None:
    truth = draw(small_bank, recipe, index)
    motion = token_motion(truth.plan, truth.ids, grid, points=points, still=False)
    unknown = np.isnan(motion.displacement[..., 0])
    rates = truth.token_rates(grid, motion.slot)
    parts = [motion.displacement, np.where(unknown, np.nan, motion.visible), rates]
    expected = [part.reshape(grid.tokens, -1) for part in parts]
    for chosen in ((0,), (0, 1), (0, 2), (0, 1, 2)):
        joined = np.concatenate([expected[number] for number in chosen], axis=1)
        out = np.full(joined.shape, 7, np.float32)
        known = surface_rates(truth.plan, grid) if 2 in chosen else None
        motion.join(out, visible=1 in chosen, rates=known)
        np.testing.assert_array_equal(out, joined)
    with pytest.raises(InputError, match="these parts are"):
        motion.join(out[:-1], visible=True, rates=known)


@clips
@settings(max_examples=60, deadline=None)
def test_both_readings_are_those_of_the_tracks_of_their_points(
    small_bank: ObjectBank, recipe: str, index: int, grid: TokenGrid, points: int
) -> None:
    truth = draw(small_bank, recipe, index)
    pixels = point_pixels(grid, points)
    started = truth.token_motion(grid, points=points, reading="started")
    present = truth.token_motion(grid, points=points)
    first = truth.track(pixels.reshape(-1, 2))
    for s in range(grid.slices):
        here = min(s, grid.slices - 2) * grid.tubelet
        there = here + grid.tubelet
        moved = first.positions[:, there] - first.positions[:, here]
        seen = first.visible[:, here] & first.visible[:, there]
        shape = pixels.shape
        np.testing.assert_allclose(
            started.displacement[s], moved.reshape(shape), atol=TOLERANCE, rtol=1e-6
        )
        assert (started.visible[s] == seen.reshape(shape[:-1])).all()
        assert (started.slot[s] == first.slot.reshape(shape[:-1])).all()
        own = truth.track(pixels.reshape(-1, 2), s * grid.tubelet)
        moved = own.positions[:, there] - own.positions[:, here]
        other = there if s + 1 < grid.slices else here
        np.testing.assert_allclose(
            present.displacement[s], moved.reshape(shape), atol=TOLERANCE, rtol=1e-6
        )
        assert (present.visible[s] == own.visible[:, other].reshape(shape[:-1])).all()


def test_readings_agree_in_the_first_slice_and_differ_later(small_bank: ObjectBank) -> None:
    truth = draw(small_bank, "paper", 1)
    present, started = (
        truth.token_motion(GRIDS[0], reading=reading) for reading in ("present", "started")
    )
    np.testing.assert_allclose(present.displacement[0], started.displacement[0], atol=TOLERANCE)
    assert (present.slot != started.slot).any()


def test_a_background_that_moves_by_itself_is_unknown(small_bank: ObjectBank) -> None:
    truth = draw(small_bank, "paper", 2)
    out = np.zeros((*GRIDS[0].shape, 4, 2), np.float32)
    for reading in ("present", "started"):
        motion = token_motion(
            truth.plan, truth.ids, GRIDS[0], reading=reading, still=False, out=out
        )
        assert motion.displacement is out
        assert (np.isnan(out).all(-1) == (motion.slot < 0)).all()
        assert not np.isnan(out[motion.slot >= 0]).any()
        own = truth.token_motion(GRIDS[0], reading=reading)
        lengths = np.linalg.norm(own.displacement, axis=-1)
        np.testing.assert_allclose(
            motion.by_position(), lengths.mean(axis=(0, 3)).ravel(), rtol=1e-5
        )


@clips
@settings(max_examples=30, deadline=None)
def test_rates_are_those_of_the_plan_of_the_object_that_covers(
    small_bank: ObjectBank, recipe: str, index: int, grid: TokenGrid, points: int
) -> None:
    truth = draw(small_bank, recipe, index)
    plan = truth.plan
    slot = truth.token_motion(grid, points=points).slot
    rates = truth.token_rates(grid, slot)
    camera = plan.camera
    if camera is None:
        assert (np.isnan(rates).all(-1) == (slot < 0)).all()
    else:
        turned = np.diff(np.array(camera.angle_deg)[:: grid.tubelet]) / grid.tubelet
        own = rates[-1][slot[-1] < 0, 0]
        np.testing.assert_allclose(own, np.full(own.shape, turned[-1]), rtol=1e-5)
    assert not np.isnan(rates[slot >= 0]).any()
    for s in range(grid.slices):
        here = min(s, grid.slices - 2) * grid.tubelet
        there = here + grid.tubelet
        for k in np.unique(slot[s][slot[s] >= 0]):
            own = rates[s][slot[s] == k].astype(float)
            turned = plan.angle_deg[k, here] + own[:, 0] * grid.tubelet
            np.testing.assert_allclose(turned, plan.angle_deg[k, there], atol=1e-3)
            grown = plan.scale[k, here] * np.exp(own[:, 1:] * grid.tubelet)
            np.testing.assert_allclose(grown, np.broadcast_to(plan.scale[k, there], grown.shape))


def test_rates_of_a_side_that_vanishes_are_unknown_and_mirroring_turns_them_about(
    small_bank: ObjectBank,
) -> None:
    plan = draw(small_bank, "paper", 3).plan
    scale = plan.scale.copy()
    scale[0, 4, 1] = 0
    rates = object_rates(replace(plan, scale=scale), GRIDS[0])
    assert np.isnan(rates[0]).sum(0).tolist() == [0, 0, 2]
    assert not np.isnan(rates[1:]).any()
    mirrored = object_rates(plan.mirrored(), GRIDS[0])
    np.testing.assert_allclose(mirrored, object_rates(plan, GRIDS[0]) * [-1, 1, 1], atol=1e-12)


@pytest.mark.parametrize("reading", ["present", "started"])
def test_a_device_sees_as_much_and_on_the_same_objects(
    small_bank: ObjectBank, reading: MotionReading
) -> None:
    import torch
    from smile_motion.truth.device import token_motion as on_device

    for index, grid in enumerate(GRIDS):
        truth = draw(small_bank, "camera" if index else "effects", index)
        scene, *maps = torch.from_numpy(surface_maps(truth.plan)[:, :: grid.tubelet])
        found = on_device(
            torch.from_numpy(truth.ids)[None], torch.stack(maps)[None], grid, points=3,
            reading=reading, visible=True, background=scene[None] if index else None,
        )  # fmt: skip
        expected = truth.token_motion(grid, points=3, reading=reading)
        assert found.visible is not None
        assert (found.visible[0].numpy() == expected.visible).all()
        np.testing.assert_allclose(
            found.displacement[0].numpy(), expected.displacement, atol=TOLERANCE, rtol=1e-6
        )
        assert 0 < expected.visible[expected.slot >= 0].mean() < 1
        assert (found.label[0].numpy() - 1 == expected.slot).all()


def test_what_cannot_be_asked_is_refused_in_one_line(small_bank: ObjectBank) -> None:
    truth = draw(small_bank, "paper", 0)
    with pytest.raises(InputError, match=r"tokens of clips of \(16, 224, 224\).*own grid"):
        truth.token_motion(TokenGrid())
    with pytest.raises(InputError, match="one slice"):
        truth.token_motion(TokenGrid(height=96, width=128, tubelet=16))
    with pytest.raises(InputError, match="points is 17; give 1 to 16"):
        truth.token_motion(GRIDS[0], points=17)
    with pytest.raises(InputError, match="out is float64"):
        token_motion(truth.plan, truth.ids, GRIDS[0], out=np.zeros((*GRIDS[0].shape, 4, 2)))
