import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smile_motion.backgrounds import make_background
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import ClipMaker
from smile_motion.errors import InputError
from smile_motion.motion.effects import Shadow
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.plan_json import plan_from_json, plan_to_json, read_plan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator


def draw(bank: ObjectBank, objects: int = 2) -> MotionPlan:
    return MotionRecipe.paper(objects=objects).plan(keyed_generator(3, Stream.MOTION), bank)


@pytest.mark.parametrize("objects", [0, 1, 3])
def test_a_plan_survives_json_to_the_last_pixel(small_bank: ObjectBank, objects: int) -> None:
    plan = draw(small_bank, objects)
    again = plan_from_json(json.loads(json.dumps(plan_to_json(plan, small_bank))), small_bank)
    behind = np.zeros((16, 224, 224, 3), np.uint8)
    assert (render(behind.copy(), plan, small_bank) == render(behind, again, small_bank)).all()


def spoil(data: dict, kind: str) -> dict:
    match kind:
        case "nan":
            data["objects"][0]["centre"][3][0] = float("nan")
        case "lost":
            data["objects"][0]["id"] = "nowhere/0000"
        case "changed":
            data["objects"][0]["sha256"] = "0" * 64
        case "short":
            del data["objects"][1]["scale"]
        case "ragged":
            data["objects"][1]["angle_deg"].pop()
        case "future":
            data["format"] = 99
        case "flat":
            data["objects"][0]["base_size"][1] = 0
        case "vast":
            data["width"] = 10**9
        case "endless":
            data["height"] = float("inf")
        case "huge":
            data["objects"][0]["scale"][0][0] = 10**400
        case "hidden":
            data["order"][2] = [0, 0]
        case "far":
            data["objects"][1]["centre"][0][1] = -1e18
        case "large":
            data["objects"][0]["scale"][0] = [1e18, 1]
        case "larger":
            data["objects"][0] |= {"base_size": [1e5, 1], "scale": [[1e5, 1]] * 16}
        case "turned":
            data["objects"][0]["angle_deg"][0] = 1e300
        case "bright":
            for entry in data["objects"]:
                entry["tint"] = [[1e9, 1, 1]] * 16
        case "long":
            data |= {"height": 4096, "width": 4096, "order": data["order"] * 2}
            for entry in data["objects"]:
                entry |= {name: entry[name] * 2 for name in ("centre", "angle_deg", "scale")}
        case "text":
            data["objects"][0]["angle_deg"][0] = "7"
        case "other":
            data["speed"] = 7
        case "blur":
            data["blur"] = {"kind": "Shadow", "offset": [1, 1], "softness": 1, "opacity": 1}
        case "shadow":
            data["shadow"] = {"kind": "Shadow", "offset": [1e300, 1], "softness": 1, "opacity": 1}
    return data


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"objects\[0\]\.centre\[3\]\[0\] is nan; expected a finite number"),
        ("lost", "nowhere/0000"),
        ("changed", "differs from the one in"),
        ("short", r"objects\[1\]\.scale is missing"),
        ("ragged", "not of 16 frames"),
        ("future", "plan format 99, expected 1"),
        ("flat", "base_size is not above 0"),
        ("vast", "width is 1000000000; expected less than or equal to 8192"),
        ("endless", "height is inf; expected"),
        ("huge", r"objects\[0\]\.scale\[0\]\[0\] is 1000"),
        ("hidden", "order does not name every object"),
        ("far", r"plan: centre holds 1e\+18; give finite numbers of at most 1e\+07"),
        ("large", r"plan: scale holds 1e\+18"),
        ("larger", r"plan: an object of 1e\+10 px"),
        ("turned", r"plan: angle_deg holds 1e\+300"),
        ("bright", "plan: tint is not within 0 to 1000"),
        ("long", "32 frames of 4096 x 4096 px are 536870912 pixels; at most 268435456"),
        ("text", r"objects\[0\]\.angle_deg\[0\] is '7'; expected a valid number"),
        ("other", "speed is an unknown field"),
        ("blur", "blur is of kind Shadow; expected one of MotionBlur"),
        ("shadow", r"shadow.offset\[0\] is 1e\+300; expected less than or equal to 1"),
    ],
)
def test_a_spoilt_plan_is_refused_by_name(
    small_bank: ObjectBank, tmp_path: Path, kind: str, message: str
) -> None:
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({"plan": spoil(plan_to_json(draw(small_bank), small_bank), kind)}))
    with pytest.raises(InputError, match=message) as caught:
        read_plan(path, small_bank)
    assert str(path) in str(caught.value)


def test_a_plan_of_an_older_embedded_bank_says_what_to_do(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    """Version 1 of the procedural source drew the same object, stored as other bytes."""
    data = plan_to_json(draw(small_bank), small_bank)
    data["objects"][0] |= {
        "id": "convex-stripes/000000",
        "category": "convex-stripes",
        "sha256": "c2b4d26353333d6593f7ef0f766e6db69921853bac33b87be38766eda99358c8",
    }
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({"plan": data}))
    with pytest.raises(InputError) as caught:
        read_plan(path, small_bank)
    line = str(caught.value)
    assert line.startswith(f"{path}: object convex-stripes/000000 differs from the one in ")
    assert "open the bank that the plan was made with, or render the clip anew" in line
    assert "this one is of version 2 of its source, procedural" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": np.full((2, 16, 2), 1e18)}, "plan: centre holds"),
        ({"scale": np.full((2, 16, 2), np.nan)}, "plan: scale holds nan"),
        ({"base_size": np.full((2, 2), np.inf)}, "plan: base_size holds inf"),
        ({"angle_deg": np.full((2, 16), -1e18)}, "plan: angle_deg holds"),
        ({"order": np.full((16, 2), 2)}, "plan: order does not name"),
        ({"order": np.full((16, 2), -1)}, "plan: order does not name"),
        ({"order": np.zeros((16, 2))}, "plan: order does not name"),
        ({"width": 9000}, "frames of 9000 x 224 px"),
        ({"height": 8192, "width": 8192}, "16 frames of 8192 x 8192 px"),
        ({"shadow": Shadow(offset=(0, np.nan), softness=1, opacity=0.5)}, "plan: shadow.offset is"),
        ({"shadow": Shadow(offset=(0, 0), softness=1e300, opacity=0.5)}, "plan: shadow.softness"),
        ({"shadow": Shadow(offset=(0, 0), softness=1, opacity=1e9)}, "plan: shadow.opacity is"),
    ],
)
def test_no_number_reaches_compiled_code_that_overflows_there(
    small_bank: ObjectBank, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(draw(small_bank), **change)


def test_the_largest_numbers_of_a_plan_are_rendered(small_bank: ObjectBank) -> None:
    plan = draw(small_bank)
    for change in (
        {"centre": plan.centre + 1e7 - 1000},
        {"centre": plan.centre - 1e7 + 1000},
        {"base_size": np.full((2, 2), 1e7), "scale": np.ones_like(plan.scale)},
        {"base_size": np.array([[1e7, 1], [1, 1e7]]), "scale": -np.ones_like(plan.scale)},
        {"scale": np.full_like(plan.scale, 1e-300)},
        {"angle_deg": np.full_like(plan.angle_deg, 1e9)},
    ):
        ids = np.empty((16, 224, 224), np.uint8)
        vast = replace(plan, **change)
        frames = render(np.zeros((16, 224, 224, 3), np.uint8), vast, small_bank, ids=ids)
        assert ids.max() <= 2
        # An object that fills the frame a hundred times over shows at most a pixel of itself.
        assert ("base_size" in change) or frames.any() == ("angle_deg" in change)


def test_a_clip_depends_on_its_key_alone(small_bank: ObjectBank) -> None:
    def maker() -> ClipMaker:
        return ClipMaker(
            bank=small_bank,
            recipe=MotionRecipe.paper(),
            background=make_background("noise"),
            seed=9,
        )

    forwards = [maker().make(index, epoch=1).frames for index in range(4)]
    one = maker()
    backwards = [one.make(index, epoch=1).frames for index in reversed(range(4))]
    for first, second in zip(forwards, reversed(backwards), strict=True):
        assert (first == second).all()
    assert (one.make(0, epoch=0).frames != forwards[0]).any()
    assert (one.make(1, epoch=1).frames != forwards[0]).any()
