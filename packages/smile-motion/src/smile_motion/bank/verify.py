"""Checking a bank's files against its records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smile_motion.bank.layout import METADATA, read_card, read_metadata, read_rgba, sha256
from smile_motion.errors import InputError


def verify(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Check every file of a bank.

    yields (file name, what is wrong or None): listed files, then those that are not listed.
    Raises InputError when the folder is no bank at all.
    """
    card = read_card(folder)
    records = read_metadata(folder)
    found = sha256((folder / METADATA).read_bytes())
    yield METADATA, None if found == card["metadata_sha256"] else "differs from the card's hash"
    for record in records:
        yield record["file_name"], _fault(folder / record["file_name"], record["sha256"])
    listed = {record["file_name"] for record in records}
    for path in sorted((folder / "images").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in listed:
            yield name, f"not listed in {METADATA}"


def _fault(path: Path, expected: str) -> str | None:
    try:
        if sha256(path.read_bytes()) == expected:
            return None
        read_rgba(path, name="image")
    except FileNotFoundError:
        return "missing"
    except InputError as error:
        return str(error)
    return "differs from its recorded hash"
