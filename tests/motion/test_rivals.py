import json
import shutil
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.__main__ import COMMANDS
from smile_motion.backgrounds import BackgroundClip, BlackBackground, make_background, redraw
from smile_motion.bank import ObjectBank, build
from smile_motion.bank.sources.shapes import CORNERS, ShapeKind, ShapeSource, corners, fill, texture
from smile_motion.cli.app import run_app
from smile_motion.clip_files import read_clip
from smile_motion.clips import ClipMaker
from smile_motion.dead_leaves import AcceleratingPath, DeadLeavesSize, SteadyRates, VideoTime
from smile_motion.errors import InputError
from smile_motion.photographs import find_photographs, read_photograph
from smile_motion.pseudo_motion import Change, PseudoMotionBackground, redraw_pseudo_motion
from smile_motion.recipe import MotionRecipe, RivalName
from smile_motion.rivals import RIVALS, recipe_bank
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import index_video, read_frames

SEEDS = st.integers(0, 2**32 - 1)
KINDS: tuple[ShapeKind, ...] = get_args(ShapeKind)


@pytest.fixture(scope="module")
def banks(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ObjectBank]:
    folder = tmp_path_factory.mktemp("rivals")
    return {
        kind: build(ShapeSource.open(kind, count=36, images=photographs), folder / kind, workers=0)
        for kind in KINDS
    }


def maker(name: RivalName, banks: dict[str, ObjectBank], **changes: int) -> ClipMaker:
    rival = RIVALS[name]
    assert rival.objects is not None
    recipe = rival.recipe()
    background = BlackBackground()
    return ClipMaker(bank=banks[rival.objects], recipe=recipe, background=background, **changes)


# Objects


@pytest.mark.parametrize("kind", KINDS)
def test_objects_depend_on_their_number_and_the_seed(kind: ShapeKind, photographs: Path) -> None:
    source = ShapeSource.open(kind, count=12, images=photographs)
    other = ShapeSource.open(kind, count=12, seed=1, images=photographs)
    for number in range(12):
        made = source.make(number)
        assert (made.image == source.make(number).image).all()
        assert (made.image != other.make(number).image).any()
    names = {(thing.category, thing.name) for thing in map(source.make, range(12))}
    assert len(names) == 12


def test_kinds_hold_what_the_paper_lists(banks: dict[str, ObjectBank]) -> None:
    assert banks["circles"].categories == ("circle",)
    for kind in ("shapes", "textures", "crops"):
        assert set(banks[kind].categories) == set(CORNERS)
        assert (np.bincount(banks[kind].category) == 6).all()
    for index in range(36):
        image = banks["shapes"].image(index)
        opaque = image[image[..., 3] == 255][:, :3]
        assert (opaque == opaque[0]).all()
    colours = {tuple(banks["circles"].image(index)[128, 128]) for index in range(36)}
    assert len(colours) == 36


@given(seed=SEEDS, shape=st.sampled_from(sorted(CORNERS)))
def test_shapes_have_their_corners_on_the_circle(seed: int, shape: str) -> None:
    points = corners(np.random.default_rng(seed), shape)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert fill(points).mean() / 255 == pytest.approx(area / 4, abs=0.004)
    if "square" in shape or shape == "rectangle":
        sides = np.roll(points, -1, axis=0) - points
        np.testing.assert_allclose((sides * np.roll(sides, -1, axis=0)).sum(axis=1), 0, atol=1e-12)
    if "square" in shape:
        assert area == pytest.approx(2)


def test_crops_are_pixels_of_photographs(photographs: Path) -> None:
    source = ShapeSource.open("crops", count=24, images=photographs)
    originals = set()
    for number in range(24):
        made = source.make(number)
        x, y, width, height = made.details["crop"]
        assert width == height
        originals.add(made.details["original"])
        photograph = read_photograph(photographs / made.details["original"])
        assert width <= min(photograph.shape[:2])
        how = cv2.INTER_AREA if width > 256 else cv2.INTER_LINEAR
        expected = cv2.resize(
            photograph[y : y + height, x : x + width], (256, 256), interpolation=how
        )
        assert (made.image[..., :3] == expected).all()
    assert len(originals) > 3


def test_textures_span_a_range_of_spectra_and_colours() -> None:
    drawn = [texture(np.random.default_rng(seed), 64) for seed in range(60)]
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in drawn)
    rough = [np.abs(np.diff(image.astype(float), axis=1)).mean() / image.std() for image in drawn]
    assert max(rough) > 8 * min(rough)
    assert np.ptp([image.mean() for image in drawn]) > 50


def test_crops_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--images"):
        ShapeSource.open("crops", count=3)
    with pytest.raises(InputError, match="no photograph"):
        ShapeSource.open("crops", count=3, images=tmp_path)


# Motion


@given(seed=SEEDS, side=st.sampled_from([112, 224]))
def test_sizes_are_diameters_in_the_range(seed: int, side: int) -> None:
    aspect = np.array([1.0, 0.5, 2.0])
    size = DeadLeavesSize().draw(np.random.default_rng(seed), aspect, side)
    assert (size.max(axis=1) >= 2 * 0.1 * side - 1e-9).all()
    assert (size.max(axis=1) <= 2 * side + 1e-9).all()
    np.testing.assert_allclose(size[:, 0] / size[:, 1], aspect)


def test_radii_follow_the_law_of_dead_leaves() -> None:
    count = 200_000
    size = DeadLeavesSize().draw(np.random.default_rng(0), np.ones(count), 1.0)
    radius = np.sort(size[:, 0] / 2)

    def below(r: np.ndarray) -> np.ndarray:
        return (0.1**-2 - r**-2.0) / 2 - (r - 0.1)

    grid = np.linspace(0.12, 0.95, 12)
    found = np.searchsorted(radius, grid) / count
    np.testing.assert_allclose(found, below(grid) / below(np.array(1.0)), atol=0.005)


@given(
    seed=SEEDS,
    frames=st.integers(1, 40),
    stride=st.integers(1, 8),
    acceleration=st.sampled_from([0.0, 0.0525]),
)
def test_paths_are_straight_and_change_speed_steadily(
    seed: int, frames: int, stride: int, acceleration: float
) -> None:
    law = AcceleratingPath(acceleration_px=acceleration, time=VideoTime(stride=stride))
    centre = law.draw(np.random.default_rng(seed), frames, (224, 320), np.ones((5, 2)))
    assert centre.shape == (5, frames, 2)
    middle = centre[:, frames // 2]
    assert (np.abs((middle + 0.5) / [320, 224] - 0.5) <= 1).all()
    change = np.diff(centre, n=2, axis=1)
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :1], change.shape), atol=1e-6)
    assert (np.linalg.norm(change, axis=2) <= acceleration * stride**2 + 1e-6).all()
    step = np.linalg.norm(np.diff(centre, axis=1), axis=2)
    if acceleration == 0:
        assert (step >= 1.05 * stride - 1e-6).all()
        assert (step <= 2.625 * stride + 1e-6).all()
    ends = centre[:, -1] - centre[:, 0]
    off = centre - centre[:, :1]
    cross = off[..., 0] * ends[:, None, 1] - off[..., 1] * ends[:, None, 0]
    np.testing.assert_allclose(cross, 0, atol=1e-4)


def test_paths_scale_with_the_frame() -> None:
    law, one = AcceleratingPath(), np.ones((4, 2))
    small = law.draw(np.random.default_rng(5), 16, (112, 112), one)
    large = law.draw(np.random.default_rng(5), 16, (224, 224), one)
    np.testing.assert_allclose((small + 0.5) * 2, large + 0.5)


@given(seed=SEEDS, frames=st.integers(2, 64))
def test_rates_are_steady_and_within_the_published_ranges(seed: int, frames: int) -> None:
    angle, scale = SteadyRates().draw(np.random.default_rng(seed), 6, frames)
    turn, growth = np.diff(angle, axis=1), scale[:, 1:] / scale[:, :-1]
    np.testing.assert_allclose(turn, np.broadcast_to(turn[:, :1], turn.shape), atol=1e-9)
    np.testing.assert_allclose(growth, np.broadcast_to(growth[:, :1], growth.shape))
    assert (np.abs(turn) <= 4 * 1.8 + 1e-9).all()
    assert (growth >= (1 - 0.005) ** 4 - 1e-9).all()
    assert (growth <= (1 + 0.005) ** 4 + 1e-9).all()


def test_clips_begin_anywhere_in_the_video_and_end_in_it() -> None:
    time = VideoTime().draw(np.random.default_rng(0), 4000, 16)
    assert time.min() == 0
    assert 190 <= time.max() < 200
    assert (np.diff(time, axis=1) == 4).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeadLeavesSize(radius_share=(0.0, 1.0)), "radius_share"),
        (lambda: DeadLeavesSize(power=0), "power is 0"),
        (lambda: VideoTime(stride=0), "stride is 0"),
        (lambda: VideoTime(duration=(9, 3)), "duration is"),
        (lambda: AcceleratingPath(speed_px=(3.0, 1.0)), "speed_px"),
        (lambda: AcceleratingPath(margin=-1), "margin is -1"),
        (lambda: SteadyRates(scale=1.0), "scale is 1.0"),
        (lambda: SteadyRates(rotation_deg=-1), "rotation_deg is -1"),
    ],
)
def test_impossible_motions_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# Recipes


def test_every_rival_has_a_recipe_by_name_that_survives_json(small_bank: ObjectBank) -> None:
    assert set(RIVALS) == set(get_args(RivalName))
    for name, rival in RIVALS.items():
        recipe = MotionRecipe.named(name)
        assert recipe == rival.recipe()
        again = MotionRecipe.from_json(json.loads(json.dumps(recipe.to_json())))
        assert again == recipe
        rng, same = keyed_generator(1, Stream.MOTION), keyed_generator(1, Stream.MOTION)
        one, other = recipe.plan(rng, small_bank), again.plan(same, small_bank)
        assert (one.centre == other.centre).all()
        assert (one.scale == other.scale).all()
        assert MotionRecipe.named(name, objects=3).objects == 3


def test_stages_add_one_thing_at_a_time(banks: dict[str, ObjectBank]) -> None:
    def moves(name: RivalName) -> tuple[bool, bool, bool]:
        plan = maker(name, banks).plan(0)
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


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "pseudo-motion"])
def test_leaves_cover_the_frame_and_every_clip_repeats(
    name: RivalName, banks: dict[str, ObjectBank]
) -> None:
    clips = maker(name, banks)
    clip = clips.make(3)
    assert (clip.frames == clips.make(3).frames).all()
    assert (clip.frames != clips.make(4).frames).any()
    assert (clip.frames == clip.frames[:1]).all() == (name == "static-circles")
    covered = np.mean([clips.make(index).truth.ids > 0 for index in range(6)])
    assert covered > 0.92


def test_depth_does_not_follow_size(banks: dict[str, ObjectBank]) -> None:
    plan = maker("moving-circles", banks).plan(0)
    area = np.prod(plan.base_size, axis=1)[plan.order[0]]
    above = (np.diff(area) > 0).mean()
    assert 0.35 < above < 0.65


def test_a_rivals_bank_is_made_once(
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


# Pseudo-motion

CHANGES: tuple[Change, ...] = get_args(Change)
SIZE = (96, 128)


def draw(background: PseudoMotionBackground, index: int = 0, epoch: int = 0) -> BackgroundClip:
    rng = keyed_generator(1, Stream.BACKGROUND, epoch=epoch, index=index)
    return background.draw(rng, index=index, frames=8, size=SIZE)


def opened(photographs: Path, *changes: Change, mixup: float = 0) -> PseudoMotionBackground:
    return PseudoMotionBackground(
        files=find_photographs(photographs), changes=changes or CHANGES, mixup=mixup
    )


@pytest.mark.parametrize("mixup", [0.0, 1.0])
@pytest.mark.parametrize("change", CHANGES)
def test_pixels_are_drawn_again_from_the_origin(
    photographs: Path, tmp_path: Path, change: Change, mixup: float
) -> None:
    background = opened(photographs, change, mixup=mixup)
    for index in range(len(background)):
        clip = draw(background, index)
        assert clip.frames.shape == (8, *SIZE, 3)
        assert clip.frames.dtype == np.uint8
        assert (draw(background, index).frames == clip.frames).all()
        assert (draw(background, index, epoch=1).frames != clip.frames).any()
        origin = json.loads(json.dumps(clip.origin))
        assert (redraw_pseudo_motion(origin, frames=8, size=SIZE) == clip.frames).all()
        still = (clip.frames == clip.frames[:1]).all()
        assert still == (change == "identity")
    moved = Path(shutil.copytree(photographs, tmp_path / "moved")) / Path(origin["file"]).name
    origin["file"] = "/gone"
    for part in origin["parts"]:
        part["file"] = f"/gone/{Path(part['file']).name}"
    again = redraw_pseudo_motion(origin, frames=8, size=SIZE, file=moved)
    assert (again == clip.frames).all()


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "fade"])
def test_the_change_is_applied_again_and_again(photographs: Path, change: Change) -> None:
    """A clip that starts with the window of its second frame shows the rest of the clip."""
    clip = draw(opened(photographs, change))
    (part,) = clip.origin["parts"]
    later = part | {"window": (np.array(part["window"]) @ np.array(part["step"])).tolist()}
    rest = redraw_pseudo_motion(clip.origin | {"parts": [later]}, frames=7, size=SIZE)
    # The photograph is made smaller to suit the first window, which now differs a little.
    assert np.abs(rest.astype(int) - clip.frames[1:]).mean() < 3


def test_a_window_shows_the_photograph(photographs: Path) -> None:
    """The first frame is the crop that `window` names, as plainly cut out and resized."""
    for index in range(6):
        clip = draw(opened(photographs, "identity"), index)
        (part,) = clip.origin["parts"]
        (side_x, _, middle_x), (_, side_y, middle_y), _ = part["window"]
        x, y = round(middle_x - side_x / 2 + 0.5), round(middle_y - side_y / 2 + 0.5)
        photograph = read_photograph(Path(part["file"]))
        cropped = photograph[y : y + round(side_y), x : x + round(side_x)]
        plain = cv2.resize(cropped, SIZE[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(plain.astype(int) - clip.frames[0]).mean() < 6


@given(seed=SEEDS)
def test_sliding_and_zooming_windows_stay_inside(seed: int) -> None:
    background = PseudoMotionBackground(files=(Path("any.jpg"),), changes=("slide", "zoom"))
    part = background._draw_change(np.random.default_rng(seed), 300, 400, 16)
    corner = np.array([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5], [1, 1, 1, 1]])
    window, step = np.array(part["window"]), np.array(part["step"])
    for t in range(16):
        x, y, _ = window @ np.linalg.matrix_power(step, t) @ corner
        assert (x >= -0.5 - 1e-6).all()
        assert (x <= 399.5 + 1e-6).all()
        assert (y >= -0.5 - 1e-6).all()
        assert (y <= 299.5 + 1e-6).all()


def test_fading_ends_or_begins_in_black(photographs: Path) -> None:
    background = opened(photographs, "fade")
    starts = set()
    for index in range(12):
        frames = draw(background, index).frames
        dark = [not frames[0].any(), not frames[-1].any()]
        assert sum(dark) == 1
        starts.add(dark[0])
        level = frames.mean(axis=(1, 2, 3))
        assert (np.diff(level) * (1 if dark[0] else -1) > 0).all()
    assert starts == {True, False}


def test_mixing_is_the_weighted_sum_of_its_parts(photographs: Path) -> None:
    clip = draw(opened(photographs, "affine", "zoom", mixup=1.0), 2)
    parts = clip.origin["parts"]
    assert len(parts) == 2
    assert sum(part["weight"] for part in parts) == pytest.approx(1)
    alone = [
        redraw_pseudo_motion(
            clip.origin | {"parts": [part | {"weight": 1.0}]}, frames=8, size=SIZE
        ).astype(float)
        for part in parts
    ]
    expected = sum(part["weight"] * frames for part, frames in zip(parts, alone, strict=True))
    assert np.abs(expected - clip.frames).max() <= 0.51


def test_a_clip_of_pseudo_motion_has_no_objects(photographs: Path, small_bank: ObjectBank) -> None:
    clips = ClipMaker(
        bank=small_bank,
        recipe=MotionRecipe.named("pseudo-motion"),
        background=opened(photographs, mixup=1.0),
        size=SIZE,
    )
    clip = clips.make(5)
    assert clip.plan.slots == 0
    assert not clip.truth.ids.any()
    again = redraw_pseudo_motion(clip.origin, frames=16, size=SIZE)
    assert (again == clip.frames).all()


def test_frames_are_drawn_in_place_where_asked(photographs: Path) -> None:
    background = make_background("pseudo-motion", images=photographs)
    out = np.empty((8, *SIZE, 3), np.uint8)
    rng = keyed_generator(1, Stream.BACKGROUND, index=1)
    clip = background.draw(rng, index=1, frames=8, size=SIZE, out=out)
    assert clip.frames is out
    assert (redraw(clip.origin, rng, frames=8, size=SIZE) == out).all()
    with pytest.raises(InputError, match="add --images"):
        make_background("pseudo-motion")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ()}, "--images"),
        ({"changes": ("melt",)}, "melt"),
        ({"changes": ()}, "changes is"),
        ({"zoom": (0.3, 0.1)}, "zoom is"),
        ({"mixup": -1.0}, "mixup is -1"),
    ],
)
def test_impossible_pseudo_motions_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PseudoMotionBackground(**({"files": (Path("a.jpg"),)} | changes))


def test_incomplete_origins_are_refused() -> None:
    with pytest.raises(InputError, match="incomplete"):
        redraw_pseudo_motion({"kind": "pseudo-motion"}, frames=8, size=SIZE)


# Commands


@pytest.fixture
def banks_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMILE_OBJECT_BANKS", str(tmp_path / "banks"))
    monkeypatch.setattr("smile_motion.rivals.BANK_OBJECTS", 12)
    monkeypatch.setattr("smile_motion.bank.embedded.OBJECTS", 30)


def run(*words: object) -> int:
    return run_app("smile-motion", "", COMMANDS, [str(word) for word in words])


@pytest.mark.usefixtures("banks_here")
@pytest.mark.parametrize("name", RIVALS)
def test_one_command_renders_a_rival(name: str, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    words = ["--recipe", name, "--images", photographs, "--frames", 4, "--size", 64, "--n", 1]
    assert run("render", *words, "--lossless", "--workers", 0, "--out", out) == 0
    described = json.loads((out / "clip_000000.json").read_text())
    rival = RIVALS[name]
    assert described["background"]["kind"] == rival.background
    assert len(described["plan"]["objects"]) == rival.recipe().objects
    bank = recipe_bank(name, images=photographs)
    again = read_clip(out / "clip_000000.json", bank)
    stored = read_frames(index_video(out / "clip_000000.mp4"), range(4))
    assert (again.frames == stored).all()


@pytest.mark.parametrize("kind", KINDS)
def test_banks_of_shapes_are_built_by_command(kind: str, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "bank"
    words = ["--source", kind, "--n", 12, "--images", photographs, "--workers", 0]
    assert run("build-bank", *words, "--out", out) == 0
    assert ObjectBank.open(out).card["source"] == kind
