"""A split in a file of its own: explicit subsets, and data sets of one's own."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from smile_motion.errors import InputError
from smile_motion.io.files import encode_json, write_atomically
from smile_motion.io.schema import parse_line, parse_text
from smile_motion.io.text import read_lines

from smile_train.datasets.base import LabelledVideo, LabelledVideos, Span, Split, Target, Task

SUFFIX = ".jsonl"
_REMEDY = "write one with smile_train data list"


@dataclass(frozen=True, kw_only=True)
class _Head:
    """A manifest's first line."""

    name: str
    split: Split
    task: Task = "single-label"
    classes: Annotated[tuple[str, ...], Len(0, 100_000)]
    flip_safe: bool = True
    partial: bool = False
    missing: bool = False
    samples: Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of a sample."""

    key: str
    path: Annotated[str, Len(1, 4096)]
    target: Target
    span: tuple[float, float, Literal["s", "frames"]] | None = None


def write_manifest(path: Path, videos: LabelledVideos) -> None:
    """Write a split; paths below the manifest's folder are kept relative to it."""
    head = {
        "name": videos.name,
        "split": videos.split,
        "task": videos.task,
        "classes": list(videos.classes),
        "flip_safe": videos.flip_safe,
        "partial": videos.partial,
        "missing": videos.missing,
        "samples": len(videos),
    }
    folder = path.absolute().parent
    lines: list[dict[str, Any]] = [head]
    for video in videos.videos:
        file = video.path.absolute()
        shown = file.relative_to(folder) if file.is_relative_to(folder) else file
        line = {"key": video.key, "path": shown.as_posix(), "target": video.target}
        lines.append(line if video.span is None else line | {"span": astuple(video.span)})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(path, encode_json(text))


def read_manifest(path: Path) -> LabelledVideos:
    """Read what `write_manifest` wrote.

    Raises:
        InputError: The file is missing, damaged or cut short.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such manifest; write one with smile_train data list")
    lines = [line for line in read_lines(path, remedy=_REMEDY) if line.strip()]
    first, *rest = lines or [""]
    read = parse_text(first, _Head, source=f"{path}: not a manifest", remedy=_REMEDY)
    videos = tuple(_read_line(line, f"{path}:{n}", path.parent) for n, line in enumerate(rest, 2))
    if len(videos) != read.samples:
        raise InputError(f"{path}: {len(videos)} samples of {read.samples}; copy it again")
    described = {field.name: getattr(read, field.name) for field in fields(_Head)}
    del described["samples"]
    return LabelledVideos(**described, videos=videos)


def _read_line(line: str, source: str, folder: Path) -> LabelledVideo:
    source = f"{source}: not a manifest"
    read = parse_line(line, _Line, source=source, remedy=_REMEDY, unknown="refuse")
    target = read["target"]
    return LabelledVideo(
        key=read["key"],
        path=folder / read["path"],
        target=tuple(target) if isinstance(target, list) else target,
        span=Span(*read["span"]) if read.get("span") else None,
    )


def choose_samples(
    train: LabelledVideos, *, subset: Path | None, few: int | None, seed: int
) -> LabelledVideos:
    """Take the samples that a manifest names, or a few of each class, or all.

    Raises:
        InputError: For a sample that is not there.
    """
    if subset is not None:
        train = train.only(video.key for video in read_manifest(subset).videos)
    if few is None:
        return train
    if few < 1:
        raise InputError(f"--few is {few}; give 1 or more samples a class")
    from smile_motion.seeding import Stream, keyed_generator

    return train.few(few, keyed_generator(seed, Stream.ORDER))
