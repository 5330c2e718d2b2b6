"""Clips with objects that move by themselves: their pixels, truth, plans and exports."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from smile_motion import (
    ClipMaker,
    InputError,
    MotionRecipe,
    ObjectBank,
    TokenGrid,
    make_background,
    open_bank,
    plan_from_json,
    plan_to_json,
    read_clip,
    render,
)
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import FolderSource, build, draw_from
from smile_motion.bank.contact_sheet_pages import object_sections
from smile_motion.bank.dataset_card import write_dataset_card
from smile_motion.bank.subset import subset
from smile_motion.bank.union import unite
from smile_motion.cli.app import run_app
from smile_motion.clips.clip import Clip, truth_json
from smile_motion.clips.options import ClipOptions
from smile_motion.explore.objects import BankBrowser
from smile_motion.export import Collection, FlowFiles, TapVid, Videos, render_shard
from smile_motion.motion.effects import Appearance, DropShadow, MotionBlur
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.transforms import Animation
from smile_motion.player import clip_document
from smile_motion.truth.instances import Truth

SIDE = 64


def flapping(
    bank: ObjectBank, *, frames: int = 6, recipe: MotionRecipe | None = None
) -> MotionPlan:
    """A plan in which every object of the bank shows its poses one after the other."""
    recipe = recipe or MotionRecipe(objects=3)
    plan = recipe.plan(np.random.default_rng(3), bank, frames=frames, size=(SIDE, SIDE))
    counts = bank.count_poses(np.arange(3))
    return replace(
        plan,
        objects=np.arange(3),
        base_size=np.full((3, 2), 30.0),
        scale=np.ones_like(plan.scale),
        centre=np.clip(plan.centre, 4, SIDE - 4),
        pose=np.arange(frames) % counts[:, None],
    )


def at(plan: MotionPlan, t: int) -> MotionPlan:
    """Frame t of a plan, as a plan of one frame."""
    names = ("centre", "angle_deg", "scale", "pose")
    one = {name: getattr(plan, name)[:, t : t + 1] for name in names}
    return replace(plan, order=plan.order[t : t + 1], **one)


@pytest.mark.parametrize(
    "effects", ["none", "exposed", pytest.param("appearance", marks=pytest.mark.slow)]
)
def test_every_frame_is_that_of_a_still_with_its_pose(
    moving_bank: ObjectBank, tmp_path: Path, effects: str
) -> None:
    """A clip's frame equals the frame painted from a bank of the poses as still objects."""
    folder = tmp_path / "stills"
    for index in range(3):
        for number, pose in enumerate(moving_bank.images(index)):
            padded = pose.copy()
            if not pose[..., 3].any():
                continue
            # One pixel that no level shows keeps the canvas from being cropped.
            padded[0, 0, 3] |= 1
            padded[-1, -1, 3] |= 1
            target = folder / "all" / f"{index}-{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(padded).save(target)
    stills = build(FolderSource.open(folder), tmp_path / "bank", workers=0)
    numbers = {r["original"][4:7]: i for i, r in enumerate(stills.records())}
    plan = flapping(moving_bank)
    if effects == "exposed":
        plan = replace(plan, blur=MotionBlur(exposures=2), shadow=None, tint=None)
        shadow = DropShadow().draw(np.random.default_rng(0), 0.3)
        plan = replace(plan, shadow=shadow)
    if effects == "appearance":
        plan = replace(plan, appearance=Appearance(), appearance_seed=np.arange(3))
    assert plan.pose is not None
    noise = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    ids = np.empty((6, SIDE, SIDE), np.uint8)
    frames = render(noise, plan, moving_bank, ids=ids)
    for t in (0, 1, 2, 3, 5):
        own = np.array([numbers[f"{k}-{plan.pose[k, t]}"] for k in range(3)])
        one = replace(at(plan, t), objects=own, pose=None)
        if plan.blur is not None:  # the exposures of a frame need its neighbors
            one = replace(plan, objects=own, pose=None)
        expected = render(noise.copy(), one, stills)
        picked = expected[t] if plan.blur is not None else expected[0]
        difference = np.abs(frames[t].astype(int) - picked.astype(int)).max()
        assert difference <= 1  # the faint corner pixel
        np.testing.assert_array_equal(Truth(one, stills).ids[t if len(expected) > 1 else 0], ids[t])


def test_truth_is_that_of_the_pose_that_is_shown(moving_bank: ObjectBank) -> None:
    plan = flapping(moving_bank)
    truth = Truth(plan, moving_bank)
    masks = truth.amodal
    for slot in range(3):
        for t in range(6):
            area = truth.polygons[slot][t].area
            if plan.pose[slot, t] == 4:
                assert not masks[slot, t].any()
                assert area == 0
                assert np.isnan(truth.full_boxes[slot, t]).all()
                assert np.isnan(truth.boxes[slot, t]).all()
                assert truth.visible_share[slot, t] == 0
                continue
            bounds = truth.polygons[slot][t].bounds
            np.testing.assert_allclose(truth.full_boxes[slot, t], bounds, atol=1e-3)
            alone = Truth(at(plan, t).only(slot), moving_bank)
            np.testing.assert_array_equal(alone.ids[0] > 0, masks[slot, t])
            inside = truth.boxes[slot, t]
            y, x = np.nonzero(masks[slot, t])
            tight = [x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5]
            np.testing.assert_allclose(inside, tight, atol=1.0)
    areas = masks[1].sum(axis=(1, 2))
    assert areas[3] > 2 * areas[0]  # the disc grew
    frames = np.zeros((6, SIDE, SIDE, 3), np.uint8)
    clip = Clip(render(frames, plan, moving_bank), plan, truth, {"kind": "black"})
    told = truth_json(clip)
    assert told["rigid"] is False
    bird = told["objects"][0]
    assert (bird["full_box"][4], bird["polygon"][4], bird["visible_share"][4]) == (None, [], 0)
    page = clip_document(clip, TokenGrid(frames=6, height=SIDE, width=SIDE), title="one")
    assert [len(page["objects"][0]["poses"][at]) for at in page["objects"][0]["pose"]][4] == 0
    assert not plan.is_rigid
    assert at(plan, 2).is_rigid
    assert replace(plan, pose=None).is_rigid


def test_plans_round_trip_and_those_of_still_objects_are_as_they_were(
    moving_bank: ObjectBank, small_bank: ObjectBank
) -> None:
    plan = flapping(moving_bank)
    told = json.loads(json.dumps(plan_to_json(plan, moving_bank)))
    again = plan_from_json(told, moving_bank)
    np.testing.assert_array_equal(again.pose, plan.pose)
    still = MotionRecipe().plan(np.random.default_rng(0), small_bank)
    assert still.pose is None
    assert not any("pose" in entry for entry in plan_to_json(still, small_bank)["objects"])
    assert "animation" not in MotionRecipe().to_json()
    loop = MotionRecipe(animation=Animation(play="loop", speed=(1, 1)))
    assert MotionRecipe.from_json(loop.to_json()) == loop
    told["objects"][1]["pose"][2] = 9
    beyond = plan_from_json(told, moving_bank)
    frame = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    with pytest.raises(InputError, match="plan shows pose 9 of object 1, which has 4"):
        render(frame, beyond, moving_bank)
    for wrong, said in ((64, "expected less than 64"), (-1, "greater than or equal to 0")):
        told["objects"][1]["pose"][2] = wrong
        with pytest.raises(InputError, match=said):
            plan_from_json(told, moving_bank)
    told["objects"][1]["pose"] = [0]
    with pytest.raises(InputError, match="arrays of objects are not of 6 frames"):
        plan_from_json(told, moving_bank)


@given(
    seed=st.integers(0, 1000),
    poses=st.lists(st.integers(1, 64), min_size=1, max_size=4),
    play=st.sampled_from(["ping-pong", "loop"]),
    speed=st.tuples(st.floats(0, 3), st.floats(0, 3)).map(sorted).map(tuple),
)
def test_poses_run_as_the_recipe_says(
    seed: int, poses: list[int], play: str, speed: tuple[float, float]
) -> None:
    count = np.array(poses)
    drawn = Animation(play=play, speed=speed).draw(np.random.default_rng(seed), count, 24)  # type: ignore[arg-type]
    if (count == 1).all():
        assert drawn is None
        return
    assert drawn is not None
    assert (drawn >= 0).all()
    assert (drawn < count[:, None]).all()
    steps = np.abs(np.diff(drawn))
    if play == "loop":
        steps = np.minimum(steps, count[:, None] - steps)
    assert (steps <= np.ceil(speed[1])).all()  # smooth: no jump at the turn


def test_movements_are_the_same_with_and_without(moving_bank: ObjectBank) -> None:
    """Poses are drawn last; `still` shows the first pose, and a plan of stills."""
    plans = {
        play: MotionRecipe(animation=Animation(play=play)).plan(  # type: ignore[arg-type]
            np.random.default_rng(7), moving_bank
        )
        for play in ("ping-pong", "loop", "still")
    }
    for plan in plans.values():
        np.testing.assert_array_equal(plan.centre, plans["still"].centre)
        np.testing.assert_array_equal(plan.objects, plans["still"].objects)
    assert plans["still"].pose is None
    assert not plans["loop"].is_rigid
    assert moving_bank.draws_animated
    assert not draw_from(moving_bank, categories=["still"]).draws_animated


def test_banks_with_animated_objects_are_united(
    moving_bank: ObjectBank, small_bank: ObjectBank, tmp_path: Path
) -> None:
    united = open_bank(small_bank.path, moving_bank.path)
    index = {record["id"]: number for number, record in enumerate(united.records())}
    plan = flapping(moving_bank)
    own = np.array([index[record["id"]] for record in moving_bank.records()])
    frame = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_array_equal(
        render(frame, replace(plan, objects=own), united), render(frame, plan, moving_bank)
    )
    merged = unite([small_bank.path, moving_bank.path], tmp_path / "merged")
    np.testing.assert_array_equal(merged.pose_start, united.pose_start)
    np.testing.assert_array_equal(merged.size, united.size)
    few = subset(merged.path, own[[0, 2]], tmp_path / "few", {})
    assert few.count_poses(np.arange(2)).tolist() == [6, 1]
    truth, there = Truth(plan, moving_bank), Truth(replace(plan, objects=own), united)
    np.testing.assert_array_equal(there.full_boxes, truth.full_boxes)
    points, _, start = united.all_rings()
    at = united.first_pose(own)[0]
    np.testing.assert_array_equal(points[start[at] : start[at + 1]], moving_bank.rings(0)[0])


def test_clips_are_written_and_made_again_and_exact_motion_is_refused(
    moving_bank: ObjectBank, small_bank: ObjectBank, tmp_path: Path
) -> None:
    def maker(bank: ObjectBank, **recipe: object) -> ClipMaker:
        return ClipMaker(
            bank=bank,
            recipe=MotionRecipe.named("paper", **recipe),  # type: ignore[arg-type]
            background=make_background("noise"),
            frames=4,
            size=(32, 32),
        )

    moving = maker(moving_bank)
    collection = Collection(maker=moving, folder=tmp_path, count=1, format=Videos(lossless=True))
    line = render_shard(0, collection)
    again = read_clip(tmp_path / line["json"], moving_bank)
    made = moving.make(0)
    np.testing.assert_array_equal(again.frames, made.frames)
    np.testing.assert_array_equal(again.plan.pose, made.plan.pose)
    for exact in (FlowFiles(encoding="flo"), TapVid(points=4)):
        said = r"moving: has animated objects, .*; hold them still with --animation still"
        with pytest.raises(InputError, match=said):
            Collection(maker=moving, folder=tmp_path, count=1, format=exact)
        for fits in (
            maker(moving_bank, animation="still"),
            maker(draw_from(moving_bank, categories=["still"])),
            maker(small_bank),
        ):
            exact.require_fitting(fits)
    with pytest.raises(InputError, match=r"--animation loop: no object .* is animated; leave"):
        ClipOptions(bank=small_bank.path, animation="loop").make_maker()
    chosen = ClipOptions(bank=moving_bank.path, animation="loop").make_maker()
    assert chosen.recipe.animation.play == "loop"
    page = clip_document(made, TokenGrid(frames=4, height=32, width=32), title="one")
    for thing, shown in zip(page["objects"], made.plan.pose, strict=True):
        assert len(thing["poses"]) == len(np.unique(shown))
        assert [len(thing["poses"][at]) for at in thing["pose"]] == [
            len(moving_bank.rings(int(index), pose)[1]) - 1
            for index, pose in zip([moving_bank.find(thing["name"])] * 4, shown, strict=True)
        ]


def test_who_looks_at_a_bank_sees_its_poses(
    moving_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = BankBrowser(moving_bank)
    assert browser.describe()["animated"] == 2
    listed = browser.page(browser.find(order="by id"), 1)["objects"]
    assert [entry["poses"] for entry in listed] == [6, 4, 1]
    pictures = [entry["picture"] for entry in listed] + [browser.portrait(0)["picture"]]
    counts = []
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
            counts.append(getattr(image, "n_frames", 1))
    assert counts == [6, 4, 1, 6]
    labels = [section.tiles[0].label for section in object_sections(moving_bank.path)]
    assert labels == ["flap-000000 x6", "grow-000001 x4", "disc-000002"]
    assert run_app("smile-motion", "Banks.", COMMANDS, ["bank", "info", str(moving_bank.path)]) == 0
    assert "2 objects, 10 poses" in capsys.readouterr().out
    write_dataset_card(
        tmp_path / "README.md", moving_bank.card, moving_bank.records(), name="moving"
    )
    assert "2 objects, of 10 poses together" in (tmp_path / "README.md").read_text()
