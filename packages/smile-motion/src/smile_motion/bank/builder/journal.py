"""Settings and journal of an unfinished build, by which it is resumed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, dump_lines, remove_leftovers, write_atomically
from smile_motion.io.schema import parse_line, read_record, require_same
from smile_motion.io.validators import Unknown

SETTINGS = "build.json"
"""File of a build's settings; exists while the build is unfinished."""
JOURNAL = "build.jsonl"
"""File with a line per finished object or candidate; exists while the build is unfinished."""
SHARDS = "shards"
"""Folder of the parts of a bank that several processes build."""


def start(out: Path, settings: dict[str, Any], *, beside: Sequence[str] = ()) -> None:
    """Start a build in a new or empty folder, or resume the one in it.

    Args:
        out: Folder of the bank.
        settings: Everything that determines the result, as JSON values.
        beside: Names of entries that the folder may contain besides a build.

    Raises:
        InputError: The folder contains something else, or a build with other settings.
    """
    sweep(out)
    path = out / SETTINGS
    if path.is_file():
        found = read_record(path, dict[str, Any], remedy="choose another --out")
        require_same(found, settings, out, what="a bank")
        return
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    if unknown := sorted(names - set(beside)):
        if unknown == [SHARDS]:
            raise InputError(
                f"{out}: holds shards of several processes; run as many processes again, merge the "
                f"shards with smile-motion bank merge, or choose another --out"
            )
        raise InputError(f"{out}: holds {unknown[0]} and is no bank; choose an empty --out")
    write_atomically(path, dump_json(settings))


def sweep(out: Path) -> None:
    """Remove temporary files of a killed process; the caller holds the folder's lock."""
    remove_leftovers(out)
    if (out / SETTINGS).is_file():
        for name in ("images", "candidates", "cut"):
            for folder in (out / name).glob("**/"):
                remove_leftovers(folder)


def conclude(out: Path) -> None:
    """Remove the journal and the settings of a finished build."""
    (out / JOURNAL).unlink(missing_ok=True)
    (out / SETTINGS).unlink(missing_ok=True)


class Journal:
    """A file of JSON lines that are appended atomically, from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending."""
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._size = os.fstat(self._file).st_size
        self._lock = threading.Lock()

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records, one line each; the files that they describe must exist already.

        Raises:
            OSError: The disk is full; the error names the journal, which keeps no partial line.
        """
        data = dump_lines(records)
        with self._lock:
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError as error:
                os.ftruncate(self._file, self._size)
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            self._size += len(data)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._file)


def read_journal(path: Path, schema: type, *, unknown: Unknown = "keep") -> list[dict[str, Any]]:
    """Read the journal of an interrupted build; a partial last line is removed from the file.

    Args:
        path: The journal; an absent one is empty.
        schema: Dataclass of a line.
        unknown: What to do with unknown fields; see `parse_line`.

    Raises:
        InputError: A line is not a valid record.
    """
    if not path.is_file():
        return []
    records, sound = [], 0
    data = path.read_bytes()
    remedy = "remove this line, and what it spoke of is made again"
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        source = f"{path}:{number}"
        records.append(parse_line(line, schema, source=source, remedy=remedy, unknown=unknown))
        sound += len(line)
    if sound < len(data):
        with path.open("r+b") as journal:
            journal.truncate(sound)
    return records
