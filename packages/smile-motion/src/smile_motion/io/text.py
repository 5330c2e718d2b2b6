"""The one reader of text that people write: any usual encoding, mark and line ending."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from smile_motion.errors import InputError

LARGEST_TEXT_BYTES = 256 << 20
"""Larger files are no lists: the largest official ones have 40 MB."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks, those of UTF-32 before the shorter ones that they begin with."""
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_text(path: Path, *, remedy: str, names_files: bool = False) -> str:
    """Read a text: UTF-8, or whatever a byte-order mark says.

    Args:
        remedy: What to do where it cannot be read, such as `check --data`.
        names_files: Its lines may hold names of files that are not UTF-8; they come out as Python
            writes such names, and lead to the files.

    Raises:
        InputError: It is missing, too large, or no text.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder; expected a text file; {remedy}")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_TEXT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file; {remedy}") from error
    if len(data) > LARGEST_TEXT_BYTES:
        raise InputError(f"{path}: more than {LARGEST_TEXT_BYTES >> 20} MiB for a text; {remedy}")
    return decode_text(data, path, remedy=remedy, names_files=names_files)


def decode_text(data: bytes, source: Path, *, remedy: str, names_files: bool = False) -> str:
    """Decode the bytes of a text from `source`; see `read_text`.

    Raises:
        InputError: They are no text.
    """
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    escapes = names_files and encoding == "utf-8"
    try:
        text = data[len(mark) :].decode(encoding, "surrogateescape" if escapes else "strict")
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(data[: error.start].decode("latin-1"))) + 1
        raise InputError(
            f"{source}:{line}: not {encoding.upper()} text; save it as UTF-8; {remedy}"
        ) from error
    if "\0" in text:
        raise InputError(f"{source}: not text (it has bytes of value 0); {remedy}")
    return text


def read_lines(path: Path, *, remedy: str, names_files: bool = False) -> list[str]:
    """Read a text's lines without their ends (LF, CR LF or CR); see `read_text`.

    Raises:
        InputError: It is missing, too large, or no text.
    """
    return split_lines(read_text(path, remedy=remedy, names_files=names_files))


def split_lines(text: str) -> list[str]:
    """Lines of a text, without their ends; `str.splitlines` also splits at what names may hold."""
    lines = _LINE_END.split(text)
    return lines[:-1] if lines[-1] == "" else lines
