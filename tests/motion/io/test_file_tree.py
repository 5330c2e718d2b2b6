from pathlib import Path

import pytest
from smile_motion.io.folders import find_files, find_folders
from smile_motion.io.images import find_photographs
from smile_motion.video import find_videos


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, *endings: str, nested: bool = True) -> list[str]:
    files = find_files(root, endings or (".mp4",), nested=nested)
    return [path.relative_to(root).as_posix() for path in files]


def test_what_is_never_data_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "b/2.mp4", "a/1.MP4", "0.mp4", "notes.txt")
    put(
        tmp_path, "._0.mp4", "a/._1.mp4", ".ipynb_checkpoints/0.mp4", "__MACOSX/a/1.mp4", ".d/3.mp4"
    )
    assert found(tmp_path) == ["0.mp4", "a/1.MP4", "b/2.mp4"]
    assert found(tmp_path, nested=False) == ["0.mp4"]
    assert found(tmp_path, "s.txt") == ["notes.txt"]
    assert [video.path.name for video in find_videos(tmp_path)] == ["0.mp4", "1.MP4", "2.mp4"]
    assert [path.name for path in find_folders(tmp_path)] == ["a", "b"]
    put(tmp_path, "0.jpg", "._0.jpg", "__MACOSX/0.jpg")
    assert find_photographs(tmp_path) == (tmp_path / "0.jpg",)
    # A hidden folder that is asked for by name is searched.
    assert found(tmp_path / ".d") == ["3.mp4"]


def test_links_to_folders_are_followed_without_loops(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    put(root, "real/1.mp4")
    put(elsewhere, "2.mp4", "deep/3.mp4")
    (root / "also").symlink_to(root / "real")
    (root / "linked").symlink_to(elsewhere)
    (root / "real/up").symlink_to(root)
    (elsewhere / "back").symlink_to(root)
    assert found(root) == ["linked/2.mp4", "linked/deep/3.mp4", "real/1.mp4"]
    assert [path.name for path in find_folders(root)] == ["also", "linked", "real"]


def test_links_to_nothing_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "1.mp4")
    (tmp_path / "2.mp4").symlink_to(tmp_path / "gone.mp4")
    assert found(tmp_path) == ["1.mp4"]
    assert caplog.messages == [
        f"{tmp_path}: 1 links lead to nothing and are left out, such as {tmp_path / '2.mp4'}"
    ]
