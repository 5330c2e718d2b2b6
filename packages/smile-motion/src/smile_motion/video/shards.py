"""Shards of packed videos: tar files with an index of every frame.

    shard-00000.tar   NAME.mp4, NAME.json   for every video, as WebDataset lays samples out
                      __index__             records of the videos as JSON lines, then a table of
                                            frames for each, then where these begin

`__index__` is the last member, so that it is found from the end of the file; WebDataset skips such
names. Other programs read the members as ordinary videos.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import tarfile
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval, Len

from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, encode_json
from smile_motion.io.schema import parse_text, read_records
from smile_motion.video.decoder import LARGEST_SIDE_PX
from smile_motion.video.packing import PackedCodec
from smile_motion.video.tar import ARCHIVE, is_archive

TICKS_PER_S = 90_000
"""Ticks per second of the presentation times of packed videos."""
FRAME = np.dtype([("start", "<u4"), ("size", "<u4"), ("time", "<u4"), ("crc", "<u4")])
"""A row of a table of frames: offset in the video's file and size, bytes; presentation time, ticks;
CRC-32 of the bytes."""
INDEX_MEMBER = "__index__"
VERSION = 1
_FOOTER = struct.Struct("<QQ8s")
_MAGIC = b"SMILEVID"
_TAIL = 1 << 15
"""Number of bytes at the end of a shard that contain the end of the index."""
_REMEDY = "copy the shard again, or delete it and pack again"


@dataclass(frozen=True, kw_only=True)
class PackedRecord:
    """Record of a video in a shard."""

    name: Annotated[str, Len(1, 4096)]
    """Name of its members, without `.mp4` or `.json`."""
    source: str
    """Path of the original, as its list or folder has it."""
    label: str | None = None
    """Label of the list, or folder of the class."""
    codec: PackedCodec
    group: Annotated[int, Interval(ge=1, le=600)]
    """Distance of key frames: exactly the frames i that are multiples of it."""
    frames: Annotated[int, Interval(ge=1, le=1 << 28)]
    rate_hz: Annotated[float, Gt(0)]
    """Average frame rate."""
    width: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    height: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    stride: float = 1
    """Frames of the original per packed frame."""
    psnr_db: float
    """Mean PSNR of evenly sampled frames against the input of the encoder, dB."""
    start: Annotated[int, Interval(ge=0, le=1 << 60)]
    """Offset of the video's file in the shard, bytes."""
    bytes: Annotated[int, Interval(ge=1, le=1 << 60)]
    """Of the video's file."""
    sha256: Annotated[str, Len(64, 64)]
    """Of the video's file."""
    extradata: Annotated[str, Len(0, 1 << 16)]
    """Initialization data of the decoder, in hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class _Head:
    """First line of a shard's index."""

    format: Literal["packed videos"] = "packed videos"
    version: Literal[1] = VERSION
    videos: Annotated[int, Ge(0)]
    broken: dict[str, list[str]]
    """Reason for each video that could not be packed, by its number in the list."""


class ShardWriter:
    """Writes a shard: `add` each video, then `finish`. The bytes depend on these calls only."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._records: list[PackedRecord] = []
        self._tables: list[np.ndarray] = []
        self._broken: dict[str, list[str]] = {}

    def add(self, video: Path, table: np.ndarray, **facts: Any) -> PackedRecord:
        """Copy a video into the shard.

        Args:
            video: Path of its file.
            table: (N,) `FRAME`.
            **facts: Fields of its record but `start` and `bytes`.
        """
        size = video.stat().st_size
        with video.open("rb") as file:
            start = self._add(f"{facts['name']}.mp4", file, size)
        record = PackedRecord(**facts, start=start, bytes=size)
        self._records.append(record)
        self._tables.append(table)
        about = asdict(record)
        for private in ("start", "extradata"):
            del about[private]
        text = encode_json(json.dumps(about, ensure_ascii=False) + "\n")
        self._add(f"{facts['name']}.json", io.BytesIO(text), len(text))
        return record

    def refuse(self, number: int, reason: str) -> None:
        """Record a video that cannot be packed."""
        self._broken[str(number)] = [reason]

    def finish(self) -> None:
        """Write the index and close the file."""
        head = _Head(videos=len(self._records), broken=self._broken)
        text = dump_lines([asdict(head), *map(asdict, self._records)])
        tables = b"".join(table.tobytes() for table in self._tables)
        used = len(text) + len(tables) + _FOOTER.size
        padding = bytes(-used % tarfile.BLOCKSIZE)
        footer = _FOOTER.pack(len(text), used + len(padding), _MAGIC)
        data = text + tables + padding + footer
        self._add(INDEX_MEMBER, io.BytesIO(data), len(data))
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))
        self._file.close()

    def close(self) -> None:
        """Close the file of an unfinished shard."""
        self._file.close()

    def _add(self, name: str, file: BinaryIO, size: int) -> int:
        # Time, owner and mode are TarInfo's defaults, not this machine's.
        member = tarfile.TarInfo(name)
        member.size = size
        header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        self._file.write(header)
        start = self._file.tell()
        shutil.copyfileobj(file, self._file)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        return start


@dataclass(frozen=True, eq=False)
class PackedShard:
    """An open shard: its records, and the position of its tables."""

    path: Path
    """Path of the tar."""
    records: tuple[PackedRecord, ...]
    """Records of its videos, in order."""
    broken: dict[str, list[str]]
    """Reasons for the videos that could not be packed, by number."""
    tables: int
    """Offset of the first table, bytes."""

    @cached_property
    def places(self) -> dict[str, int]:
        """Number of each video in the shard, by the name of its file."""
        return {f"{record.name}.mp4": place for place, record in enumerate(self.records)}

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """(n + 1,) int64: number of rows before the table of each video."""
        counts = np.array([record.frames for record in self.records], np.int64)
        return np.concatenate([[0], np.cumsum(counts)])

    def table(self, place: int) -> np.ndarray:
        """Read the table of frames of a video, (N,) `FRAME`.

        Args:
            place: Number of the video in the shard.

        Raises:
            InputError: The shard is shorter than when it was opened.
        """
        first, end = (int(row) * FRAME.itemsize for row in self._first_rows[place : place + 2])
        with self.path.open("rb") as file:
            file.seek(self.tables + first)
            data = file.read(end - first)
        if len(data) != end - first:
            raise InputError(f"{self.path}: cut short since it was opened; {_REMEDY}")
        return np.frombuffer(data, FRAME)


def open_shard(path: Path) -> PackedShard | None:
    """Open a shard of packed videos; None for other tars.

    Raises:
        InputError: The index is damaged, or of a later version.
    """
    state = path.stat()
    return _open_shard(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _open_shard(path: Path, size: int, _changed: int) -> PackedShard | None:
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        tail = file.read().rstrip(b"\0")
        if not tail.endswith(_MAGIC):
            return None
        end = max(0, size - _TAIL) + len(tail)
        text_size, whole, _ = _FOOTER.unpack(tail[-_FOOTER.size :])
        if not text_size + _FOOTER.size <= whole <= end:
            raise InputError(f"{path}: its index is damaged; {_REMEDY}")
        file.seek(end - whole)
        lines = file.read(text_size).splitlines()
    source = f"{path}: its index"
    head: _Head = parse_text(lines[0] if lines else b"", _Head, source=source, remedy=_REMEDY)
    if head.videos != len(lines) - 1:
        raise InputError(f"{path}: its index is damaged; {_REMEDY}")
    records = tuple(
        parse_text(line, PackedRecord, source=source, remedy=_REMEDY, unknown="ignore")
        for line in lines[1:]
    )
    rows = sum(record.frames for record in records)
    if text_size + rows * FRAME.itemsize + _FOOTER.size > whole:
        raise InputError(f"{path}: its index is damaged; {_REMEDY}")
    return PackedShard(path, records, head.broken, end - whole + text_size)


def shard_around(path: Path) -> PackedShard | None:
    """Open the shard of packed videos that a path leads into; None for other paths."""
    if ARCHIVE not in str(path).lower():
        return None
    for folder in path.parents:
        if is_archive(folder) and folder.is_file():
            return open_shard(folder)
    return None


SHARDS = "index.jsonl"
"""File in a folder of shards: a line per shard, with its size and hash."""
SETTINGS = "pack.json"
"""File in a folder of shards: the settings of packing. It is written first."""


@dataclass(frozen=True, kw_only=True)
class _ShardLine:
    """Line of the index of a folder of shards, as far as it is read."""

    file: Annotated[str, Len(1, 255)]
    bytes: Annotated[int, Ge(0)]


def is_packed(folder: Path) -> bool:
    """Whether a folder holds packed videos, finished or not."""
    return (folder / SETTINGS).is_file()


def require_whole(folder: Path) -> None:
    """Compare a folder of packed videos with its index; other folders are ignored.

    Raises:
        InputError: Packing is not finished, or a shard is missing or has another size.
    """
    if not is_packed(folder):
        return
    again = "run the same `data pack` again, which makes what is missing"
    if not (folder / SHARDS).is_file():
        raise InputError(f"{folder}: packing it was not finished; {again}")
    for line in read_records(folder / SHARDS, _ShardLine, remedy=again):
        path = folder / line["file"]
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise InputError(f"{path}: missing, {SHARDS} names it; {again}")
        if size != line["bytes"]:
            raise InputError(
                f"{path}: changed since it was indexed ({size} bytes, {SHARDS} says "
                f"{line['bytes']}); {again}"
            )
