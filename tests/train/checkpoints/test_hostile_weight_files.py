"""Files of weights that were made to run code, to hang or to fill the memory."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from smile_motion.errors import InputError
from smile_train.checkpoints.weight_files import read_own_state, read_weights


class Calls:
    """What a pickle may ask for: a function, and its arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> tuple:
        return self.made


def test_nothing_that_a_pickle_names_is_called_or_changed(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    data = {
        "model": {"patch_embed.proj.weight": torch.ones(2)},
        "x": [Calls(os.mkdir, str(mark)), Calls(eval, f"__import__('os').mkdir({str(mark)!r})")],
        "y": Calls(setattr, torch.Tensor, "origin", 1),
    }
    for new in (True, False):
        torch.save(data, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        assert list(read_weights(tmp_path / "x.pt")) == ["patch_embed.proj.weight"]
        assert not mark.exists()
        assert not hasattr(torch.Tensor, "origin")


def bomb_pickle(*operations: bytes) -> bytes:
    return b"\x80\x02" + b"".join(operations) + b"."


PICKLES: dict[str, bytes] = {
    # Sets memo entry 2^31 - 1: the C unpickler reserves sixteen gigabytes for that.
    "memo": bomb_pickle(b"}", b"r" + struct.pack("<I", (1 << 31) - 1)),
    "text": bomb_pickle(b"X" + struct.pack("<I", (1 << 32) - 1), b"abc"),
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"abc.",
    "integer": bomb_pickle(b"I" + b"9" * 5000 + b"\n"),
    "deep": bomb_pickle(b"]" * 100_000 + b"a" * 99_999),
    # A key of tuples in tuples, each twice: hashing it takes 2^60 steps.
    "key": bomb_pickle(b"}", b")" + b"q\x00h\x00\x86" * 60, b"K\x01s"),
    "extension": bomb_pickle(b"\x82\x01"),
    "unbalanced": bomb_pickle(b"e"),
    "no-stop": b"\x80\x02}",
}


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_that_were_made_to_hurt_do_not(kind: str, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "sound.pt")
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(tmp_path / "sound.pt") as sound, zipfile.ZipFile(path, "w") as made:
        for entry in sound.infolist():
            own = entry.filename.endswith("/data.pkl")
            made.writestr(entry.filename, PICKLES[kind] if own else sound.read(entry))
    with pytest.raises(InputError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(PICKLES[kind])
    with pytest.raises(InputError):
        read_weights(path)


def test_weights_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    base = torch.ones(1000)
    many = {f"blocks.{number}": base.view(10, 100) for number in range(100)}
    torch.save(many, tmp_path / "x.pt")
    with pytest.raises(InputError, match="400000 bytes of weights in a file of"):
        read_weights(tmp_path / "x.pt")
    torch.save({"a": torch.ones(1).expand(1 << 40)}, tmp_path / "y.pt")
    with pytest.raises(InputError, match="of unusual layout or size"):
        read_weights(tmp_path / "y.pt")
    packed = zipfile.ZipFile(tmp_path / "z.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "x.pt") as sound, packed as made:
        for entry in sound.infolist():
            made.writestr(entry.filename, sound.read(entry))
    with pytest.raises(InputError, match="its tensors are compressed"):
        read_weights(tmp_path / "z.pt")


def test_other_things_are_no_runs_state(tmp_path: Path) -> None:
    laughs: list[Any] = [torch.ones(1)]
    for _ in range(40):
        laughs = [laughs, laughs]
    others = ({"a": Path("x")}, {"a": {(1, 2): 3}}, [1], {"a": laughs}, {"a": {1, 2}})
    for state in others:
        torch.save(state, tmp_path / "x.pt")
        with pytest.raises(InputError, match="use an older checkpoint"):
            read_own_state(tmp_path / "x.pt")


def test_entries_that_lie_before_their_file_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    path = tmp_path / "y.pt"
    with zipfile.ZipFile(tmp_path / "x.pt") as sound, zipfile.ZipFile(path, "w") as made:
        for entry in sound.infolist():
            made.writestr(entry.filename, sound.read(entry))
    data = bytearray(path.read_bytes())
    # Where the list of entries begins, as its end says: all else lies so much earlier.
    end = data.rfind(b"PK\x05\x06")
    begin = struct.unpack_from("<I", data, end + 16)[0]
    struct.pack_into("<I", data, end + 16, begin + 5000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"y\.pt: damaged") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
