"""Interface of the export formats: how a shard of clips is written and checked."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge

from smile_motion.errors import InputError
from smile_motion.io.files import encode_json, hash_file, replacing, sha256, write_atomically
from smile_motion.io.schema import parse_text

if TYPE_CHECKING:
    from smile_motion.clips.clip import Clip, ClipMaker

Line = dict[str, Any]
"""A line of the index, JSON values; each describes a shard."""
DAMAGED = (OSError, ValueError, KeyError, TypeError)
"""Errors of reading a damaged shard, besides those of the library that reads it."""


@dataclass(frozen=True)
class NumberedClip:
    """A clip of a collection, with the JSON that formats write."""

    index: int
    """Number in the collection."""
    clip: Clip
    """Frames, plan and truth."""
    maker: ClipMaker
    """Its maker."""

    @property
    def name(self) -> str:
        """Stem of its files."""
        return clip_name(self.index)

    @cached_property
    def described(self) -> Line:
        """JSON values of the clip; see `smile_motion.clips.clip.clip_json`."""
        from smile_motion.clips.clip import clip_json

        return clip_json(self.maker, self.index, self.clip)

    @cached_property
    def json(self) -> bytes:
        """Contents of the clip's JSON file."""
        return encode_json(json.dumps(self.described, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class ClipShard:
    """Clips that are written together."""

    number: int
    """Number of the shard, from 0."""
    shards: int
    """Number of shards of the collection."""
    clips: range
    """Numbers of its clips."""


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """An export format; subclasses are picklable dataclasses with the options as fields."""

    extensible: ClassVar[bool]
    """Whether clips can be added to a collection later."""
    key: ClassVar[str]
    """Key of the shard's number in a line of the index."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that writing requires."""

    @property
    @abstractmethod
    def clips_together(self) -> int:
        """Largest number of clips in a shard."""

    @abstractmethod
    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write a shard atomically.

        Args:
            folder: Folder of the collection.
            shard: The shard.
            clips: Its clips, made as they are consumed.
        """

    @abstractmethod
    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether all files of a shard exist, without reading them."""

    @abstractmethod
    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """Read a shard back and return its line of the index.

        Raises:
            OSError, ValueError, KeyError, TypeError: The shard is damaged; see `DAMAGED`.
        """

    def require_fitting(self, maker: ClipMaker) -> None:  # noqa: B027 - most formats take all
        """Raise InputError where the format cannot say what is in the clips of a maker."""

    def finish(self, folder: Path, maker: ClipMaker, lines: list[Line]) -> tuple[str, ...]:
        """Write the files of the whole collection besides its index.

        Args:
            folder: Folder of the collection.
            maker: Maker of its clips.
            lines: Lines of the index, in order.

        Returns:
            Names of the files.
        """
        return ()


def require_rigid(maker: ClipMaker, what: str) -> None:
    """Check that a maker's clips show no animated object, whose points move by unknown amounts.

    Args:
        maker: Maker of the clips.
        what: What is to be exact, such as `flow`, for the message.

    Raises:
        InputError: They can show one.
    """
    recipe = maker.recipe
    if recipe.objects and recipe.animation.play != "still" and maker.bank.draws_animated:
        raise InputError(
            f"{maker.bank.name}: has animated objects, whose parts move by no known amount, so "
            f"that their {what} would be wrong; hold them still with --animation still, or leave "
            f"them out with --exclude-categories"
        )


def clip_name(index: int) -> str:
    """Stem of the files, or name of the folder, of clip `index`."""
    return f"clip_{index:06d}"


class _ClipFormat(Format):
    """Formats of clips; their collections have a data set card."""

    contents: ClassVar[str]
    """What a reader finds in the collection's folder, Markdown."""
    header: ClassVar[str] = ""
    """Further YAML lines for the hub's header of the card."""

    def finish(self, folder: Path, maker: ClipMaker, lines: list[Line]) -> tuple[str, ...]:
        """Write the data set card, `README.md`."""
        from smile_motion.export.card import write_collection_card

        count = sum(line.get("clips", 1) for line in lines)
        return (
            write_collection_card(
                folder, maker, count=count, contents=self.contents, header=self.header
            ),
        )


class _OneByOne(_ClipFormat):
    """Formats that write each clip to separate files."""

    extensible: ClassVar[bool] = True
    key: ClassVar[str] = "index"

    @property
    def clips_together(self) -> int:
        """Each clip is a shard."""
        return 1


class LooseFiles(_OneByOne):
    """Formats of several files per clip in one folder; the JSON is written last."""

    suffixes: ClassVar[Mapping[str, str]]
    """Key of each file in the index -> its suffix."""

    @abstractmethod
    def write_files(self, clip: NumberedClip, paths: Mapping[str, Path]) -> None:
        """Write all files but the JSON, each atomically."""

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write the files of a clip."""
        for clip in clips:
            paths = self._paths(folder, clip.index)
            self.write_files(clip, paths)
            write_atomically(paths["json"], clip.json)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether the files of a clip exist."""
        return all(
            path.is_file() for index in shard.clips for path in self._paths(folder, index).values()
        )

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """Describe a clip: its files, their hashes, its objects."""
        (index,) = shard.clips
        line: Line = {"index": index}
        data, path = b"", folder
        for label, path in self._paths(folder, index).items():
            data = path.read_bytes()
            line |= {label: path.name, f"{label}_sha256": sha256(data)}
        return line | _contents(_described(data, path))

    def _paths(self, folder: Path, index: int) -> dict[str, Path]:
        suffixes = {**self.suffixes, "json": "json"}
        return {
            label: folder / f"{clip_name(index)}.{suffix}" for label, suffix in suffixes.items()
        }


class ClipFolders(_OneByOne):
    """Formats of one folder per clip, renamed into place when complete, with a `clip.json`."""

    @abstractmethod
    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Encode the files of a clip's folder, by relative name."""

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write the folder of a clip."""
        for clip in clips:
            with replacing(folder / clip.name) as temporary:
                temporary.mkdir()
                for name, data in {**self.encode(clip), "clip.json": clip.json}.items():
                    path = temporary / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether the folder of a clip exists."""
        return all((folder / clip_name(index) / "clip.json").is_file() for index in shard.clips)

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """Describe a clip: its folder, the hashes of the files in it, its objects."""
        (index,) = shard.clips
        home = folder / clip_name(index)
        data = (home / "clip.json").read_bytes()
        files = {
            path.relative_to(home).as_posix(): sha256(path.read_bytes())
            for path in sorted(home.rglob("*"))
            if path.is_file()
        }
        described = _described(data, home)
        frames = len(described.plan.order)
        if sum(name.startswith("frames/") for name in files) != frames:
            raise ValueError(f"{home}: not {frames} frames")
        return {"index": index, "folder": home.name, "sha256": files} | _contents(described)


@dataclass(frozen=True, kw_only=True)
class Packed(_ClipFormat):
    """Formats of many clips per file, each as a video."""

    clips_per_shard: int = 256
    """Largest number of clips per file; files differ by at most one clip."""
    lossless: bool = False
    """Encode videos losslessly."""
    rate_hz: float = 8.0
    """Frames per second of the videos."""

    extensible: ClassVar[bool] = False
    key: ClassVar[str] = "shard"

    def __post_init__(self) -> None:
        """Raise InputError for options out of range."""
        if self.clips_per_shard < 1:
            raise InputError(f"--clips-per-shard is {self.clips_per_shard}; give at least 1")

    @property
    def clips_together(self) -> int:
        """Clips per file."""
        return self.clips_per_shard

    @abstractmethod
    def file_name(self, shard: ClipShard) -> str:
        """Name of a shard's file, relative to the collection's folder."""

    @abstractmethod
    def write_file(self, path: Path, clips: Iterator[NumberedClip]) -> None:
        """Write a shard's file without holding all of its clips in memory."""

    @abstractmethod
    def read_clips(self, path: Path) -> list[bytes]:
        """Read the JSON of every clip of a shard's file; a damaged file raises one of `DAMAGED`."""

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write a shard under a temporary name, then rename it."""
        path = folder / self.file_name(shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            self.write_file(temporary, clips)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether a shard's file exists."""
        return (folder / self.file_name(shard)).is_file()

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """Describe a shard: its file, size, hash and clips."""
        path = folder / self.file_name(shard)
        clips = self.read_clips(path)
        if len(clips) != len(shard.clips):
            raise ValueError(f"{path}: {len(clips)} clips, expected {len(shard.clips)}")
        return {
            "shard": shard.number,
            "file": self.file_name(shard),
            "first": shard.clips.start,
            "clips": len(clips),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        } | _broken(_described(data, path) for data in clips if b'"broken":' in data)


@dataclass(frozen=True, kw_only=True)
class _Named:
    """Fields of a planned object that the index needs."""

    id: str
    category: str


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """Fields of a plan that the index needs."""

    objects: list[_Named]
    order: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class _Behind:
    """Fields of a background that the index needs."""

    broken: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class _Described:
    """Fields of a clip's JSON that the index needs."""

    index: Annotated[int, Ge(0)]
    plan: _Planned
    background: _Behind


def _described(data: bytes, path: Path) -> _Described:
    remedy = "render it anew"
    return parse_text(data, _Described, source=str(path), remedy=remedy, unknown="ignore")


def _contents(clip: _Described) -> Line:
    """Entries of the index on the contents of a clip."""
    return {
        "objects": [entry.id for entry in clip.plan.objects],
        "categories": [entry.category for entry in clip.plan.objects],
    } | _broken([clip])


def _broken(clips: Iterable[_Described]) -> Line:
    """Faults of background files that were replaced, by the number of the clip."""
    broken = {str(clip.index): clip.background.broken for clip in clips if clip.background.broken}
    return {"broken": broken} if broken else {}
