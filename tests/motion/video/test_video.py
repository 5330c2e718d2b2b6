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


def test_paths_may_be_text(tmp_path: Path) -> None:
    write_video(f"{tmp_path}/clip.mp4", numbered(4), lossless=True)
    (listed,) = find_videos(str(tmp_path))
    frames = read_frames(index_video(str(listed.path)), range(4))
    np.testing.assert_array_equal(frames, numbered(4))


def test_transport_streams_that_do_not_start_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "shifted.ts"
    write_numbered(path, [4 * i for i in range(40)])
    video = index_video(path)
    assert len(video) == 40
    assert levels(read_frames(video, [0, 13, 39, 20])) == [0, 13, 39, 20]


def test_edit_lists_hide_frames(constant: Path, tmp_path: Path) -> None:
    path = tmp_path / "trimmed.mp4"
    keep_times = {"avoid_negative_ts": "disabled"}
    with av.open(str(constant)) as source, av.open(str(path), "w", options=keep_times) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        assert stream.time_base is not None
        earlier = round(20 * Fraction(4, 100) / stream.time_base)
        for packet in source.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - earlier,
                    packet.dts - earlier,
                    copy,
                )
                target.mux(packet)
    video = index_video(path)
    assert len(video) == 40
    assert levels(read_frames(video, range(40))) == list(range(20, 60))
    assert levels(read_frames(video, [31, 2])) == [51, 22]


@pytest.mark.parametrize("name", ["plain.avi", "plain.mkv", "plain.flv"])
def test_other_containers(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_numbered(path, list(range(40)))
    video = index_video(path)
    assert levels(read_frames(video, range(40))) == list(range(40))
    assert [levels(read_frames(video, [i]))[0] for i in (0, 7, 13, 39)] == [0, 7, 13, 39]


@pytest.mark.parametrize(("turns", "corner"), [(1, (0, -1)), (2, (-1, -1)), (3, (-1, 0))])
def test_pictures_stand_as_players_show_them(
    turns: int, corner: tuple[int, int], tmp_path: Path
) -> None:
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    frames[:, :24, :24] = 255
    write_video(tmp_path / "phone.mp4", frames)
    data = bytearray((tmp_path / "phone.mp4").read_bytes())
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    matrix = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 0]]) << 16
    matrix[2, 2] = 1 << 30
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = matrix.astype(">i4").tobytes()
    (tmp_path / "phone.mp4").write_bytes(data)
    shown = read_frames(index_video(tmp_path / "phone.mp4"), [1])[0]
    assert shown.shape == ((48, 64, 3) if turns == 2 else (64, 48, 3))
    assert [shown[place][0] > 128 for place in ((0, 0), corner)] == [False, True]


@pytest.mark.parametrize("name", ["titled.avi", "titled.mp4", "titled.mkv"])
def test_titles_may_be_in_any_encoding(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Café"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for frame in numbered(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert path.read_bytes().count("Café".encode()) == 1
    path.write_bytes(path.read_bytes().replace("Café".encode(), "Café".encode("latin-1") + b" "))
    video = index_video(path)
    levels = read_frames(video, range(8))[:, 32, 32, 0]
    assert np.abs(levels.astype(int) - 4 * np.arange(8)).max() <= 3


def test_threads_change_nothing(real_videos: dict[str, Path]) -> None:
    video = index_video(real_videos["bikes"])
    wanted = np.arange(100, 130, 5)
    assert (read_frames(video, wanted) == read_frames(video, wanted, threads=2)).all()


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


@pytest.mark.parametrize("share", [0.5, 0.95, 0.999])
def test_a_file_whose_end_is_missing_is_not_a_shorter_video(share: float, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    path = tmp_path / "cut.mp4"
    write_video(path, frames)
    video = index_video(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"cut\.mp4: cut short, \d+ bytes of at least \d+; copy"):
        index_video(path)
    if share < 0.9:
        with pytest.raises(InputError, match=r"cut\.mp4: "):
            read_frames(video, range(20))


def test_videos_that_change_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "grows.ts"
    parts = []
    for side in (64, 96):
        write_video(tmp_path / "part.mp4", np.full((6, side, side, 3), 90, np.uint8))
        with (
            av.open(str(tmp_path / "part.mp4")) as source,
            av.open(str(tmp_path / "part.ts"), "w") as target,
        ):
            stream = source.streams.video[0]
            copy = target.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.dts is not None and packet.pts is not None:
                    later = len(parts) * 20 * round(Fraction(1, 8) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    packet.stream = copy
                    target.mux(packet)
        parts.append((tmp_path / "part.ts").read_bytes())
    path.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match=r"changes size \(64 x 64, 96 x 96\)"):
        read_frames(index_video(path), range(12))
    with pytest.raises(InputError, match=r"changes size \(64 x 64, 96 x 96\)"):
        read_frames(index_video(path), range(12), crop=lambda *_: (0, 0, 8, 8))


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
