import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.options import PathName
from smile_motion.motion.effects import DropShadow
from smile_motion.motion.paths import PATHS, BrownianPath, HarmonicPath
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.motion.sizes import OwnAspectSize
from smile_motion.motion.transforms import KeyframeValues
from smile_motion.seeding import Stream, keyed_generator
from support.published import PublishedStatistics


def plans(recipe: MotionRecipe, bank: ObjectBank, count: int) -> list:
    return [
        recipe.plan(keyed_generator(1, Stream.MOTION, index=index), bank) for index in range(count)
    ]


def test_paper_sizes_angles_and_scales_fill_the_published_ranges(small_bank: ObjectBank) -> None:
    drawn = plans(MotionRecipe.paper(), small_bank, 300)
    longer = np.array([plan.base_size.max(axis=1) for plan in drawn])
    assert longer.min() >= 32
    assert longer.max() <= 128
    assert np.ptp(longer) > 90
    angle = np.array([plan.angle_deg for plan in drawn])
    scale = np.array([plan.scale for plan in drawn])
    assert -90 <= angle.min() < -80
    assert 80 < angle.max() <= 90
    assert 0.5 <= scale.min() < 0.55
    assert 1.45 < scale.max() <= 1.5
    for plan in drawn[:20]:
        for slot in range(plan.slots):
            ratio = plan.base_size[slot, 0] / plan.base_size[slot, 1]
            assert ratio == pytest.approx(small_bank.aspect(plan.objects)[slot])


def test_the_smaller_object_lies_on_top(small_bank: ObjectBank) -> None:
    for plan in plans(MotionRecipe.paper(objects=3), small_bank, 20):
        area = np.prod(plan.base_size[:, None] * plan.scale, axis=2).mean(axis=1)
        assert (np.diff(area[plan.order[0]]) <= 1e-6).all()


def test_sizes_are_stated_for_224_and_scale_with_the_frame(small_bank: ObjectBank) -> None:
    recipe = MotionRecipe.paper()
    small = recipe.plan(keyed_generator(1, Stream.MOTION), small_bank, size=(112, 112))
    large = recipe.plan(keyed_generator(1, Stream.MOTION), small_bank, size=(224, 224))
    np.testing.assert_allclose(small.base_size * 2, large.base_size)
    np.testing.assert_allclose((small.centre + 0.5) * 2, large.centre + 0.5)


@pytest.mark.parametrize("path", ["gaussian", "linear"])
def test_official_recipe_has_the_published_distributions(
    small_bank: ObjectBank, published: PublishedStatistics, path: PathName
) -> None:
    """Means and quantiles of 3000 clips, each within sampling error."""
    drawn = plans(MotionRecipe.named("official", path=path), small_bank, 3000)
    # The published code measures boxes between pixel edges.
    centre = np.array([plan.centre for plan in drawn]) + 0.5
    size = np.array([plan.base_size[:, None] * plan.scale for plan in drawn])
    angle = np.array([plan.angle_deg for plan in drawn])
    measured = {
        "centre_step_px": np.linalg.norm(np.diff(centre, axis=2), axis=-1),
        "centre_second_difference_px": np.linalg.norm(np.diff(centre, 2, axis=2), axis=-1),
        "path_extent_px": np.ptp(centre, axis=2),
        "centre_coordinate_px": centre,
        "first_width_px": size[:, :, 0, 0],
        "first_height_px": size[:, :, 0, 1],
        "last_over_first_size": size[:, :, -1] / size[:, :, 0],
        "last_angle_deg": angle[:, :, -1],
    }
    for name, values in measured.items():
        published.compare(path, name, values.reshape(len(drawn), -1))


@pytest.mark.parametrize("objects", [0, 1, 3])
def test_any_number_of_objects(small_bank: ObjectBank, objects: int) -> None:
    plan = plans(MotionRecipe.named("paper", objects=objects), small_bank, 1)[0]
    assert plan.slots == objects
    assert plan.order.shape == (16, objects)


def test_objects_that_cannot_fit_are_refused() -> None:
    with pytest.raises(InputError, match="cannot fit"):
        OwnAspectSize(range_px=(32, 400))
    with pytest.raises(InputError, match="objects is -1"):
        MotionRecipe.paper(objects=-1)


@pytest.mark.parametrize("name", ["paper", "official"])
@pytest.mark.parametrize("path", PATHS)
def test_recipes_survive_json(small_bank: ObjectBank, name: str, path: str) -> None:
    recipe = MotionRecipe.named(name, path=path, transform="rotation")  # type: ignore[arg-type]
    again = MotionRecipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    one, other = plans(recipe, small_bank, 1)[0], plans(again, small_bank, 1)[0]
    assert (one.centre == other.centre).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Nothing"}, "is of kind Nothing; expected one of MotionRecipe"),
        ({"speed": 3}, "speed is an unknown field"),
        ({"size": {"kind": "OwnAspectSize", "range_px": [1, 900]}}, "cannot fit"),
        ({"size": {"kind": "StretchedSize", "sides_px": [64, 300]}}, "cannot fit"),
        ({"path": {"kind": "GaussianPath", "sigma": 0}}, "sigma is 0"),
        (
            {"path": {"kind": "HarmonicPath", "cycles": [1, float("nan")]}},
            r"path.cycles\[1\] is nan",
        ),
        ({"path": 7}, "path is 7; expected an object"),
        ({"path": None}, "path is None; expected an object"),
        ({"path": {}}, "path names no kind"),
        ({"path": {"kind": "KeyframeValues"}}, "path is of kind KeyframeValues; expected one of"),
        ({"path": {"kind": "BrownianPath", "step_px": 1e18}}, "path.step_px is 1e"),
        ({"path": {"kind": "GaussianPath", "points": 10**9}}, "path.points is 1000000000"),
        ({"path": {"kind": "GaussianPath", "whole_pixels": 1}}, "expected a valid boolean"),
        ({"motion_blur": 7}, "motion_blur is 7; expected an object"),
        ({"motion_blur": {"kind": "MotionBlur", "exposures": 3}}, "motion_blur: exposures is 3"),
        ({"objects": 2.5}, "objects is 2.5; expected a valid integer"),
        ({"objects": True}, "objects is True; expected a valid integer"),
        ({"objects": "7"}, "objects is '7'; expected a valid integer"),
        (
            {"transform": {"kind": "KeyframeRates", "segments": {"kind": "Segments", "jitter": 9}}},
            "transform.segments.jitter is 9; expected less than or equal to 0.5",
        ),
        ({"appearance": {"kind": "Appearance", "pipeline": 7}}, "appearance.pipeline is 7"),
        ({"size": {"kind": "OwnAspectSize", "range_px": [1, 2, 3]}}, "at most 2 items, not 3"),
    ],
)
def test_spoilt_recipes_are_refused(change: dict, message: str) -> None:
    data = MotionRecipe.paper().to_json() | change
    with pytest.raises(InputError, match=message) as caught:
        MotionRecipe.from_json(data, source="recipe.json")
    assert str(caught.value).startswith("recipe.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [7, [], None, "paper", {}, {"kind": 7}, [[]] * 5, {"kind": {}}])
def test_what_is_no_recipe_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match=r"recipe\.json"):
        MotionRecipe.from_json(data, source="recipe.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": BrownianPath(step_px=1e18)}, r"path.step_px is 1e\+18; give 10000"),
        ({"path": HarmonicPath(cycles=(1, float("nan")))}, "path.cycles is nan; give a finite"),
        ({"path": HarmonicPath(amplitude_px=(-1, 1))}, "path.amplitude_px is -1; give 0 or more"),
        ({"transform": KeyframeValues(rotation_deg=(0, 1e9))}, "transform.rotation_deg is"),
        ({"drop_shadow": DropShadow(softness_px=1e9)}, "drop_shadow.softness_px is"),
    ],
)
def test_recipes_built_in_python_keep_the_same_bounds(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(MotionRecipe.paper(), **change)
