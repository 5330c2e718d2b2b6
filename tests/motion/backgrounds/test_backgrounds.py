import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from smile_motion.backgrounds import make_background, redraw
from smile_motion.backgrounds.base import Background, BackgroundClip
from smile_motion.backgrounds.sources import NoiseBackground
from smile_motion.errors import InputError
from smile_motion.io.images import cut, draw_crop, read_photograph
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import index_video, read_frames


def draw(background: Background, index: int = 0, epoch: int = 0) -> BackgroundClip:
    rng = keyed_generator(1, Stream.BACKGROUND, epoch=epoch, index=index)
    clip = background.draw(rng, index=index, frames=8, size=(96, 128))
    assert clip.frames.shape == (8, 96, 128, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.frames.flags.writeable
    return clip


@pytest.fixture
def kinds(real_videos: dict[str, Path], photographs: Path) -> dict[str, Background]:
    videos = real_videos["bikes"].parent
    return {
        "black": make_background("black"),
        "noise": make_background("noise"),
        "places": make_background("places", images=str(photographs)),
        "frame": make_background("frame", videos=videos),
        "natural": make_background("natural", videos=videos, stride=2),
    }


def test_every_kind_repeats_itself_by_key_and_changes_with_it(kinds: dict) -> None:
    for name, background in kinds.items():
        first = draw(background).frames
        assert (draw(background).frames == first).all()
        changed = (draw(background, epoch=1).frames != first).any()
        assert changed == (name != "black")
        still = (first == first[:1]).all()
        assert still == (name != "natural")


def test_black_is_black_and_noise_is_uniform(kinds: dict) -> None:
    assert not draw(kinds["black"]).frames.any()
    counts = np.bincount(draw(kinds["noise"]).frames[0].ravel(), minlength=256)
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 1.5 * counts.mean()


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "spectral"])
def test_noise_has_its_mean_and_can_change_every_frame(kind: str) -> None:
    frames = draw(NoiseBackground(kind=kind, per_frame=True)).frames  # type: ignore[arg-type]
    assert frames.mean() == pytest.approx(127.5, abs=4)
    assert (frames[0] != frames[1]).any()
    neighbours = np.corrcoef(frames[0, :, :-1].ravel(), frames[0, :, 1:].ravel())[0, 1]
    assert (neighbours > 0.5) == (kind == "spectral")


def test_natural_clips_are_the_frames_and_crop_that_their_origin_says(kinds: dict) -> None:
    clip = draw(kinds["natural"])
    origin = clip.origin
    assert np.diff(origin["frames"]).tolist() == [2] * 7
    images = read_frames(index_video(Path(origin["file"])), origin["frames"])
    assert (cut(images, tuple(origin["crop"]), (96, 128)) == clip.frames).all()


@pytest.mark.parametrize("kind", ["black", "noise", "places", "frame", "natural"])
def test_backgrounds_are_made_again_from_their_origin(
    kinds: dict, kind: str, tmp_path: Path
) -> None:
    clip = draw(kinds[kind], index=1)
    origin = json.loads(json.dumps(clip.origin))

    def again(file: Path | None = None) -> np.ndarray:
        rng = keyed_generator(1, Stream.BACKGROUND, index=1)
        return redraw(origin, rng, frames=8, size=(96, 128), file=file)

    assert (again() == clip.frames).all()
    if "file" in origin:
        moved = tmp_path / Path(origin["file"]).name
        moved.write_bytes(Path(origin["file"]).read_bytes())
        origin["file"] = "/nowhere"
        assert (again(moved) == clip.frames).all()
        origin["crop"][2] = 9000
        with pytest.raises(InputError, match="smaller than when its clip was made"):
            again(moved)


def test_origins_of_no_known_kind_are_refused() -> None:
    with pytest.raises(InputError, match="background: file is missing"):
        redraw({"kind": "natural"}, np.random.default_rng(0), frames=1, size=(16, 16))


def test_a_video_that_was_replaced_is_read_anew(
    real_videos: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "changing.mp4"
    for name in ("bikes", "bigbuckbunny"):
        path.write_bytes(real_videos[name].read_bytes())
        frames = draw(make_background("natural", videos=path)).frames
        origin = draw(make_background("natural", videos=real_videos[name])).frames
        assert (frames == origin).all()


def test_photographs_stand_upright_and_are_bounded(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    upright = read_photograph(tmp_path / "a.jpg")
    assert upright.shape == (60, 40, 3)
    assert upright[:, 30:].min() > 200
    assert upright[:, :10].max() < 50
    Image.new("1", (12_001, 10)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: 12001 x 10 px"):
        read_photograph(tmp_path / "b.png")


def test_the_index_passes_through_all_files(kinds: dict, photographs: Path) -> None:
    assert len(kinds["places"]) == 6
    seen = {draw(kinds["places"], index).origin["file"] for index in range(6)}
    assert seen == {str(path) for path in photographs.iterdir()}
    assert draw(kinds["places"], 7).origin["file"] == draw(kinds["places"], 1).origin["file"]


@given(st.integers(0, 2**32), st.integers(16, 800), st.integers(16, 800))
def test_crops_lie_inside_and_have_the_published_scales(seed: int, height: int, width: int) -> None:
    x, y, w, h = draw_crop(np.random.default_rng(seed), height, width)
    assert 0 <= x <= x + w <= width
    assert 0 <= y <= y + h <= height
    sides = [int(min(height, width) * scale) for scale in (1, 0.875, 0.75, 0.66)]
    places = [sides.index(w), sides.index(h)]
    assert abs(places[0] - places[1]) <= 1


@pytest.mark.parametrize("kind", ["natural", "frame", "places"])
def test_what_a_kind_needs_is_asked_for(kind: str) -> None:
    with pytest.raises(InputError, match="add --"):
        make_background(kind)  # type: ignore[arg-type]


def test_a_video_shorter_than_the_clip_is_named(real_videos: dict[str, Path]) -> None:
    background = make_background("natural", videos=real_videos["bigbuckbunny"], stride=40)
    with pytest.raises(InputError, match=r"bigbuckbunny\.mp4: 132 frames, too short for 8"):
        draw(background)


def test_a_broken_photograph_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    background = make_background("places", images=tmp_path)
    with pytest.raises(InputError, match=r"bad\.png: not a readable image"):
        draw(background, 0)


def test_videos_in_a_tar_are_like_any_and_one_that_is_gone_is_named(
    real_videos: dict[str, Path], tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "videos.tar", "w") as tar:
        tar.add(real_videos["bikes"], "bikes.mp4")
    inside = draw(make_background("natural", videos=tmp_path / "videos.tar"))
    outside = draw(make_background("natural", videos=real_videos["bikes"]))
    assert (inside.frames == outside.frames).all()
    gone = {**inside.origin, "file": str(tmp_path / "videos.tar" / "other.mp4")}
    with pytest.raises(InputError, match=r"videos\.tar/other\.mp4"):
        redraw(gone, np.random.default_rng(0), frames=8, size=(96, 128))
