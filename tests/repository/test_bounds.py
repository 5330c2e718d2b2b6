"""Files that strangers made neither fill the memory nor lead out of their folder."""

import json
import shutil
import struct
import tarfile
import zlib
from pathlib import Path

import av
import pytest
from smile_motion import ObjectBank, read_clip, read_plan
from smile_motion.bank.candidates.images import PhotographSource
from smile_motion.bank.candidates.store import read_candidate_image
from smile_motion.bank.candidates.types import Attempt
from smile_motion.bank.format import read_metadata, read_rgba
from smile_motion.bank.integrity import verify
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.io.images import read_photograph
from smile_motion.video import find_videos, index_video
from smile_train.datasets.custom import read_manifest


def test_a_bank_cannot_name_files_outside_itself(tmp_path: Path, small_bank: ObjectBank) -> None:
    shutil.copytree(small_bank.path, tmp_path / "bank")
    lines = (tmp_path / "bank/metadata.jsonl").read_text().splitlines()
    for name in ("../secret.png", "/etc/secret.png", "images/../../secret.png", "images"):
        record = {**json.loads(lines[0]), "file_name": name}
        (tmp_path / "bank/metadata.jsonl").write_text(json.dumps(record) + "\n")
        with pytest.raises(InputError, match="is not below images/"):
            read_metadata(tmp_path / "bank")


NO_JSON = {"deep": "[" * 200_000, "long": '{"plan": 1' + "0" * 5000 + "}"}
"""What Python's reader gives up on with other errors than for what is no JSON."""


@pytest.mark.parametrize("kind", NO_JSON)
def test_json_that_python_gives_up_on_is_no_json(
    kind: str, tmp_path: Path, small_bank: ObjectBank
) -> None:
    path = tmp_path / "file.json"
    path.write_text(NO_JSON[kind])
    for read in (lambda: read_plan(path, small_bank), lambda: read_clip(path, small_bank)):
        with pytest.raises(InputError, match="not JSON"):
            read()
    with pytest.raises(InputError, match="not JSON"):
        ClipOptions(recipe_file=path).make_recipe()
    with pytest.raises(InputError, match="not a manifest"):
        read_manifest(path)
    for name, said in (("bank.json", "not JSON"), ("metadata.jsonl", "metadata.jsonl:1: not JSON")):
        shutil.copytree(small_bank.path, tmp_path / name)
        (tmp_path / name / name).write_text(NO_JSON[kind] + "\n")
        with pytest.raises(InputError, match=said):
            list(verify(tmp_path / name))


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that promises a size, with further chunks, and next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def bmp(width: int, height: int) -> bytes:
    """A BMP that promises a size, without its pixels."""
    fields = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 3 * width * height & 0xFFFFFFFF, 0, 0, 54) + fields


IMAGES = {
    "png": (png(60_000, 60_000), "more pixels than are read"),
    "wide": (png(20_000, 3), "20000 x 3 px, at most"),
    "bmp": (bmp(16_000, 4), r"16000 x 4 px, at most"),
    "text": (
        png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(300_000_000), 9))),
        "not a readable image",
    ),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not a readable image"),
}
"""Images that promise much: their bytes, and what is said of them."""


def read_for_a_bank(path: Path) -> None:
    source, categories = PhotographSource.open(path.parents[1], seed=0, largest_px=512)
    source.make([Attempt(categories[0], 0)])


READERS = {
    "photograph": read_photograph,
    "object": read_rgba,
    "candidate": read_candidate_image,
    "maker": read_for_a_bank,
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("reader", READERS)
def test_images_are_bounded_before_they_are_decoded(kind: str, reader: str, tmp_path: Path) -> None:
    data, said = IMAGES[kind]
    path = tmp_path / "things/x.png"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        READERS[reader](path)


def write_stream(path: Path, width: int, height: int, *, first: int, frames: int) -> bytes:
    """Encode black frames as an MPEG transport stream; streams can follow each other in a file."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = first + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def test_videos_are_bounded_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "wide.ts"
    write_stream(path, 8256, 64, first=0, frames=2)
    with pytest.raises(InputError, match="8256 x 64 px, at most 8192 a side"):
        index_video(path)


def test_frames_larger_than_the_header_says_are_not_decoded(tmp_path: Path) -> None:
    small = write_stream(tmp_path / "small.ts", 64, 64, first=0, frames=300)
    large = write_stream(tmp_path / "large.ts", 8256, 8256, first=300, frames=1)
    path = tmp_path / "grows.ts"
    path.write_bytes(small + large)  # beyond what FFmpeg looks at when it opens a file
    # Joined streams are decoded once to be indexed; what a decoder refuses there is damage.
    with pytest.raises(InputError, match=r"grows\.ts: not a readable video"):
        index_video(path)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile {}\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_list_posing_as_a_video_leads_nowhere(
    kind: str, tmp_path: Path, real_videos: dict[str, Path]
) -> None:
    shutil.copyfile(real_videos["bikes"], tmp_path / "secret.mp4")
    path = tmp_path / "poses.mp4"
    path.write_text(PLAYLISTS[kind].format("secret.mp4"))
    with pytest.raises(InputError, match=r"poses\.mp4: not a readable video"):
        index_video(path)


@pytest.mark.parametrize("name", ["/{}/secret.mp4", "../secret.mp4", "a/../../secret.mp4"])
def test_an_archives_members_stay_inside(
    name: str, tmp_path: Path, real_videos: dict[str, Path]
) -> None:
    shutil.copyfile(real_videos["bikes"], tmp_path / "secret.mp4")
    (tmp_path / "in").mkdir()
    member = tarfile.TarInfo(name.format(tmp_path))
    with tarfile.open(tmp_path / "in/x.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(InputError, match=r"x\.tar: its member .* would lie outside it"):
        find_videos(tmp_path / "in")


def test_links_in_an_archive_are_no_members(tmp_path: Path, real_videos: dict[str, Path]) -> None:
    link = tarfile.TarInfo("linked.mp4")
    link.type, link.linkname = tarfile.SYMTYPE, str(real_videos["bikes"])
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(link)
        tar.add(real_videos["bikes"], "./real.mp4")
    assert [video.path.name for video in find_videos(tmp_path / "x.tar")] == ["real.mp4"]
