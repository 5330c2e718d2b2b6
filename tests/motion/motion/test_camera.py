"""A camera over a still background: what is seen is where the maps say, and so is all truth."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion import ClipMaker, MotionOverlay, MotionRecipe, make_background
from smile_motion.backgrounds.base import Background
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import clip_json, read_clip
from smile_motion.errors import InputError
from smile_motion.motion.camera import CAMERAS, Camera, CameraPath, surface_maps
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.plan_json import plan_from_json, plan_to_json
from smile_motion.player import clip_document
from smile_motion.renderer.cpu import render, view_scene
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth.instances import Truth

SIZE = (48, 64)
GRID = TokenGrid(frames=8, height=48, width=64)
ROLLING = MotionRecipe.named("paper", camera="pan-zoom-roll")

paths = st.builds(
    CameraPath,
    pan_px=st.floats(0, 200),
    zoom=st.floats(1, 3),
    roll_deg=st.sampled_from([0.0, 5.0, 45.0, 180.0]),
)
sizes = st.tuples(st.integers(16, 64), st.integers(16, 64))


def draw(bank: ObjectBank, path: CameraPath | None, index: int, objects: int = 2) -> MotionPlan:
    recipe = replace(MotionRecipe.paper(objects), camera=path)
    rng = keyed_generator(5, Stream.MOTION, index=index)
    return recipe.plan(rng, bank, frames=8, size=SIZE)


def ramp(plan: MotionPlan) -> np.ndarray:
    """A scene whose red and green are its pixels' own x and y."""
    assert plan.camera is not None
    height, width = plan.camera.scene
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)[None]


@given(paths, sizes, st.integers(0, 10_000), st.sampled_from([1, 2, 16]))
@settings(max_examples=60, deadline=None)
def test_the_scene_fills_every_frame_of_every_path(
    path: CameraPath, size: tuple[int, int], index: int, frames: int
) -> None:
    camera = path.draw(keyed_generator(5, Stream.MOTION, index=index), frames, size)
    camera.require_covering(frames, *size)
    assert camera.scene == path.scene_size(size)
    # As large as the farthest view, and no larger.
    turn = np.deg2rad(np.linspace(0, path.roll_deg, 500))
    pan = path.pan_px * min(size) / 224
    for side, along, across in zip(camera.scene, size, size[::-1], strict=True):
        view = np.abs(along * np.cos(turn)) + np.abs(across * np.sin(turn))
        assert view.max() + pan - 0.01 <= side < view.max() + pan + 2.01


@given(paths, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_pixel_shows_the_point_of_the_scene_that_its_map_says(
    small_bank: ObjectBank, path: CameraPath, index: int
) -> None:
    plan = draw(small_bank, path, index, objects=0)
    assert plan.camera is not None
    height, width = plan.camera.scene
    if max(height, width) > 256:
        return
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for frame, map_ in zip(view_scene(ramp(plan), plan), surface_maps(plan)[0], strict=True):
        at = np.stack([x, y], axis=-1) - map_[:, 2]
        unit = at @ np.linalg.inv(map_[:, :2]).T
        shown = unit * (width, height) + ((width - 1) / 2, (height - 1) / 2)
        # Half a value of rounding, and 8 bits of weights.
        assert np.abs(frame[..., :2] - shown).max() < 0.53


@given(paths, st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_flow_tracks_and_maps_say_the_same_of_background_and_objects(
    small_bank: ObjectBank, path: CameraPath, index: int
) -> None:
    plan = draw(small_bank, path, index)
    truth = Truth(plan, small_bank)
    flow, back = truth.flow(), truth.flow(backward=True)
    y, x = (part.ravel() for part in np.mgrid[: SIZE[0] : 5, : SIZE[1] : 5])
    for t in (0, 3, 6):
        tracks = truth.track(np.stack([x, y], axis=1), t)
        moved = np.stack([x, y], axis=1) + flow.vectors[t, y, x]
        np.testing.assert_allclose(tracks.positions[:, t + 1], moved, atol=1e-4)
        assert (tracks.visible[:, t + 1] == ~flow.occluded[t, y, x]).all()
        # Followed back from where they went, points return.
        seen = tracks.visible[:, t + 1]
        again = truth.track(tracks.positions[seen, t + 1], t + 1)
        np.testing.assert_allclose(again.positions, tracks.positions[seen], atol=1e-9)
        assert (again.slot == tracks.slot[seen]).all()
        column, row = np.rint(tracks.positions[seen, t + 1]).astype(int).T
        assert (truth.ids[t + 1, row, column] == tracks.slot[seen] + 1).all()
        own = truth.track(np.stack([x, y], axis=1), t + 1)
        moved = np.stack([x, y], axis=1) + back.vectors[t, y, x]
        np.testing.assert_allclose(own.positions[:, t], moved, atol=1e-4)
        assert (own.visible[:, t] == ~back.occluded[t, y, x]).all()


@pytest.mark.parametrize("index", range(3))
def test_warping_by_the_flow_gives_the_next_frame_but_for_its_sampling(
    small_bank: ObjectBank, photographs: Path, index: int
) -> None:
    maker = ClipMaker(
        bank=small_bank, recipe=ROLLING, frames=8, size=(96, 96), seed=3,
        background=make_background("places", images=photographs),
    )  # fmt: skip
    scene = cv2.GaussianBlur(maker.draw_background(index).frames[0], (0, 0), 3)
    frames = render(scene[None], maker.plan(index), small_bank)
    truth = Truth(maker.plan(index), small_bank)
    flow = truth.flow()
    grid = np.stack(np.meshgrid(np.arange(96), np.arange(96)), axis=-1).astype(np.float32)
    for t in range(7):
        at = grid + flow.vectors[t]
        warped = cv2.remap(frames[t + 1], at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        near = cv2.dilate((truth.ids[t : t + 2] > 0).max(0).astype(np.uint8), np.ones((9, 9)))
        inside = ((at >= 0) & (at <= 95)).all(axis=2) & (near == 0)
        assert inside.mean() > 0.3
        assert np.abs(warped[inside].astype(int) - frames[t][inside]).mean() < 1.0


def test_a_camera_that_does_not_move_is_none(small_bank: ObjectBank) -> None:
    still = draw(small_bank, None, 4)
    plan = replace(
        still,
        camera=Camera(
            scene=SIZE, centre=((31.5, 23.5),) * 8, angle_deg=(0.0,) * 8, scale=((1.0, 1.0),) * 8
        ),
    )
    noise = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    assert (render(noise, plan, small_bank) == render(noise, still, small_bank)).all()
    one, other = Truth(plan, small_bank), Truth(still, small_bank)
    assert (one.flow().vectors == other.flow().vectors).all()
    assert (one.flow().occluded == other.flow().occluded).all()
    points = np.argwhere(one.ids[0] == 0)[::97, ::-1]
    np.testing.assert_allclose(one.track(points).positions, other.track(points).positions)
    for reading in ("present", "started"):
        found, wanted = (truth.token_motion(GRID, reading=reading) for truth in (one, other))
        np.testing.assert_allclose(found.displacement, wanted.displacement, atol=1e-12)
        assert (found.visible == wanted.visible).all()


def test_objects_move_alike_with_and_without_a_camera(small_bank: ObjectBank) -> None:
    with_it, without = draw(small_bank, CameraPath(), 9), draw(small_bank, None, 9)
    for name in ("objects", "base_size", "centre", "angle_deg", "scale", "order"):
        assert (getattr(with_it, name) == getattr(without, name)).all()
    one, other = Truth(with_it, small_bank), Truth(without, small_bank)
    assert (one.ids == other.ids).all()
    assert (one.token_coverage(GRID) == other.token_coverage(GRID)).all()
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.visible_share, other.visible_share)
    assert "camera" not in MotionRecipe.paper().to_json()
    assert "camera" not in plan_to_json(without, small_bank)


def test_a_larger_or_mirrored_frame_shows_the_same(small_bank: ObjectBank) -> None:
    plan = draw(small_bank, CameraPath(), 2, objects=0)
    frames = view_scene(ramp(plan), plan).astype(int)
    mirrored = view_scene(ramp(plan), plan.mirrored()).astype(int)
    assert np.abs(mirrored[:, :, ::-1] - frames).max() <= 1
    large = view_scene(ramp(plan), plan.resized(3)).astype(int)
    assert np.abs(large[:, 1::3, 1::3] - frames).max() <= 1
    assert plan.mirrored().mirrored().camera == plan.camera


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_recipes_and_plans_keep_their_camera_as_json(small_bank: ObjectBank, name: str) -> None:
    recipe = MotionRecipe.named("paper", camera=name)  # type: ignore[arg-type]
    assert MotionRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    plan = draw(small_bank, recipe.camera, 1)
    again = plan_from_json(json.loads(json.dumps(plan_to_json(plan, small_bank))), small_bank)
    assert again.camera == plan.camera
    if name == "pan":
        assert plan.camera is not None
        assert set(plan.camera.angle_deg) == {0.0}
        assert set(plan.camera.scale) == {(1.0, 1.0)}


@pytest.mark.parametrize("kind", ["noise", "places", "frame", "black"])
def test_a_written_clip_is_rendered_again(
    small_bank: ObjectBank, photographs: Path, real_videos: dict[str, Path], tmp_path: Path, kind
) -> None:
    background = make_background(
        kind,
        images=photographs if kind == "places" else None,
        videos=real_videos["bikes"] if kind == "frame" else None,
    )
    maker = ClipMaker(
        bank=small_bank, recipe=ROLLING, background=background, frames=8, size=SIZE, seed=1
    )
    clip = maker.make(5)
    assert maker.draw_background(5).frames.shape == (1, *maker.background_size, 3)
    out = np.empty((8, *SIZE, 3), np.uint8)
    assert maker.make(5, out=out).frames is out
    assert (out == clip.frames).all()
    (tmp_path / "clip.json").write_text(json.dumps(clip_json(maker, 5, clip)))
    again = read_clip(tmp_path / "clip.json", small_bank)
    assert (again.frames == clip.frames).all()
    assert (again.truth.flow().vectors == clip.truth.flow().vectors).all()
    motion = clip.truth.token_motion(GRID)
    assert np.isfinite(motion.displacement).all()
    assert (motion.displacement[motion.slot < 0] != 0).any()


def test_the_player_shows_the_flow_of_a_camera_alone(small_bank: ObjectBank) -> None:
    recipe = MotionRecipe.named("paper", objects=0, camera="pan")
    maker = ClipMaker(
        bank=small_bank, recipe=recipe, background=make_background("noise"), frames=8, size=SIZE
    )
    for one, shown in ((maker, True), (replace(maker, recipe=MotionRecipe.paper(0)), False)):
        document = clip_document(one.make(0), GRID, title="")
        assert ("flow" in {picture["name"] for picture in document["pictures"]}) == shown


def moving(kind: str, photographs: Path, videos: Path) -> Background:
    return make_background(
        kind,  # type: ignore[arg-type]
        images=photographs if kind == "pseudo-motion" else None,
        videos=videos if kind == "natural" else None,
        noise_per_frame=kind == "noise",
    )


@pytest.mark.parametrize("kind", ["natural", "pseudo-motion", "noise"])
def test_a_background_that_moves_by_itself_has_no_camera(
    small_bank: ObjectBank, photographs: Path, real_videos: dict[str, Path], kind: str
) -> None:
    background = moving(kind, photographs, real_videos["bikes"])
    with pytest.raises(InputError, match=r"camera, which moves over a still image.*or no camera"):
        ClipMaker(bank=small_bank, recipe=ROLLING, background=background)


def test_what_a_camera_cannot_do_is_refused_in_one_line(small_bank: ObjectBank) -> None:
    plan = draw(small_bank, CameraPath(), 0)
    camera = plan.camera
    assert camera is not None
    with pytest.raises(InputError, match=r"shows more than its scene of .* in frame 0; give"):
        replace(plan, camera=replace(camera, scene=(48, 64)))
    with pytest.raises(InputError, match=r"camera\.scale is of 7 frames, expected 8"):
        replace(plan, camera=replace(camera, scale=camera.scale[1:]))
    for name, values in (
        ("scale", ((0.0, 1.0),) * 8),
        ("scale", ((np.nan, 1.0),) * 8),
        ("centre", ((np.inf, 0.0),) * 8),
        ("angle_deg", (np.nan,) * 8),
    ):
        with pytest.raises(InputError, match=r"^plan: camera"):
            replace(plan, camera=replace(camera, **{name: values}))
    with pytest.raises(InputError, match=r"one image, uint8 \(1, \d+, \d+, 3\)"):
        render(np.zeros((8, *SIZE, 3), np.uint8), plan, small_bank)
    with pytest.raises(InputError, match="no camera"):
        view_scene(ramp(plan), replace(plan, camera=None))
    with pytest.raises(InputError, match="objects go over clips here"):
        MotionOverlay(bank=small_bank, recipe=ROLLING)
    with pytest.raises(InputError, match="at most 16384 a side"):
        CameraPath(pan_px=448).scene_size((8192, 8192))
    with pytest.raises(InputError, match="zoom"):
        replace(MotionRecipe.paper(), camera=CameraPath(zoom=0.5))
