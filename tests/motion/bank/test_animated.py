"""Objects that move by themselves: from GIF, WebP, APNG and videos with alpha to banks."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from smile_motion import (
    InputError,
    ObjectBank,
)
from smile_motion.bank import FolderSource
from smile_motion.bank.format import read_card
from smile_motion.bank.integrity import verify
from smile_motion.io.files import dump_json, sha256


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
