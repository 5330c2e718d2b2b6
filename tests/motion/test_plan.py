import json
from pathlib import Path

import numpy as np
import pytest
from smile_motion.backgrounds import make_background
from smile_motion.bank import ObjectBank
from smile_motion.clips import ClipMaker
from smile_motion.compositing import render
from smile_motion.errors import InputError
from smile_motion.plan import MotionPlan
from smile_motion.plan_json import plan_from_json, plan_to_json, read_plan
from smile_motion.recipe import MotionRecipe
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
    return data


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "centre holds NaN"),
        ("lost", "nowhere/0000"),
        ("changed", "differs from the one in"),
        ("short", "not a motion plan"),
        ("ragged", "not a motion plan"),
        ("future", "plan format 99, expected 1"),
        ("flat", "base_size is not above 0"),
        ("vast", "frames of 1000000000 x 224 px"),
        ("endless", "not a motion plan"),
        ("huge", "not a motion plan"),
        ("hidden", "order does not name every object"),
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
