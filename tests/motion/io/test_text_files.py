import os
from pathlib import Path

import pytest
from smile_motion.errors import InputError
from smile_motion.io.files import read_lines, read_text

LINES = ["Straße.mp4 1", "b c.mp4 2", "odd\u2028name.mp4 3"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_usual_encoding_and_line_ending(encoding: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for last in ("", end):
        path.write_bytes((end.join(LINES) + last).encode(encoding))
        assert read_lines(path, remedy="") == LINES


def test_names_that_are_not_utf_8_lead_to_files(tmp_path: Path) -> None:
    name = "Caf\u00e9.mp4".encode("latin-1")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    listing = tmp_path / "list.txt"
    listing.write_bytes(name + b"\n")
    (line,) = read_lines(listing, remedy="", names_files=True)
    assert (tmp_path / line).is_file()
    with pytest.raises(InputError, match=r"list\.txt:1: not UTF-8 text; save it as UTF-8; mend it"):
        read_text(listing, remedy="mend it")


def test_what_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.txt"
    with pytest.raises(InputError, match=r"list\.txt: no such file; look"):
        read_text(path, remedy="look")
    with pytest.raises(InputError, match="a folder; expected a text file; look"):
        read_text(tmp_path, remedy="look")
    path.write_bytes(b"a\0b")
    with pytest.raises(InputError, match=r"list\.txt: not text"):
        read_text(path, remedy="", names_files=True)
    path.write_bytes(b"\xff\xfea")
    with pytest.raises(InputError, match="not UTF-16-LE text"):
        read_text(path, remedy="")
    monkeypatch.setattr("smile_motion.io.files.LARGEST_TEXT_BYTES", 1 << 20)
    path.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="more than 1 MiB"):
        read_text(path, remedy="")
