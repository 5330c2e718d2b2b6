"""Every frame that ffmpeg shows, by its number: over containers x codecs x cuts x rotations."""

from pathlib import Path

import numpy as np
import pytest
from smile_motion.errors import InputError
from smile_motion.video import index_video, read_frames
from support.video_matrix import Case, all_cases, decode_by_ffmpeg, make_video

FEW = [
    Case("h264-one-key", "mp4", "trimmed"),
    Case("h264", "flv", "begun late"),
    Case("h264-open", "ts", "trimmed"),
    Case("h264-refresh", "ts", "trimmed"),
    Case("h264", "ts", "joined"),
    Case("h264", "ts", "joined late"),
    Case("hevc", "mkv", "begun late"),
    Case("mpeg4-b", "avi", "trimmed"),
    Case("mpeg4-b", "ts"),
    Case("mpeg2", "mpg", "joined"),
    Case("mpeg1", "mpg"),
    Case("vp9", "webm", "begun late"),
    *(Case("h264", "mp4", "whole", turn, True) for turn in (0, 90, 180, 270)),
    Case("h264", "mp4", "whole", 90),
]
"""One of each kind that is read in a way of its own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.mark.parametrize(
    "case",
    [*FEW, *(pytest.param(c, marks=pytest.mark.slow) for c in all_cases() if c not in FEW)],
    ids=str,
)
def test_frames_are_those_that_ffmpeg_shows(case: Case, folder: Path) -> None:
    path = make_video(case, folder)
    right = decode_by_ffmpeg(path)
    video = index_video(path)
    assert len(video) == len(right)
    frames = read_frames(video, range(len(video)))
    assert frames.shape == right.shape
    # Another picture, or one that stands otherwise, differs by 20 and more.
    assert np.abs(frames.astype(int) - right).mean((1, 2, 3)).max() < 4
    for number in (len(video) - 1, 0, len(video) // 3, len(video) // 2):
        assert (read_frames(video, [number])[0] == frames[number]).all()
    height, width = frames.shape[1:3]
    for x, y, wide, high in ((0, 0, width, height), (7, 10, 21, 33), (width - 5, 3, 5, 8)):
        part = read_frames(video, range(len(video)), crop=lambda *_, to=(x, y, wide, high): to)
        assert (part == frames[:, y : y + high, x : x + wide]).all()


def test_what_cannot_be_decoded_is_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_video(Case("h264-open", "mkv", "begun late"), folder)
    path = made.rename(tmp_path / "late.mkv")  # A name of which nothing was said in this process.
    video = index_video(path)
    index_video(path)
    shown = len(decode_by_ffmpeg(path))
    assert (len(video), video.lost) == (shown, 31 - shown)
    said = (
        f"{path}: {video.lost} frames cannot be decoded, since what they build on is not in the "
        f"file; the other {shown} are read"
    )
    assert caplog.messages == [said]
    assert index_video(make_video(Case("h264-open", "mkv"), folder)).lost == 0
    assert caplog.messages == [said]


def test_a_video_without_any_keyframe_is_refused(folder: Path) -> None:
    path = make_video(Case("h264-one-key", "mkv", "begun late"), folder)
    with pytest.raises(InputError, match=r"\.mkv: no frame can be found in it; replace it"):
        index_video(path)
