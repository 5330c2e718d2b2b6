"""GIF, animated WebP and APNG, and folders of numbered images, are videos wherever videos are."""

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from smile_motion import ObjectBank, make_background, read_clip
from smile_motion.__main__ import COMMANDS
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.video import find_videos, index_video, open_index, pictures, read_frames
from smile_motion.video.packer import reencode
from smile_motion.video.packing import VideoPacking
from smile_motion.video.pictures import is_animation, numbered_images

FRAMES = 20
LENGTHS_MS = [50, 120] * (FRAMES // 2)


@pytest.fixture(scope="module")
def frames(real_videos: dict[str, Path]) -> np.ndarray:
    """Real frames, small: (20, 34, 80, 3) uint8."""
    read = read_frames(index_video(real_videos["bikes"]), range(0, 4 * FRAMES, 4))
    return np.stack([cv2.resize(one, (80, 34), interpolation=cv2.INTER_AREA) for one in read])


@pytest.fixture(scope="module")
def folder(frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames as a video of every kind, and a photograph."""
    home = tmp_path_factory.mktemp("videos")
    first, *rest = [Image.fromarray(frame) for frame in frames]
    moving = {"save_all": True, "append_images": rest, "duration": LENGTHS_MS, "loop": 0}
    first.save(home / "a.gif", **moving)
    first.save(home / "b.webp", lossless=True, **moving)
    first.save(home / "c.apng", format="PNG", **moving)
    first.save(home / "still.webp", lossless=True)
    (home / "d").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(home / f"d/frame_{number + 7:04d}.png"), frame[..., ::-1])
    (home / "d/.hidden").touch()
    return home


NAMES = ("a.gif", "b.webp", "c.apng", "d")


def test_a_folder_of_videos_has_them_all(folder: Path) -> None:
    assert [video.path for video in find_videos(folder)] == [folder / name for name in NAMES]
    for name in NAMES:
        assert [video.path for video in find_videos(folder / name)] == [folder / name]
    with pytest.raises(InputError, match=r"still\.webp"):
        find_videos(folder / "still.webp")
    listed = folder.parent / "list.txt"
    listed.write_text("".join(f"{folder.name}/{name} 3\n" for name in NAMES))
    found = find_videos(listed)
    assert [(video.path.name, video.label) for video in found] == [(name, "3") for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_exact_in_any_order(folder: Path, frames: np.ndarray, name: str) -> None:
    video = open_index(folder / name)
    assert len(video) == FRAMES
    expected = frames
    if name == "a.gif":  # Of 256 colors a frame, which Pillow chose.
        with Image.open(folder / name) as image:
            shown = []
            for number in range(FRAMES):
                image.seek(number)
                shown.append(np.asarray(image.convert("RGB")))
        expected = np.stack(shown)
        assert np.abs(expected.astype(int) - frames).mean() < 8
    for numbers in (range(FRAMES), [17, 3, 3, 0, 19], [5]):
        assert (read_frames(video, numbers) == expected[list(numbers)]).all()
    if name == "d":
        assert video.rate_hz == 25
        assert video.times_s[-1] == pytest.approx(FRAMES / 25)
    else:
        assert video.times_s[:4] == pytest.approx([0, 0.05, 0.17, 0.22])
    if name in ("b.webp", "c.apng"):
        assert video.rate_hz == pytest.approx(FRAMES / 1.7)
    for numbers in ([-1], [FRAMES]):
        with pytest.raises(InputError, match="has frames 0 to 19, asked for"):
            read_frames(video, numbers)


@pytest.mark.parametrize("name", ["b.webp", "c.apng"])
def test_an_animation_read_again_is_not_decoded_again(
    folder: Path, frames: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[Path] = []

    def counted(path: Path) -> AbstractContextManager[Image.Image]:
        opened.append(path)
        return opens(path)

    opens = pictures._opened
    monkeypatch.setattr(pictures, "_opened", counted)
    path = Path(shutil.copy(folder / name, tmp_path))
    video = open_index(path)
    opened.clear()
    for numbers, times in (([4, 11], 1), ([11, 2], 2), ([4], 2), ([15], 3), ([0, 15], 3)):
        assert (read_frames(video, numbers) == frames[numbers]).all()
        assert len(opened) == times
    monkeypatch.setattr(pictures, "KEPT_BYTES", frames[:9].nbytes)
    other = open_index(Path(shutil.copy(path, tmp_path / f"other-{name}")))
    opened.clear()
    for numbers, times in (([4], 1), ([4, 12, 17], 2), ([8, 3], 2), ([9], 3)):
        assert (read_frames(other, numbers) == frames[numbers]).all()
        assert len(opened) == times
    assert len(pictures._kept.frames) == 9
    shutil.copy(folder / "still.webp", path)  # changed: nothing of what it was is given
    with pytest.raises(InputError):
        read_frames(video, [15])


def test_gifs_that_keep_parts_of_former_frames_are_exact(tmp_path: Path) -> None:
    pictures = []
    for number in range(12):
        picture = Image.new("RGB", (40, 30), (200, 30, 30))
        picture.paste((20, 20, 200), (3 * number, 5, 3 * number + 4, 9))
        pictures.append(picture)
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=40)
    video = index_video(tmp_path / "a.gif")
    for number in (11, 4, 8):
        assert (read_frames(video, [number])[0] == np.asarray(pictures[number])).all()


def test_folders_with_anything_else_are_no_video(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder / "d", tmp_path / "videos/d"))
    assert len(numbered_images(copy)) == FRAMES
    (copy / "frame_0011.png").unlink()
    with pytest.raises(InputError, match=r"no image between frame_0010.png and frame_0012.png"):
        index_video(copy)
    for path in copy.glob("*.png"):
        if int(path.stem[-4:]) % 2:
            path.unlink()
    assert len(index_video(copy)) == FRAMES // 2  # All are two apart.
    cv2.imwrite(str(copy / "frame_0010.png"), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(InputError, match=r"its picture changes size \(9 x 8, 80 x 34\)"):
        read_frames(index_video(copy), range(3))
    (copy / "frame_0010.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"frame_0010.png: not a readable image"):
        read_frames(index_video(copy), range(3))
    for other in ("notes.txt", "cover.png", "frame_8.png"):
        (copy / other).touch()
        assert numbered_images(copy) == ()
        with pytest.raises(InputError, match="no video below it"):
            find_videos(tmp_path)
        (copy / other).unlink()
    assert len(find_videos(tmp_path)) == 1


@pytest.mark.parametrize("name", ["a.gif", "b.webp", "c.apng"])
def test_animations_that_are_cut_off_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for cut in (0, 3, 30, len(data) // 2):
        path = tmp_path / f"{cut}-{name}"
        path.write_bytes(data[:cut])
        if cut > 30 and path.suffix == ".gif":
            assert len(index_video(path)) < FRAMES  # A GIF does not say how many it has.
            continue
        with pytest.raises(InputError, match=rf"{cut}-{name[0]}\."):
            read_frames(index_video(path), range(FRAMES))
    assert not is_animation(tmp_path / "0-b.webp") if name == "b.webp" else True


def test_clips_lie_over_them_and_are_packed(
    folder: Path, small_bank: ObjectBank, tmp_path: Path, frames: np.ndarray
) -> None:
    words = ["render", "--videos", str(folder), "--bank", str(small_bank.path), "--n", "4"]
    few = ["--frames", "3", "--stride", "2", "--size", "32", "--format", "frames", "--workers", "0"]
    assert run_app("smile-motion", "", COMMANDS, [*words, *few, "--out", str(tmp_path / "o")]) == 0
    behind = []
    for path in sorted(tmp_path.glob("o/*/clip.json")):
        behind.append(Path(json.loads(path.read_text())["background"]["file"]).name)
        clip = read_clip(path, small_bank)
        first = cv2.imread(str(path.parent / "frames/00000.png"))[..., ::-1]
        assert (clip.frames[0] == first).all()
    assert behind == list(NAMES)
    assert len(make_background("natural", videos=folder)) == 4
    for name in ("b.webp", "d"):
        facts, table = reencode(VideoPacking(size=34), folder / name, tmp_path / f"{name}.mp4")
        assert len(table) == facts["frames"] == FRAMES
        assert facts["psnr_db"] > 25
