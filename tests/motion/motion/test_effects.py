"""Effects change the picture as they say, and never the truth."""

import json
from dataclasses import replace
from typing import Any

import albumentations
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.motion.effects import (
    EFFECTS,
    Appearance,
    ColourDrift,
    DepthSwaps,
    DropShadow,
    MotionBlur,
    Shadow,
)
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.plan_json import plan_from_json, plan_to_json
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.truth.instances import Truth

GREY = 140


def draw(bank: ObjectBank, index: int = 0, **effects: object) -> MotionPlan:
    recipe = replace(MotionRecipe.paper(objects=2), **effects)  # type: ignore[arg-type]
    return recipe.plan(keyed_generator(5, Stream.MOTION, index=index), bank)


def shown(plan: MotionPlan, bank: ObjectBank, behind: int = GREY) -> np.ndarray:
    return render(np.full((16, 224, 224, 3), behind, np.uint8), plan, bank)


@pytest.mark.parametrize("name", [name for name in EFFECTS if name != "depth-swaps"])
def test_effects_change_pixels_and_leave_the_truth(small_bank: ObjectBank, name: str) -> None:
    plain, plan = draw(small_bank), draw(small_bank, **{name.replace("-", "_"): EFFECTS[name]})
    assert (shown(plan, small_bank) != shown(plain, small_bank)).any()
    ids = np.empty((16, 224, 224), np.uint8)
    render(np.full((16, 224, 224, 3), GREY, np.uint8), plan, small_bank, ids=ids)
    assert (ids == Truth(plain, small_bank).ids).all()
    assert (Truth(plan, small_bank).ids == ids).all()


def test_all_effects_together_survive_json_to_the_last_pixel(small_bank: ObjectBank) -> None:
    recipe = MotionRecipe.named("paper", objects=3, effects=tuple(EFFECTS))
    again = MotionRecipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    plan = recipe.plan(keyed_generator(5, Stream.MOTION), small_bank)
    data = json.loads(json.dumps(plan_to_json(plan, small_bank)))
    assert (shown(plan_from_json(data, small_bank), small_bank) == shown(plan, small_bank)).all()


def test_objects_that_stand_still_are_not_blurred(small_bank: ObjectBank) -> None:
    plan = draw(small_bank)
    still = replace(
        plan,
        centre=np.repeat(plan.centre[:, :1], 16, axis=1),
        angle_deg=np.repeat(plan.angle_deg[:, :1], 16, axis=1),
        scale=np.repeat(plan.scale[:, :1], 16, axis=1),
    )
    blurred = replace(still, blur=MotionBlur(shutter=1.0, exposures=16))
    assert (shown(blurred, small_bank) == shown(still, small_bank)).all()


@given(st.sampled_from([0.25, 0.5, 1.0]), st.integers(4, 24))
@settings(max_examples=8)
def test_blur_is_as_long_as_the_way_during_the_exposure(
    white_bank: ObjectBank, shutter: float, speed: int
) -> None:
    plan = straight(white_bank, speed)
    frames = shown(replace(plan, blur=MotionBlur(shutter=shutter, exposures=16)), white_bank, 0)
    sharp = shown(plan, white_bank, 0)

    def spread(row: np.ndarray) -> float:
        """Standard deviation of the light along x."""
        light = row.astype(float).sum(axis=(0, 2))
        x = np.arange(len(light))
        middle = (light * x).sum() / light.sum()
        return np.sqrt((light * (x - middle) ** 2).sum() / light.sum())

    # Sixteen instants evenly over a way of length L have variance L^2 / 12 * (1 - 1 / 16^2).
    way = shutter * speed
    expected = np.sqrt(spread(sharp[8]) ** 2 + way**2 / 12 * (1 - 1 / 256))
    assert spread(frames[8]) == pytest.approx(expected, rel=0.02)
    # What light there is does not change, and its middle is where the truth says.
    assert float(frames[8].sum()) == pytest.approx(float(sharp[8].sum()), rel=0.01)


def straight(bank: ObjectBank, speed: float, frames: int = 16) -> MotionPlan:
    """A disc of 40 px that crosses the middle of the frame."""
    disc = next(i for i in range(len(bank)) if bank.record(i)["category"] == "disc")
    centre = np.full((1, frames, 2), 111.5)
    centre[0, :, 0] += speed * (np.arange(frames) - 8)
    return MotionPlan(
        height=224,
        width=224,
        objects=np.array([disc]),
        base_size=np.full((1, 2), 40.0),
        centre=centre,
        angle_deg=np.zeros((1, frames)),
        scale=np.ones((1, frames, 2)),
        order=np.zeros((frames, 1), np.int64),
    )


def test_a_shadow_lies_where_it_falls_and_under_its_object(white_bank: ObjectBank) -> None:
    plan = straight(white_bank, 0)
    shaded = replace(plan, shadow=Shadow(offset=(50.0, 0.0), softness=4.0, opacity=0.5))
    frame, bare = shown(shaded, white_bank, 200)[8], shown(plan, white_bank, 200)[8]
    assert (frame[111, 161] == 100).all()  # half the light in the middle of the shadow
    assert (frame[111, 111] == bare[111, 111]).all()
    near = replace(plan, shadow=Shadow(offset=(5.0, 0.0), softness=4.0, opacity=0.5))
    inside = bare[..., 0] == 255
    assert (shown(near, white_bank, 200)[8][inside] >= 254).all()
    edge = shown(shaded, white_bank, 200)[8, 111, 161:200, 0].astype(int)
    hard = replace(plan, shadow=Shadow(offset=(50.0, 0.0), softness=0.0, opacity=0.5))
    sharp = shown(hard, white_bank, 200)[8, 111, 161:200, 0].astype(int)
    assert (np.diff(edge) >= 0).all()
    assert np.diff(edge).max() < np.diff(sharp).max()


def test_colour_drifts_by_the_factors_of_the_plan(small_bank: ObjectBank) -> None:
    plain = draw(small_bank)
    factors = np.ones((2, 16, 3))
    factors[:, 8:] = [0.5, 1.0, 0.25]
    frames = shown(replace(plain, tint=factors), small_bank, 0)
    before = shown(plain, small_bank, 0)
    assert (frames[:8] == before[:8]).all()
    expected = before[8:] * np.array([0.5, 1.0, 0.25])
    assert np.abs(frames[8:] - expected).max() <= 1.5
    brighter = shown(replace(plain, tint=np.full((2, 16, 3), 9.0)), small_bank, 0)
    assert (brighter >= before).all()  # and no colour wraps around beyond white


def test_depth_swaps_change_what_lies_on_top_and_keep_everyone(small_bank: ObjectBank) -> None:
    recipe = replace(MotionRecipe.paper(objects=4), depth_swaps=DepthSwaps(rate=0.5))
    orders = [
        recipe.plan(keyed_generator(5, Stream.MOTION, index=index), small_bank).order
        for index in range(40)
    ]
    for order in orders:
        assert (np.sort(order, axis=1) == np.arange(4)).all()
        assert ((order[1:] != order[:-1]).sum(axis=1) <= 2).all()
    swaps = np.mean([(order[1:] != order[:-1]).any(axis=1) for order in orders])
    assert swaps == pytest.approx(0.5, abs=0.1)


def test_appearance_changes_colours_by_any_pipeline_but_not_shapes(
    small_bank: ObjectBank,
) -> None:
    inverted = Appearance.of(albumentations.Compose([albumentations.InvertImg(p=1)]))
    plan = draw(small_bank, appearance=inverted)
    frames, before = shown(plan, small_bank), shown(draw(small_bank), small_bank)
    truth = Truth(plan, small_bank)
    inside = (truth.ids == 1) & (truth.visible_share[0, :, None, None] > 0)
    both = frames[inside].astype(int) + before[inside]
    assert np.median(both) == pytest.approx(255, abs=3)
    assert (frames[truth.ids == 0] == GREY).mean() > 0.97
    again = replace(plan, appearance_seed=plan.appearance_seed)
    assert (shown(again, small_bank) == frames).all()


def test_appearance_depends_on_the_seed_of_the_plan(small_bank: ObjectBank) -> None:
    one = draw(small_bank, 1, appearance=Appearance())
    assert one.appearance_seed is not None
    other = replace(one, appearance_seed=one.appearance_seed + 1)
    assert (shown(one, small_bank) == shown(one, small_bank)).all()
    assert (shown(one, small_bank) != shown(other, small_bank)).any()


def test_transforms_that_move_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="HorizontalFlip moves pixels"):
        Appearance.of(
            albumentations.Compose(
                [albumentations.OneOf([albumentations.HorizontalFlip(), albumentations.Blur()])]
            )
        )
    with pytest.raises(InputError, match="not an albumentations pipeline"):
        Appearance(pipeline='{"what": 1}')


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"__class_fullname__": "Blur", "blur_limit": [3, 99999]}, "a setting of 99999; give"),
        ({"__class_fullname__": "GaussNoise", "std_range": [0, 1e300]}, r"a setting of 1e\+300"),
        ({"__class_fullname__": "GlassBlur", "iterations": 900}, "iterations is 900; give 20"),
        ({"__class_fullname__": "TextImage", "font_path": "/etc/passwd"}, "TextImage reads files"),
        ({"__class_fullname__": "Blur", "blur_limit": [3] * 3000}, "more than 2000 settings"),
        ({"__class_fullname__": "os.system"}, "not an albumentations pipeline"),
        ({"__class_fullname__": "HorizontalFlip"}, "HorizontalFlip moves pixels"),
    ],
)
def test_stored_pipelines_are_bounded(step: dict[str, Any], message: str) -> None:
    pipeline = {"__class_fullname__": "Compose", "transforms": [step | {"p": 1.0}], "p": 1.0}
    with pytest.raises(InputError, match=message):
        Appearance(pipeline=json.dumps({"__version__": "2.0.8", "transform": pipeline}))


@pytest.mark.parametrize("text", ["[", "7", "[[]]", "[" * 100_000, "nul"])
def test_what_is_no_pipeline_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="appearance"):
        Appearance(pipeline=text)


def test_pipelines_that_change_the_type_are_refused() -> None:
    appearance = Appearance.of(albumentations.Compose([albumentations.ToFloat(p=1)]))
    with pytest.raises(InputError, match="keep type and shape"):
        appearance.apply(np.zeros((8, 8, 3), np.uint8), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MotionBlur(shutter=0), "shutter is 0"),
        (lambda: MotionBlur(exposures=6), "exposures is 6"),
        (lambda: DropShadow(opacity=2), "opacity is 2"),
        (lambda: DropShadow(distance_px=(5, 2)), "distance_px"),
        (lambda: ColourDrift(brightness=-1), "brightness is -1"),
        (lambda: DepthSwaps(rate=3), "rate is 3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
