"""A collection of clips on disk: clips 0 to n - 1 in independent shards, and their index."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from smile_motion.errors import InputError
from smile_motion.export.base import DAMAGED, ClipShard, Format, Line, NumberedClip
from smile_motion.io.files import dump_json, dump_lines, remove_leftovers, write_atomically
from smile_motion.io.schema import parse_line, read_record, read_records, require_same

if TYPE_CHECKING:
    from smile_motion.clips.clip import ClipMaker
    from smile_motion.runtime.partition import Partition

INDEX = "index.jsonl"
PARTS = "parts"
"""Folder of the index lines of finished jobs of an array, until all jobs are finished."""


@dataclass(frozen=True, kw_only=True)
class IndexLine:
    """Validated fields of a line of the index; the format adds names and hashes of files."""

    index: Annotated[int, Ge(0)] | None = None
    shard: Annotated[int, Ge(0)] | None = None
    broken: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What to make, where and in which format: all that a shard depends on besides its number.

    It pickles as options and paths; every process with the same files makes the same bytes.
    """

    maker: Any
    """Makes the clips, a `ClipMaker`; what else is written in shards has a maker of its own."""
    folder: Path
    """Folder to write to."""
    count: int
    """Number of clips."""
    format: Format
    """Format to write."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"--n is {self.count}; ask for at least 1 clip")
        self.format.require_fitting(self.maker)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.format.clips_together)

    def shard(self, number: int) -> ClipShard:
        """Shard `number`; shards differ by at most one clip.

        Raises:
            InputError: There is no such shard.
        """
        if not 0 <= number < self.shards:
            raise InputError(f"shard {number}: the collection has shards 0 to {self.shards - 1}")
        first, end = (at * self.count // self.shards for at in (number, number + 1))
        return ClipShard(number, self.shards, range(first, end))

    def clips_in(self, numbers: Sequence[int]) -> int:
        """Total number of clips of the shards `numbers`."""
        if self.format.clips_together == 1:
            return len(numbers)
        return sum(len(self.shard(number).clips) for number in numbers)

    def numbers(self, job: Partition | None = None) -> range:
        """Shards of a job of an array: every `job.of`-th from `job.index`; all by default."""
        return range(self.shards) if job is None else range(job.index, self.shards, job.of)


def render_shard(number: int, collection: Collection) -> Line:
    """Render and write one shard, atomically, replacing a damaged one.

    The files depend on the arguments alone, not on the process or the order of work.

    Args:
        number: Number of the shard.
        collection: The collection.

    Returns:
        The shard's line of the index.

    Raises:
        InputError: The file of a background cannot be read.
    """
    shard = collection.shard(number)
    collection.format.write(collection.folder, shard, _clips(collection.maker, shard.clips))
    return collection.format.describe(collection.folder, shard)


def sound_shards(
    collection: Collection, numbers: Iterable[int], known: dict[int, Line]
) -> Iterator[tuple[int, Line | None]]:
    """Check the shards that an earlier run may have written.

    Args:
        collection: The collection.
        numbers: Shards to check.
        known: Lines of the index, by shard.

    Yields:
        Each number with its line, or None where the shard is missing, damaged, or differs from the
        index.
    """
    if not holds_clips(collection.folder):  # Checking a million takes a minute.
        yield from ((number, None) for number in numbers)
        return
    for number in numbers:
        shard, line = collection.shard(number), None
        if collection.format.is_there(collection.folder, shard):
            with suppress(*DAMAGED):  # It is rendered again.
                line = collection.format.describe(collection.folder, shard)
        yield number, line if known.get(number, line) == line else None


def read_index(collection: Collection) -> dict[int, Line]:
    """Read the index lines of existing shards, from the index and from the parts of jobs.

    Damaged lines of the index are left out: `sound_shards` reads their shards instead.

    Args:
        collection: The collection.

    Returns:
        Lines by number of the shard.

    Raises:
        InputError: The part of a job is damaged.
    """
    lines = {}
    found = _index_lines(collection.folder / INDEX)
    for path in sorted((collection.folder / PARTS).glob("*.jsonl")):
        found += read_records(path, IndexLine, remedy="delete it and run its job again")
    for line in found:
        shard = _indexed(collection, line.get(collection.format.key))
        if shard is not None and collection.format.is_there(collection.folder, shard):
            lines[shard.number] = line
    return lines


def write_index(collection: Collection, lines: dict[int, Line], job: Partition | None) -> list[str]:
    """Write the index and the format's files for all clips, once every shard exists.

    Args:
        collection: The collection.
        lines: Lines of the shards that this run rendered or found sound.
        job: This job of an array; the last to finish writes the index.

    Returns:
        Names of the files written; empty while other jobs are unfinished.
    """
    folder = collection.folder
    if job is not None:
        write_atomically(folder / PARTS / f"{job.name}.jsonl", _sorted_lines(lines))
    lines = read_index(collection) | lines
    if any(number not in lines for number in range(collection.shards)):
        return []
    in_order = [lines[number] for number in sorted(lines)]
    extra = collection.format.finish(folder, collection.maker, in_order)
    write_atomically(folder / INDEX, _sorted_lines(lines))
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    # Another job may have found all shards finished too, and be writing the same files.
    remove_leftovers(folder, besides=[*extra, INDEX])
    return [*extra, INDEX]


def record_settings(
    path: Path, wanted: dict[str, Any], schema: type, *, what: str, job: Partition | None
) -> None:
    """Record the settings of a new collection, or check that an existing one has the same.

    Args:
        path: File of the settings, in the folder of the collection.
        wanted: Settings that the bytes of its shards depend on, JSON values.
        schema: Dataclass of the fields of the file.
        what: What the collection contains, such as `clips`.
        job: This job of an array; its other jobs may be starting too.

    Raises:
        InputError: The folder contains another collection.
    """
    # In this order, because another job of the array may be writing.
    others, recorded = holds_clips(path.parent), path.is_file()
    if others and not recorded:
        raise InputError(f"{path.parent}: holds other {what}; choose another --out")
    if not others and not (recorded and job):
        write_atomically(path, dump_json(wanted))
        return
    found = read_record(path, schema, remedy="choose another --out")
    require_same(found, wanted, path.parent, what=what)


def holds_clips(folder: Path) -> bool:
    """Whether a folder contains clips of any format."""
    return any(
        next(folder.glob(pattern), None) is not None
        for pattern in ("clip_*", "shard-*.tar", "*.parquet", INDEX, PARTS)
    )


def _clips(maker: ClipMaker, indexes: Iterable[int]) -> Iterator[NumberedClip]:
    for index in indexes:
        yield NumberedClip(index, maker.make(index), maker)


def _indexed(collection: Collection, number: int | None) -> ClipShard | None:
    """Shard that a line of the index describes."""
    if number is None:
        return None
    if number < collection.shards:
        return collection.shard(number)
    # Where clips can be added, the index may describe a larger collection.
    extensible = collection.format.extensible
    return ClipShard(number, number + 1, range(number, number + 1)) if extensible else None


def _index_lines(path: Path) -> list[Line]:
    """Valid lines of an index."""
    remedy = "render again, which writes it anew"
    try:
        return read_records(path, IndexLine, remedy=remedy)
    except FileNotFoundError:
        return []
    except InputError:
        pass  # Its lines are validated one by one.
    found = []
    for row in path.read_bytes().splitlines():
        with suppress(InputError):
            found.append(parse_line(row, IndexLine, source=str(path), remedy=remedy))
    return found


def _sorted_lines(lines: dict[int, Line]) -> bytes:
    return dump_lines(lines[number] for number in sorted(lines))
