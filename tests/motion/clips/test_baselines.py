import json
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from smile_motion.__main__ import COMMANDS
from smile_motion.backgrounds.sources import BlackBackground
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.clips.clip import ClipMaker, read_clip
from smile_motion.clips.presets import BASELINES, recipe_bank
from smile_motion.errors import InputError
from smile_motion.io.options import BaselineName
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import index_video, read_frames


def maker(name: BaselineName, shape_banks: dict[str, ObjectBank], **changes: int) -> ClipMaker:
    baseline = BASELINES[name]
    assert baseline.objects is not None
    recipe = baseline.recipe()
    background = BlackBackground()
    return ClipMaker(
        bank=shape_banks[baseline.objects], recipe=recipe, background=background, **changes
    )


def test_every_baseline_has_a_recipe_by_name_that_survives_json(small_bank: ObjectBank) -> None:
    assert set(BASELINES) == set(get_args(BaselineName))
    for name, baseline in BASELINES.items():
        recipe = MotionRecipe.named(name)
        assert recipe == baseline.recipe()
        again = MotionRecipe.from_json(json.loads(json.dumps(recipe.to_json())))
        assert again == recipe
        rng, same = keyed_generator(1, Stream.MOTION), keyed_generator(1, Stream.MOTION)
        one, other = recipe.plan(rng, small_bank), again.plan(same, small_bank)
        assert (one.centre == other.centre).all()
        assert (one.scale == other.scale).all()
        assert MotionRecipe.named(name, objects=3).objects == 3


def test_stages_add_one_thing_at_a_time(shape_banks: dict[str, ObjectBank]) -> None:
    def moves(name: BaselineName) -> tuple[bool, bool, bool]:
        plan = maker(name, shape_banks).plan(0)
        velocity = np.diff(plan.centre, axis=1)
        return (
            bool(np.abs(velocity).max() > 0.1),
            bool(np.ptp(plan.angle_deg) > 0.1 and np.ptp(plan.scale) > 0.1),
            bool(np.abs(np.diff(velocity, axis=1)).max() > 0.01),
        )

    assert moves("static-circles") == (False, False, False)
    assert moves("moving-circles") == moves("moving-shapes") == (True, False, False)
    assert moves("transforming-shapes") == (True, True, False)
    assert moves("accelerating-shapes") == (True, True, True)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "pseudo-motion"])
def test_leaves_cover_the_frame_and_every_clip_repeats(
    name: BaselineName, shape_banks: dict[str, ObjectBank]
) -> None:
    clips = maker(name, shape_banks)
    clip = clips.make(3)
    assert (clip.frames == clips.make(3).frames).all()
    assert (clip.frames != clips.make(4).frames).any()
    assert (clip.frames == clip.frames[:1]).all() == (name == "static-circles")
    covered = np.mean([clips.make(index).truth.ids > 0 for index in range(6)])
    assert covered > 0.92


def test_depth_does_not_follow_size(shape_banks: dict[str, ObjectBank]) -> None:
    plan = maker("moving-circles", shape_banks).plan(0)
    area = np.prod(plan.base_size, axis=1)[plan.order[0]]
    above = (np.diff(area) > 0).mean()
    assert 0.35 < above < 0.65


def test_a_baselines_bank_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: Path
) -> None:
    monkeypatch.setenv("SMILE_OBJECT_BANKS", str(tmp_path))
    bank = recipe_bank("moving-circles", count=4)
    stamp = (bank.path / "bank.json").stat().st_mtime_ns
    assert recipe_bank("static-circles", count=4).path == bank.path
    assert (bank.path / "bank.json").stat().st_mtime_ns == stamp
    some = tmp_path / "some"
    some.mkdir()
    shutil.copy(sorted(photographs.iterdir())[0], some)
    crops = recipe_bank("accelerating-crops", images=photographs, count=4)
    assert crops.card["licence"] == "that of the photographs"
    assert recipe_bank("accelerating-crops", images=some, count=4).path != crops.path
    with pytest.raises(InputError, match="--images"):
        recipe_bank("accelerating-crops", count=4)


@pytest.fixture
def banks_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMILE_OBJECT_BANKS", str(tmp_path / "banks"))
    monkeypatch.setattr("smile_motion.clips.presets.BANK_OBJECTS", 12)
    monkeypatch.setattr("smile_motion.bank.builder.default.OBJECTS", 30)


def run(*words: object) -> int:
    return run_app("smile-motion", "", COMMANDS, [str(word) for word in words])


@pytest.mark.usefixtures("banks_here")
@pytest.mark.parametrize("name", BASELINES)
def test_one_command_renders_a_baseline(name: str, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    words = ["--recipe", name, "--frames", 4, "--size", 64, "--n", 1]
    if name in ("accelerating-crops", "pseudo-motion"):
        words += ["--images", photographs]
    assert run("render", *words, "--lossless", "--workers", 0, "--out", out) == 0
    described = json.loads((out / "clip_000000.json").read_text())
    baseline = BASELINES[name]
    assert described["background"]["kind"] == baseline.background
    assert len(described["plan"]["objects"]) == baseline.recipe().objects
    bank = recipe_bank(name, images=photographs)
    again = read_clip(out / "clip_000000.json", bank)
    stored = read_frames(index_video(out / "clip_000000.mp4"), range(4))
    assert (again.frames == stored).all()
