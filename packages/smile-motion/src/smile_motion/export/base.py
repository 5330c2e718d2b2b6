"""What a format is: how a shard of clips becomes files, and how these are known to be whole."""

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
"""A shard's line of the index, JSON values."""
DAMAGED = (OSError, ValueError, KeyError, TypeError)
"""What reading a damaged shard raises, besides errors of the library that reads it."""


@dataclass(frozen=True)
class NumberedClip:
    """A clip of a collection, with what formats write of it."""

    index: int
    """Its number."""
    clip: Clip
    """Frames, plan, truth."""
    maker: ClipMaker
    """What made it."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return clip_name(self.index)

    @cached_property
    def described(self) -> Line:
        """Its JSON; see `smile_motion.clips.clip.clip_json`."""
        from smile_motion.clips.clip import clip_json

        return clip_json(self.maker, self.index, self.clip)

    @cached_property
    def json(self) -> bytes:
        """Its JSON as a file's bytes."""
        return encode_json(json.dumps(self.described, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class ClipShard:
    """Clips that are written together."""

    number: int
    """Of the shard, from 0."""
    shards: int
    """How many there are."""
    clips: range
    """Numbers of its clips."""


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """How clips become files; what is derived from it has the options as fields. It pickles."""

    extensible: ClassVar[bool]
    """Whether more clips can be added to a collection later."""
    key: ClassVar[str]
    """What a line of the index calls the shard's number."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that writing it takes."""

    @property
    @abstractmethod
    def clips_together(self) -> int:
        """The most clips that are written together, in one shard."""

    @abstractmethod
    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write a shard, so that it appears whole or not at all."""

    @abstractmethod
    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether all files of a shard are there, without reading them."""

    @abstractmethod
    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """Read a shard back; one of `DAMAGED` where it is not whole."""

    def finish(self, folder: Path, maker: ClipMaker, lines: list[Line]) -> tuple[str, ...]:
        """Write what belongs to the collection besides its index; returns the files' names."""
        return ()


def clip_name(index: int) -> str:
    """What files and folders of a clip are called."""
    return f"clip_{index:06d}"


class _OneByOne(Format):
    """Formats whose clips are files of their own."""

    extensible: ClassVar[bool] = True
    key: ClassVar[str] = "index"

    @property
    def clips_together(self) -> int:
        """Each clip is a shard."""
        return 1


class LooseFiles(_OneByOne):
    """A few files a clip, side by side; the JSON comes last, so a clip that has one is whole."""

    suffixes: ClassVar[Mapping[str, str]]
    """What the index calls a clip's files -> their suffix."""

    @abstractmethod
    def write_files(self, clip: NumberedClip, paths: Mapping[str, Path]) -> None:
        """Write all but the JSON, each file under a temporary name first."""

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write a clip's files."""
        for clip in clips:
            paths = self._paths(folder, clip.index)
            self.write_files(clip, paths)
            write_atomically(paths["json"], clip.json)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether a clip's files are there."""
        return all(
            path.is_file() for index in shard.clips for path in self._paths(folder, index).values()
        )

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """A clip's files, their hashes, its objects."""
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
    """A folder a clip, which takes its name when all is in it; `clip.json` is always in it."""

    @abstractmethod
    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Contents of the folder by relative name."""

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write a clip's folder."""
        for clip in clips:
            with replacing(folder / clip.name) as temporary:
                temporary.mkdir()
                for name, data in {**self.encode(clip), "clip.json": clip.json}.items():
                    path = temporary / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether a clip's folder is there."""
        return all((folder / clip_name(index) / "clip.json").is_file() for index in shard.clips)

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """A clip's folder, the hashes of what is in it, its objects."""
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
class Packed(Format):
    """Formats that put many clips into one file, with a video of each."""

    clips_per_shard: int = 256
    """The most clips in a file; all have as many, or one less."""
    lossless: bool = False
    """Keep every bit of the pixels."""
    rate_hz: float = 8.0
    """Frames a second of the videos."""

    extensible: ClassVar[bool] = False
    key: ClassVar[str] = "shard"

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be."""
        if self.clips_per_shard < 1:
            raise InputError(f"--clips-per-shard is {self.clips_per_shard}; give at least 1")

    @property
    def clips_together(self) -> int:
        """As many as the options say."""
        return self.clips_per_shard

    @abstractmethod
    def file_name(self, shard: ClipShard) -> str:
        """Name of a shard's file in the collection's folder."""

    @abstractmethod
    def write_file(self, path: Path, clips: Iterator[NumberedClip]) -> None:
        """Write a shard's file, without holding all of its clips in memory."""

    @abstractmethod
    def read_clips(self, path: Path) -> list[bytes]:
        """Read the JSON of every clip in a shard's file; one of `DAMAGED` where it is torn."""

    def write(self, folder: Path, shard: ClipShard, clips: Iterator[NumberedClip]) -> None:
        """Write a shard under a temporary name, then rename it."""
        path = folder / self.file_name(shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            self.write_file(temporary, clips)

    def is_there(self, folder: Path, shard: ClipShard) -> bool:
        """Whether a shard's file is there."""
        return (folder / self.file_name(shard)).is_file()

    def describe(self, folder: Path, shard: ClipShard) -> Line:
        """A shard's file, its size, hash and clips."""
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
    """What an index says of a planned object."""

    id: str
    category: str


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """What an index says of a plan."""

    objects: list[_Named]
    order: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class _Behind:
    """What an index says of a background."""

    broken: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class _Described:
    """What an index says of a clip's JSON."""

    index: Annotated[int, Ge(0)]
    plan: _Planned
    background: _Behind


def _described(data: bytes, path: Path) -> _Described:
    remedy = "render it anew"
    return parse_text(data, _Described, source=str(path), remedy=remedy, unknown="ignore")


def _contents(clip: _Described) -> Line:
    """What the index says of what a clip's JSON holds."""
    return {
        "objects": [entry.id for entry in clip.plan.objects],
        "categories": [entry.category for entry in clip.plan.objects],
    } | _broken([clip])


def _broken(clips: Iterable[_Described]) -> Line:
    """What is wrong with files that others stand in for, by the number of the clip."""
    broken = {str(clip.index): clip.background.broken for clip in clips if clip.background.broken}
    return {"broken": broken} if broken else {}
