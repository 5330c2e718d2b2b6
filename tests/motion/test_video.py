from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.errors import InputError
from smile_motion.video import (
    encode_animation,
    find_videos,
    index_video,
    read_frames,
    write_video,
)


def numbered(count: int) -> np.ndarray:
    """Frames whose grey level is their number times 4."""
    return np.broadcast_to(
        (4 * np.arange(count, dtype=np.uint8))[:, None, None, None], (count, 64, 64, 3)
    ).copy()


def write_numbered(path: Path, times: list[int], **options: str) -> None:
    """Frames at given times of 1/100 s, with B-frames and keyframes every 12."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=100, options={"g": "12", "bf": "2", **options}
        )
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for frame, time in zip(numbered(len(times)), times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def levels(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 4) for frame in frames]


@pytest.fixture(scope="module")
def constant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "constant.mp4"
    write_numbered(path, [4 * i for i in range(60)])
    return path


@pytest.fixture(scope="module")
def variable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "variable.mp4"
    times = np.cumsum(np.random.default_rng(0).integers(1, 30, 60)).tolist()
    write_numbered(path, times)
    return path


@given(wanted=st.lists(st.integers(0, 59), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("kind", ["constant", "variable"])
def test_frames_are_the_ones_asked_for(
    kind: str, wanted: list[int], request: pytest.FixtureRequest
) -> None:
    video = index_video(request.getfixturevalue(kind))
    assert len(video) == 60
    assert levels(read_frames(video, wanted)) == wanted


def test_transport_streams_that_do_not_start_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "shifted.ts"
    write_numbered(path, [4 * i for i in range(40)])
    video = index_video(path)
    assert len(video) == 40
    assert levels(read_frames(video, [0, 13, 39, 20])) == [0, 13, 39, 20]


def test_real_videos_read_the_same_alone_and_in_sequence(real_videos: dict[str, Path]) -> None:
    for path in real_videos.values():
        video = index_video(path)
        wanted = np.arange(10, 74, 4)
        together = read_frames(video, wanted)
        alone = read_frames(video, [int(wanted[7])])[0]
        assert (together[7] == alone).all()
        assert together.std() > 10


def test_lossless_is_exact_and_the_default_plays_anywhere(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (5, 48, 64, 3), np.uint8)
    write_video(tmp_path / "exact.mp4", frames, lossless=True)
    assert (read_frames(index_video(tmp_path / "exact.mp4"), range(5)) == frames).all()
    smooth = numbered(8)
    write_video(tmp_path / "plain.mp4", smooth)
    write_video(tmp_path / "again.mp4", smooth)
    assert (tmp_path / "plain.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()
    with av.open(str(tmp_path / "plain.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert levels(read_frames(index_video(tmp_path / "plain.mp4"), range(8))) == list(range(8))


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017 - whatever the encoder raises
        write_video(tmp_path / "odd.mp4", np.zeros((3, 33, 64, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_animations_hold_every_frame() -> None:
    import io

    from PIL import Image

    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    picture = Image.open(io.BytesIO(encode_animation(frames, rate_hz=5)))
    assert picture.n_frames == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("harm", ["empty", "text", "torn", "missing"])
def test_files_that_are_no_video_are_named(harm: str, constant: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    match harm:
        case "empty":
            path.touch()
        case "text":
            path.write_text("hello")
        case "torn":
            path.write_bytes(constant.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"bad\.mp4: "):
        index_video(path)


def test_a_file_damaged_after_its_index_is_named(constant: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    write_numbered(path, [4 * i for i in range(60)], **{})
    with (
        av.open(str(path)) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "fast.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"fast\.mp4"):
        read_frames(index_video(tmp_path / "fast.mp4"), range(60))


def test_frame_numbers_out_of_range_are_refused(constant: Path) -> None:
    with pytest.raises(InputError, match="has frames 0 to 59, asked for 58 to 60"):
        read_frames(index_video(constant), [58, 60])


def test_lists_name_files_with_and_without_labels(constant: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "with space.mp4"
    spaced.write_bytes(constant.read_bytes())
    listing = tmp_path / "list.csv"
    listing.write_text(f"with space.mp4 3\n\n{constant},12\nwith space.mp4\n")
    found = find_videos(listing)
    assert [video.label for video in found] == ["3", "12", None]
    assert [video.path.name for video in found] == [spaced.name, constant.name, spaced.name]
    listing.write_text(f"{constant} 1\nlost.mp4 2\n")
    with pytest.raises(InputError, match=r"list\.csv:2: lost\.mp4 2: names no file"):
        find_videos(listing)


def test_folders_are_searched_in_order(constant: Path, tmp_path: Path) -> None:
    for name in ("b/2.mp4", "a/1.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(constant.read_bytes())
    assert [video.path.name for video in find_videos(tmp_path)] == ["1.mp4", "2.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video below it"):
        find_videos(tmp_path / "empty")
