import json
import shutil
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.backgrounds import make_background, redraw
from smile_motion.backgrounds.base import BackgroundClip
from smile_motion.backgrounds.pseudo_motion import (
    Change,
    PseudoMotionBackground,
    redraw_pseudo_motion,
)
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import ClipMaker
from smile_motion.errors import InputError
from smile_motion.io.images import find_photographs, read_photograph
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator

SEEDS = st.integers(0, 2**32 - 1)
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
    with pytest.raises(InputError, match="background: file is missing"):
        redraw_pseudo_motion({"kind": "pseudo-motion"}, frames=8, size=SIZE)
