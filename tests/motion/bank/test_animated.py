"""Objects that move by themselves: from GIF, WebP, APNG and videos with alpha to clips."""

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
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
from smile_motion.bank.format import read_card
from smile_motion.bank.integrity import verify
from smile_motion.bank.subset import subset
from smile_motion.bank.union import unite
from smile_motion.cli.app import run_app
from smile_motion.clips.clip import Clip, truth_json
from smile_motion.clips.options import ClipOptions
from smile_motion.explore.objects import BankBrowser
from smile_motion.export import Collection, FlowFiles, TapVid, Videos, render_shard
from smile_motion.io.files import dump_json, sha256
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


def test_a_file_becomes_one_object_of_several_poses(
    moving_bank: ObjectBank, moving_pictures: Path
) -> None:
    assert moving_bank.count_poses(np.arange(3)).tolist() == [6, 4, 1]
    bird, disc, still = moving_bank.records()
    assert (bird["poses"], bird["pose_ms"], disc["poses"], disc["pose_ms"]) == (6, 80, 4, 40)
    assert "poses" not in still
    poses = np.stack(list(moving_bank.images(0)))
    assert poses.shape == (6, bird["height"], bird["width"], 4)
    assert not poses[4].any()  # an empty one
    assert (poses[..., 3] > 0).any(axis=(0, 1)).all()  # cropped to all of them together
    assert (poses[..., 3] > 0).any(axis=(0, 2)).all()
    with Image.open(moving_pictures / "bird/flap.gif") as image:
        image.seek(2)
        whole = np.asarray(image.convert("RGBA"))
    rows, columns = (np.flatnonzero((whole[..., 3] > 0).any(axis=axis)) for axis in (1, 0))
    inside = np.any([p[..., 3] > 0 for p in poses], axis=0)
    assert inside.shape[0] >= len(rows)
    assert inside.shape[1] == len(columns)
    seen = whole[whole[..., 3] > 0]
    np.testing.assert_array_equal(poses[2][poses[2][..., 3] > 0], seen)
    with Image.open(moving_bank.path / bird["file_name"]) as image:  # an APNG that browsers show
        assert (image.n_frames, image.info["duration"]) == (6, 80)
    assert [fault for _, fault in verify(moving_bank.path) if fault] == []


def save(path: Path, frames: list[np.ndarray], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, **options)


def squares(count: int, side: int = 32) -> list[np.ndarray]:
    """An opaque square that walks, on a transparent canvas."""
    frames = np.zeros((count, side, side, 4), np.uint8)
    for number, frame in enumerate(frames):
        at = 2 + number % (side - 12)
        frame[10:18, at : at + 8] = (200, 10 + number, 40, 255)
    return list(frames)


def write_video(path: Path, frames: list[np.ndarray], codec: str, pixels: str) -> None:
    with av.open(str(path), "w") as container:
        options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for frame in frames:
            made = av.VideoFrame.from_ndarray(frame, format="rgba")
            container.mux(stream.encode(made.reformat(format=pixels)))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.webp", "", ""),
        ("a.apng", "", ""),
        ("a.png", "", ""),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "png", "rgba"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.webm", "libvpx", "yuva420p"),
    ],
)
def test_every_kind_of_file_gives_the_same_motion(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    frames = squares(5)
    if codec:
        write_video(tmp_path / name, frames, codec, pixels)
    elif name.endswith("png"):
        save(tmp_path / name, frames, format="PNG")
    else:
        save(tmp_path / name, frames, lossless=True)
    made = FolderSource.open(tmp_path).make(0)
    assert made.image.ndim == 4
    assert len(made.image) == 5
    assert made.details["pose_ms"] == pytest.approx(40 if codec else 50)
    middles = [np.nonzero(pose[..., 3] > 127)[1].mean() for pose in made.image]
    np.testing.assert_allclose(np.diff(middles), 1, atol=0.2)


def test_long_files_are_thinned_and_what_is_empty_before_the_first_is_dropped(
    tmp_path: Path,
) -> None:
    empty = np.zeros((32, 32, 4), np.uint8)
    save(tmp_path / "a.webp", squares(90), lossless=True)
    save(tmp_path / "b.webp", [empty, *squares(4), empty], lossless=True)
    source = FolderSource.open(tmp_path)
    long, late = source.make(0), source.make(1)
    assert len(long.image) == 64
    assert long.details["source_frames"] == 90
    assert long.details["pose_ms"] == pytest.approx(50 * 90 / 64, abs=0.01)
    assert len(late.image) == 5
    assert late.image[0].any()
    assert not late.image[-1].any()
    few = FolderSource.open(tmp_path, poses=3)
    np.testing.assert_array_equal(few.make(0).image[1][..., 1].max(), 10 + 30)
    assert few.card()["poses"] == 3
    assert "poses" not in source.card()
    single = FolderSource.open(tmp_path, poses=1).make(0)
    assert single.image.ndim == 3


def test_what_has_no_alpha_is_left_out_and_what_is_empty_is_refused(tmp_path: Path) -> None:
    opaque = [np.full((16, 16, 4), (10, 10 * n, 0, 255), np.uint8) for n in range(3)]
    save(tmp_path / "good.webp", squares(3), lossless=True)
    save(tmp_path / "film.gif", [frame[..., :3] for frame in opaque])
    write_video(tmp_path / "film.mp4", opaque, "libx264", "yuv420p")
    source = FolderSource.open(tmp_path)
    assert source.files == ("good.webp",)
    assert source.left_out == {
        "without transparency": 1, "videos without alpha that can be decoded": 1
    }  # fmt: skip
    (tmp_path / "list.txt").write_text("film.mp4\n")
    with pytest.raises(InputError, match=r"list.txt:1: film.mp4: has no transparency"):
        FolderSource.open(tmp_path, list_file=tmp_path / "list.txt")
    faint = [frame // np.uint8(3) for frame in squares(3)]
    for name, frames, said in (
        ("none.webp", faint, r"no opaque pixel in 3 frames \(alpha max 85\)"),
        ("full.mov", opaque, "opaque to its corners in all frames"),
    ):
        (tmp_path / "bad").mkdir(exist_ok=True)
        path = tmp_path / "bad" / name
        if name.endswith("mov"):
            write_video(path, frames, "qtrle", "argb")
        else:
            save(path, frames, lossless=True)
        with pytest.raises(InputError, match=rf"{name}: {said}"):
            FolderSource.open(path.parent).make(0)
        path.unlink()
    path = tmp_path / "bad" / "cut.webp"
    path.write_bytes((tmp_path / "good.webp").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"cut\.webp: not a readable image"):
        FolderSource.open(path.parent).make(0)
    path.unlink()
    for name, codec, pixels in (
        ("cut.webm", "libvpx-vp9", "yuva420p"),
        ("cut.mov", "qtrle", "argb"),
    ):
        path = tmp_path / "bad" / name
        write_video(path, squares(20), codec, pixels)
        assert len(FolderSource.open(path.parent).make(0).image) == 20
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3] if codec != "qtrle" else whole[:-30])
        with pytest.raises(InputError, match=rf"{name}: cut short, \d+ "):
            FolderSource.open(path.parent).make(0)
        path.unlink()
    for poses in (0, 65):
        with pytest.raises(InputError, match=rf"--poses is {poses}; an object has 1 to 64"):
            FolderSource.open(tmp_path, poses=poses)


def test_an_image_with_fewer_poses_than_recorded_is_refused(
    moving_bank: ObjectBank, tmp_path: Path
) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(moving_bank.path, bank)
    shutil.rmtree(bank / "packed")
    text = (bank / "metadata.jsonl").read_text()
    for poses, said in ((65, "poses is 65; expected less than or equal to 64"),
                        (7, r"flap-000000\.png: 6 poses, of 7 recorded")):  # fmt: skip
        changed = text.replace('"poses": 6', f'"poses": {poses}')
        (bank / "metadata.jsonl").write_text(changed)
        card = read_card(bank) | {"metadata_sha256": sha256(changed.encode())}
        (bank / "bank.json").write_bytes(dump_json(card))
        with pytest.raises(InputError, match=said):
            ObjectBank.open(bank)


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
