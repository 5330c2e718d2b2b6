"""Packed videos: what is read of them is what the encoder wrote, and nothing else is decoded."""

import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.backgrounds.sources import VideoBackground
from smile_motion.errors import InputError
from smile_motion.video import find_videos, index_video, open_index, packed, read_frames
from smile_motion.video.packer import psnr_db, reencode, resized
from smile_motion.video.packing import VideoPacking
from smile_motion.video.shards import ShardWriter, open_shard
from smile_motion.video.stretches import DecodedStretches

FORMS: dict[str, dict[str, Any]] = {
    "h264": {},
    "mjpeg": {"codec": "mjpeg"},
    "groups": {"group": 12},
    "thinned": {"stride": 3, "size": 96},
}


def pack(folder: Path, videos: dict[str, Path], **options: Any) -> Path:
    """A shard of some videos by name."""
    packing = VideoPacking(**options)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder / "shard-00000.tar")
    for name, path in videos.items():
        facts, table = reencode(packing, path, folder / "one.mp4")
        del facts["bytes"]
        writer.add(folder / "one.mp4", table, **facts, name=name, source=path.name, label="cycling")
        (folder / "one.mp4").unlink()
    writer.finish()
    return folder / "shard-00000.tar"


@pytest.fixture(scope="module")
def bikes(real_videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 40 frames of `bikes`, as they are."""
    path = tmp_path_factory.mktemp("short") / "bikes.mp4"
    ffmpeg = (imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", real_videos["bikes"])
    subprocess.run([*ffmpeg, "-frames:v", "40", "-c:v", "libx264", "-qp", "10", path], check=True)
    return path


@pytest.fixture(scope="module")
def shards(bikes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shards")
    return {name: pack(folder / name, {"a/b": bikes}, **FORMS[name]) for name in FORMS}


def decoded_by_pyav(shard: Path, name: str) -> np.ndarray:
    """All frames of a member, decoded by PyAV from its bytes, as any other reader does it."""
    with tarfile.open(shard) as tar:
        member = tar.extractfile(name)
        assert member is not None
        data = io.BytesIO(member.read())
    with av.open(data) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_those_that_were_encoded(form: str, shards: dict[str, Path]) -> None:
    reference = decoded_by_pyav(shards[form], "a/b.mp4")
    index = open_index(shards[form] / "a/b.mp4")
    assert len(index) == len(reference) == (14 if form == "thinned" else 40)
    assert reference.shape[1:3] == ((96, 226) if form == "thinned" else (256, 602))
    assert (read_frames(index, range(len(index))) == reference).all()
    some = [9, 2, 2, 13, 0]
    assert (read_frames(index, some) == reference[some]).all()
    assert (read_frames(index, some, threads=2) == reference[some]).all()
    # The ordinary reader opens the member by its container, with the same times and key frames.
    by_container = replace(index, packed=None)
    assert (read_frames(by_container, some) == reference[some]).all()
    group = 12 if form == "groups" else 1
    assert (index.keyframes == index.pts[::group]).all()
    np.testing.assert_allclose(index.times_s[1], 3 / 25 if form == "thinned" else 1 / 25)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=8), st.sampled_from(["h264", "groups"]))
def test_only_what_wanted_frames_build_on_is_decoded(
    shards: dict[str, Path], wanted: list[int], form: str
) -> None:
    index = open_index(shards[form] / "a/b.mp4")
    assert index.packed is not None
    group = index.packed.record.group
    needed = packed.needed_frames(np.unique(wanted), group)
    allowed = {n for w in wanted for n in range(w - w % group, w + 1)}
    assert set(needed.tolist()) == allowed
    # The packets of all others may be gone: nobody reads them.
    table = index.packed.table.copy()
    table["size"][[n for n in range(40) if n not in allowed]] = 1 << 30
    fewer = replace(index, packed=replace(index.packed, table=table))
    assert (read_frames(fewer, wanted) == read_frames(index, wanted)).all()


@settings(max_examples=60)
@given(st.data(), st.sampled_from([*FORMS]))
def test_a_crop_is_that_of_the_whole(
    shards: dict[str, Path], data: st.DataObject, form: str
) -> None:
    index = open_index(shards[form] / "a/b.mp4")
    assert index.packed is not None
    record = index.packed.record
    width, height = (data.draw(st.integers(1, side)) for side in (record.width, record.height))
    x = data.draw(st.integers(0, record.width - width))
    y = data.draw(st.integers(0, record.height - height))
    whole = read_frames(index, [3, 5])
    crop = packed.read_packed(index.packed, [3, 5], crop=(x, y, width, height))
    assert (crop == whole[:, y : y + height, x : x + width]).all()


@pytest.mark.parametrize("packed", [True, False])
def test_backgrounds_convert_the_crop_alone(
    shards: dict[str, Path], bikes: Path, packed: bool
) -> None:
    path = shards["h264"] / "a/b.mp4" if packed else bikes
    direct = VideoBackground(files=(path,), stride=2)
    # What keeps decoded frames decodes all of the picture.
    whole = replace(direct, decoded=DecodedStretches(1))
    for seed in range(6):
        one, other = (
            background.draw(np.random.default_rng(seed), index=0, frames=8, size=(112, 112))
            for background in (direct, whole)
        )
        assert (one.frames == other.frames).all()
        assert one.origin == other.origin


def test_quality_is_stated_as_it_is(shards: dict[str, Path], bikes: Path) -> None:
    chosen = np.unique(np.linspace(0, 39, 8).round().astype(int))
    originals = np.stack([resized(image, 256) for image in read_frames(index_video(bikes), chosen)])
    for form in ("h264", "mjpeg", "groups"):
        shard = open_shard(shards[form])
        assert shard is not None
        measured = psnr_db(read_frames(open_index(shards[form] / "a/b.mp4"), chosen), originals)
        assert shard.records[0].psnr_db == pytest.approx(measured, abs=0.006)
        assert shard.records[0].psnr_db > 33


def test_a_shard_is_a_webdataset(shards: dict[str, Path]) -> None:
    with tarfile.open(shards["h264"]) as tar:
        assert tar.getnames() == ["a/b.mp4", "a/b.json", "__index__"]
        member = tar.extractfile("a/b.json")
        assert member is not None
        about = json.loads(member.read())
    assert about["label"] == "cycling"
    assert about["frames"] == 40
    assert [(v.path, v.label) for v in find_videos(shards["h264"])] == [
        (shards["h264"] / "a/b.mp4", "cycling")
    ]


def test_turned_videos_are_packed_upright(bikes: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg = (imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_rotation", "90")
    subprocess.run([*ffmpeg, "-i", bikes, "-c", "copy", turned], check=True)
    shard = pack(tmp_path / "out", {"turned": turned}, size=128, stride=10)
    images = read_frames(open_index(shard / "turned.mp4"), range(4))
    assert images.shape == (4, 302, 128, 3)
    straight = read_frames(index_video(turned), range(0, 40, 10))
    assert psnr_db(images, np.stack([resized(image, 128) for image in straight])) > 33


def test_frames_of_uneven_times_keep_them(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(1, 30, 30)).tolist()
    uneven = tmp_path / "uneven.mp4"
    with av.open(str(uneven), "w") as container:
        stream = container.add_stream("libx264", rate=100, options={"bf": "2"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, time in enumerate(times):
            image = np.full((64, 64, 3), 8 * number, np.uint8)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    source = index_video(uneven)
    shard = pack(tmp_path / "out", {"all": uneven})
    index = open_index(shard / "all.mp4")
    np.testing.assert_allclose(index.times_s[:-1], source.times_s[:-1], atol=1e-4)
    images = read_frames(index, range(30))
    assert [round(float(image.mean()) / 8) for image in images] == list(range(30))
    # At most five frames a second: the first that is shown in each fifth of one.
    shard = pack(tmp_path / "fewer", {"few": uneven}, rate_hz=5.0)
    index = open_index(shard / "few.mp4")
    kept = VideoPacking(rate_hz=5.0).kept_frames(source)
    assert len(index) == len(kept)
    assert len(np.unique(np.floor(source.times_s[kept] * 5 + 1e-6))) == len(kept)
    np.testing.assert_allclose(index.times_s[:-1], source.times_s[kept], atol=1e-4)


def test_a_changed_shard_is_refused_in_one_line(shards: dict[str, Path], tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"
    shutil.copyfile(shards["h264"], shard)
    index = open_index(shard / "a/b.mp4")
    assert index.packed is not None
    start = index.packed.record.start + int(index.packed.table["start"][7])
    with shard.open("r+b") as file:
        file.seek(start + 20)
        file.write(b"changed!")
    assert (read_frames(index, [6, 8]) == decoded_by_pyav(shards["h264"], "a/b.mp4")[[6, 8]]).all()
    with pytest.raises(InputError, match=r"b\.mp4: changed since it was packed \(frame 7 is not"):
        read_frames(index, [6, 7])
    shard.write_bytes(shards["h264"].read_bytes()[:50_000])
    with pytest.raises(InputError, match="changed since it was packed"):
        read_frames(index, [39])
    with pytest.raises(InputError, match="cut short or damaged"):
        open_index(shard / "a/b.mp4")
    with pytest.raises(InputError, match="no such video"):
        open_index(shards["h264"] / "a/c.mp4")


def test_codecs_that_ffmpeg_lacks_are_named(shards: dict[str, Path]) -> None:
    index = open_index(shards["h264"] / "a/b.mp4")
    assert index.packed is not None
    record = replace(index.packed.record, codec="unheard of")  # type: ignore[arg-type]
    lacking = replace(index, packed=replace(index.packed, record=record))
    with pytest.raises(InputError, match="which this FFmpeg cannot decode; install a PyAV"):
        read_frames(lacking, [0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"codec": "mjpeg", "group": 2}, "every frame is a key frame"),
        ({"codec": "mjpeg", "quality": 40}, "give 2 to 31"),
        ({"stride": 2, "rate_hz": 5.0}, "give one of them"),
        ({"size": 0}, "--size is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        VideoPacking(**options)
