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


def one_object(
    bank: ObjectBank,
    index: int,
    *,
    centre: tuple[float, float],
    side: float,
    angle: float = 0.0,
    frame: tuple[int, int] = (96, 128),
) -> MotionPlan:
    aspect = float(bank.aspect(np.array([index]))[0])
    size = [side * min(aspect, 1), side / max(aspect, 1)]
    return MotionPlan(
        height=frame[0],
        width=frame[1],
        objects=np.array([index]),
        base_size=np.array([size]),
        centre=np.array([[centre]], dtype=np.float64),
        angle_deg=np.array([[angle]], dtype=np.float64),
        scale=np.ones((1, 1, 2)),
        order=np.zeros((1, 1), np.int64),
    )


def flat(plan: MotionPlan, value: int) -> np.ndarray:
    return np.full((plan.frames, plan.height, plan.width, 3), value, np.uint8)


def straight_reference(bank: ObjectBank, plan: MotionPlan, value: int) -> np.ndarray:
    """The same frame in floating point, from 4 x 4 samples of the stored image in every pixel."""
    image = np.asarray(bank.image(int(plan.objects[0])), dtype=np.float64)
    image[..., :3] *= image[..., 3:] / 255
    height, width = image.shape[:2]
    fine = 4
    unit = plan.placement()[0, 0]
    source = np.array(
        [[1 / width, 0, (0.5 - width / 2) / width], [0, 1 / height, (0.5 - height / 2) / height]]
    )
    place = np.eye(3)
    place[:2] = unit
    there = np.eye(3)
    there[:2] = source
    zoom = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    warped = cv2.warpAffine(
        image,
        (zoom @ place @ there)[:2],
        (plan.width * fine, plan.height * fine),
        flags=cv2.INTER_LINEAR,
    )
    small = cv2.resize(warped, (plan.width, plan.height), interpolation=cv2.INTER_AREA)
    return small[..., :3] + value * (1 - small[..., 3:] / 255)


@pytest.mark.parametrize("angle", [0.0, 33.0, -90.0, 171.5])
@pytest.mark.parametrize("value", [0, 255])
def test_pixels_agree_with_a_supersampled_reference(
    small_bank: ObjectBank, angle: float, value: int
) -> None:
    for index in range(0, len(small_bank), 5):
        plan = one_object(small_bank, index, centre=(61.3, 47.8), side=70, angle=angle)
        got = render(flat(plan, value), plan, small_bank)[0].astype(np.float64)
        expected = straight_reference(small_bank, plan, value)
        difference = np.abs(got - expected)
        assert difference.mean() < 1.5
        assert np.quantile(difference, 0.99) < 40  # edges and fine texture are a little sharper


def test_a_white_object_on_white_stays_white(white_bank: ObjectBank) -> None:
    for index in range(len(white_bank)):
        for side in (23.0, 64.0, 181.0):
            plan = one_object(white_bank, index, centre=(60.4, 41.7), side=side, angle=31.0)
            assert render(flat(plan, 255), plan, white_bank).min() >= 254


@given(st.integers(-40, 40), st.integers(-30, 30), st.integers(0, 11))
@settings(max_examples=30, deadline=None)
def test_a_move_by_whole_pixels_moves_the_pixels(
    small_bank: ObjectBank, dx: int, dy: int, index: int
) -> None:
    frame = (200, 240)
    here = one_object(small_bank, index, centre=(120.37, 100.81), side=60, angle=17, frame=frame)
    there = here.framed(shift=np.array([dx, dy]), height=200, width=240)
    first = render(flat(here, 90), here, small_bank)[0]
    second = render(flat(there, 90), there, small_bank)[0]
    assert (np.roll(first, (dy, dx), axis=(0, 1)) == second).all()


def test_objects_turn_counter_clockwise_on_screen_about_their_centre(
    small_bank: ObjectBank,
) -> None:
    upright = one_object(small_bank, 3, centre=(64, 64), side=80, frame=(129, 129))
    turned = one_object(small_bank, 3, centre=(64, 64), side=80, angle=90, frame=(129, 129))
    first = render(flat(upright, 0), upright, small_bank)[0]
    second = render(flat(turned, 0), turned, small_bank)[0]
    difference = np.abs(np.rot90(first).astype(int) - second)
    assert difference.max() <= 2
    assert first.any()


def test_a_clip_cut_by_the_border_is_the_inside_of_a_larger_one(small_bank: ObjectBank) -> None:
    for index in range(6):
        plan = MotionRecipe.paper().plan(keyed_generator(5, Stream.MOTION, index=index), small_bank)
        wide = plan.framed(shift=np.array([100, 100]), height=424, width=424)
        small = render(flat(plan, 30), plan, small_bank)
        large = render(flat(wide, 30), wide, small_bank)
        assert (large[:, 100:324, 100:324] == small).all()


def test_frames_are_painted_in_place_and_read_only_ones_copied(small_bank: ObjectBank) -> None:
    plan = one_object(small_bank, 0, centre=(60, 40), side=50)
    frames = flat(plan, 7)
    assert render(frames, plan, small_bank) is frames
    still = np.broadcast_to(np.full((96, 128, 3), 7, np.uint8), (1, 96, 128, 3))
    assert (render(still, plan, small_bank) == frames).all()
    assert (still == 7).all()


def test_objects_outside_or_vanishingly_small_paint_nothing(small_bank: ObjectBank) -> None:
    for centre, side in (((-400.0, 20.0), 50.0), ((60.0, 40.0), 1e-9)):
        plan = one_object(small_bank, 1, centre=centre, side=side)
        assert (render(flat(plan, 7), plan, small_bank) == 7).all()


def test_a_background_of_another_size_is_refused(small_bank: ObjectBank) -> None:
    plan = one_object(small_bank, 0, centre=(60, 40), side=50)
    with pytest.raises(InputError, match=r"the plan needs uint8 \(1, 96, 128, 3\)"):
        render(np.zeros((1, 90, 128, 3), np.uint8), plan, small_bank)
