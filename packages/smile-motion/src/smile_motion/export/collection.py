"""A collection of clips on disk: clips 0 to n - 1, cut into shards, each made by itself."""

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
from smile_motion.io.files import dump_lines, remove_leftovers, write_atomically
from smile_motion.io.schema import parse_line, read_records

if TYPE_CHECKING:
    from smile_motion.clips.clip import ClipMaker
    from smile_motion.runtime.partition import Partition

INDEX = "index.jsonl"
PARTS = "parts"
"""Folder of the lines that jobs of an array have written, until all have."""


@dataclass(frozen=True, kw_only=True)
class IndexLine:
    """What is read of an index's line; its format adds names and hashes of files."""

    index: Annotated[int, Ge(0)] | None = None
    shard: Annotated[int, Ge(0)] | None = None
    broken: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What to make, where and in which form: all that a shard depends on besides its number.

    It pickles as its options and paths; any process that sees the same files makes the same bytes.
    """

    maker: Any
    """Makes the clips, a `ClipMaker`; what else is written in shards has a maker of its own."""
    folder: Path
    """Where they go."""
    count: int
    """Clips."""
    format: Format
    """How they are written."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"--n is {self.count}; ask for at least 1 clip")

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.count // self.format.clips_together)

    def shard(self, number: int) -> ClipShard:
        """The shard of this number; shards differ by one clip at most.

        Raises:
            InputError: There is no such shard.
        """
        if not 0 <= number < self.shards:
            raise InputError(f"shard {number}: the collection has shards 0 to {self.shards - 1}")
        first, end = (at * self.count // self.shards for at in (number, number + 1))
        return ClipShard(number, self.shards, range(first, end))

    def clips_in(self, numbers: Sequence[int]) -> int:
        """Clips of some shards together."""
        if self.format.clips_together == 1:
            return len(numbers)
        return sum(len(self.shard(number).clips) for number in numbers)

    def numbers(self, job: Partition | None = None) -> range:
        """Shards that a job of an array makes: each `job.of`-th from `job.index`; all by
        default."""
        return range(self.shards) if job is None else range(job.index, self.shards, job.of)


def render_shard(number: int, collection: Collection) -> Line:
    """Make one shard: the unit of work, in whatever process, in whatever order.

    Returns:
        Its line of the index. The bytes depend on the arguments alone. Files appear whole or not at
        all, and take the place of damaged ones.

    Raises:
        InputError: A background's file cannot be read.
    """
    shard = collection.shard(number)
    collection.format.write(collection.folder, shard, _clips(collection.maker, shard.clips))
    return collection.format.describe(collection.folder, shard)


def sound_shards(
    collection: Collection, numbers: Iterable[int], known: dict[int, Line]
) -> Iterator[tuple[int, Line | None]]:
    """Read shards back that an earlier run may have made.

    Args:
        known: Lines of the index by shard.

    Yields:
        Each number with its line; with none where the shard is missing, torn, or not what the index
        says.
    """
    if not holds_clips(collection.folder):  # Looking for each of a million takes a minute.
        yield from ((number, None) for number in numbers)
        return
    for number in numbers:
        shard, line = collection.shard(number), None
        if collection.format.is_there(collection.folder, shard):
            with suppress(DAMAGED):  # It is made again.
                line = collection.format.describe(collection.folder, shard)
        yield number, line if known.get(number, line) == line else None


def read_index(collection: Collection) -> dict[int, Line]:
    """Lines of shards whose files are there, by shard, from the index and from jobs' parts.

    Damaged lines of the index are left out: their shards are read back, and described anew.

    Raises:
        InputError: For a damaged part, which its job alone can write.
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
    """Write the index and what else the format has for all clips, once every shard is made.

    Args:
        lines: Of the shards that this run made or found sound.
        job: Which part of an array of jobs this run is; the last of them writes the index.

    Returns:
        Names of what was written; none while other jobs have not finished.
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
    # Another job may have found everything made as well, and be writing the same.
    remove_leftovers(folder, besides=[*extra, INDEX])
    return [*extra, INDEX]


def holds_clips(folder: Path) -> bool:
    """Whether clips of any format lie in a folder."""
    return any(
        next(folder.glob(pattern), None) is not None
        for pattern in ("clip_*", "shard-*.tar", "*.parquet", INDEX, PARTS)
    )


def _clips(maker: ClipMaker, indexes: Iterable[int]) -> Iterator[NumberedClip]:
    for index in indexes:
        yield NumberedClip(index, maker.make(index), maker)


def _indexed(collection: Collection, number: int | None) -> ClipShard | None:
    """The shard that a line of an index speaks of."""
    if number is None:
        return None
    if number < collection.shards:
        return collection.shard(number)
    # Where clips can be added, the index may be that of a larger collection.
    extensible = collection.format.extensible
    return ClipShard(number, number + 1, range(number, number + 1)) if extensible else None


def _index_lines(path: Path) -> list[Line]:
    """Sound lines of an index."""
    remedy = "render again, which writes it anew"
    try:
        return read_records(path, IndexLine, remedy=remedy)
    except FileNotFoundError:
        return []
    except InputError:
        pass  # Which of its lines are sound is seen one by one.
    found = []
    for row in path.read_bytes().splitlines():
        with suppress(InputError):
            found.append(parse_line(row, IndexLine, source=str(path), remedy=remedy))
    return found


def _sorted_lines(lines: dict[int, Line]) -> bytes:
    return dump_lines(lines[number] for number in sorted(lines))
