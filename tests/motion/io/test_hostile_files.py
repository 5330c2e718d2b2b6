"""Files that were made to hang, or to fill the memory: refused in one line, at once."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank.candidates.segmenters.onnx import ModelDescription
from smile_motion.errors import InputError
from smile_motion.video import index_video
from smile_motion.video.encoder import write_video
from smile_motion.video.tar import members


def header(name: str, size: int) -> bytes:
    """A member's header with any size, in the form that has room for it."""
    made = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT)[:512])
    made[124:136] = bytes([255 if size < 0 else 128]) + (size % (1 << 88)).to_bytes(11, "big")
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


@pytest.mark.parametrize("size", [-512, -1024, -1, 1 << 86, 1 << 62])
def test_archives_with_impossible_sizes_are_refused(tmp_path: Path, size: int) -> None:
    """A size of -512 leads back to its own header, without end."""
    path = tmp_path / "a.tar"
    path.write_bytes(header("a.mp4", 10) + bytes(512) + header("b.mp4", size) + bytes(1024))
    with pytest.raises(InputError, match=r"a\.tar: (cut short or damaged|not a readable)"):
        members(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size_px = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("size_px = 999999999999", "expected positive numbers, 8192 at most"),
        ("size_px = 0", "expected positive numbers, 8192 at most"),
        ("size_px = 4\nstd = [nan, 1, 1]", "expected finite numbers"),
        ("size_px = 4\nmean = inf", "expected finite numbers"),
        ("size_px = " + "9" * 5000, "Exceeds the limit"),
    ],
)
def test_descriptions_of_models_are_bounded(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        ModelDescription.beside(tmp_path / "model.onnx")
    assert "\n" not in str(refused.value)


def test_videos_of_unknown_codecs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, np.zeros((3, 64, 64, 3), np.uint8))
    before, tag, after = path.read_bytes().rpartition(b"avc1")
    path.write_bytes(before + b"zzzz" + after)
    with pytest.raises(InputError, match=r"a\.mp4: of an unknown codec; encode it anew"):
        index_video(path)
    assert tag
