import os
from pathlib import Path

import numpy as np
import pytest
from smile_motion.errors import InputError
from smile_motion.video import find_videos, index_video, read_frames, write_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b c.mp4", "d,e.mp4"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a.mp4 3\nb c.mp4 4\nd,e.mp4 5\n", ["3", "4", "5"]),
        ("path,label\na.mp4,3\nb c.mp4,4\n", ["3", "4"]),
        ('path;label\na.mp4;"x; y"\n', ["x; y"]),
        ("\ufeffpath,label\na.mp4,3.0\n", ["3.0"]),
        ("label,num_frames,video_path\n3,120,a.mp4\n4,7,b c.mp4\n", ["3", "4"]),
        ('"path","label"\n"d,e.mp4","3"\n', ["3"]),
        ('"d,e.mp4",3\n"b c.mp4",two words\n', ["3", "two words"]),
        ("# path label\na.mp4 3\nb c.mp4 4\n", ["3", "4"]),
        ("a.mp4 120 3\nb c.mp4 16 4\n", ["3", "4"]),
        ("a.mp4 0 -1\n", ["-1"]),
        ("a.mp4 120 walking\nb c.mp4 16 walking\n", ["walking", "walking"]),
        ("a.mp4 3 walking\nb c.mp4 4 running\n", ["3 walking", "4 running"]),
        ("a.mp4 " + 60 * "long words " + "\n", [(60 * "long words ").strip()]),
        ("path,split\na.mp4,train\n", [None]),
    ],
)
def test_labels_of_every_form_of_list(folder: Path, text: str, labels: list[str]) -> None:
    (folder / "list.csv").write_bytes(text.replace("\n", "\r\n").encode())
    found = find_videos(folder / "list.csv")
    assert [video.label for video in found] == labels
    assert all(video.path.is_file() for video in found)
    (folder / "a.mp4").rename(folder / "gone.mp4")
    again = find_videos(folder / "list.csv", keep_missing=True)
    assert [video.label for video in again] == labels
    assert [video.path for video in again] == [video.path for video in found]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("path,label\na.mp4,3,4\n", r"list\.csv:2: a\.mp4,3,4: 3 columns, the first line names 2"),
        ("where,what\na.mp4,3\n", r"list\.csv:1: where,what: names no file"),
        ("frames 12 3\n", r"list\.csv:1: frames 12 3: names a folder; name videos, or"),
        ("path,label\n", "an empty list"),
    ],
)
def test_other_lists_are_refused_by_line(folder: Path, text: str, fault: str) -> None:
    (folder / "frames").mkdir()
    (folder / "list.csv").write_text(text)
    with pytest.raises(InputError, match=fault):
        find_videos(folder / "list.csv")


def test_a_file_named_like_a_column_is_a_file(folder: Path) -> None:
    (folder / "video").write_bytes(b"")
    (folder / "list.txt").write_text("video\na.mp4\n")
    assert [video.path.name for video in find_videos(folder / "list.txt")] == ["video", "a.mp4"]


def test_videos_whose_names_are_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode("Café.mp4".encode("latin-1"))
    frames = np.full((4, 32, 32, 3), 90, np.uint8)
    write_video(tmp_path / "plain.mp4", frames, lossless=True)
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(os.fsencode(f"{name} 1\n"))
    for source in (tmp_path, tmp_path / "list.txt"):
        (video,) = find_videos(source)
        assert (read_frames(index_video(video.path), range(4)) == frames).all()
