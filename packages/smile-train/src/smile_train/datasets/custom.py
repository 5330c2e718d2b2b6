"""Data of your own: `path label` lists, packed videos, folders of classes, and manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from smile_motion.errors import InputError, shortened
from smile_motion.io.files import encode_json, read_lines, write_atomically
from smile_motion.io.folders import find_folders
from smile_motion.io.schema import parse_line, parse_text
from smile_motion.video import ListedVideo, find_videos

from smile_train.datasets.annotations import Listings, refuse_missing
from smile_train.datasets.base import LabeledVideo, LabeledVideos, Span, Split, Target, Task
from smile_train.datasets.registry import DatasetPlace

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "test"),
    "test": ("test", "testing"),
}
"""What files and folders of a split are called."""
EMPTY_CLASS = "put a video of the class into it, or remove the class from every split"
"""What to do about a class folder without videos."""
LIST_SUFFIXES = (".txt", ".csv", ".list")
NUMBER = re.compile(r"(-?[0-9]+)(?:\.0*)?")
"""A label that is a class number, `3` or `3.0`; one below 0 is refused."""
MOST_CLASSES = 100_000
"""Larger numbers are no classes: the largest known sets have a quarter as many."""


def read(place: DatasetPlace, split: Split) -> LabeledVideos:
    """Read a split of a list, a folder of classes, or a manifest.

    Raises:
        InputError: It is not there, or a video has no label.
    """
    match place.name:
        case "manifest":
            return _read_manifest(place, split)
        case "list":
            return _read_list(place, split)
        case _:
            return _read_folders(place, split)


def _find(root: Path, split: Split, suffixes: Sequence[str]) -> Path:
    for name in NAMES[split]:
        for suffix in suffixes:
            path = root / f"{name}{suffix}"
            if path.exists():
                return path
    looked = ", ".join(f"{name}{suffix}" for name in NAMES[split] for suffix in suffixes)
    raise InputError(f"{root}: no {split} split in it (looked for {looked}); check --data")


def _find_list(root: Path, split: Split) -> Path:
    """A split's list, or its folder of packed videos, which has their labels."""
    from smile_motion.video.shards import is_packed  # imports NumPy, which no --help needs

    for name in NAMES[split]:
        if not any((root / f"{name}{suffix}").exists() for suffix in LIST_SUFFIXES) and (
            is_packed(root / name)
        ):
            return root / name
    return _find(root, split, LIST_SUFFIXES)


def _find_manifest(root: Path, split: Split) -> Path:
    """A split's manifest, or that of its folder of packed videos."""
    for name in NAMES[split]:
        inside = root / name / MANIFEST
        if inside.is_file() and not (root / f"{name}{SUFFIX}").exists():
            return inside
    return _find(root, split, (SUFFIX,))


def _read_manifest(place: DatasetPlace, split: Split) -> LabeledVideos:
    """The samples whose files are there."""
    found = read_manifest(_find_manifest(place.root, split))
    there = Listings(Path("/"))
    kept, missing = [], []
    for video in found.videos:
        if there.has(str(video.path.absolute())):
            kept.append(video)
        else:
            missing.append(str(video.path))
    refuse_missing(place, split, missing, len(found))
    return replace(found, videos=tuple(kept), partial=found.partial or bool(missing))


def _read_list(place: DatasetPlace, split: Split) -> LabeledVideos:
    path = _find_list(place.root, split)
    listed = find_videos(path, remedy="check --data", keep_missing=True)
    bare = next((video for video in listed if video.label is None), None)
    if bare is not None:
        raise InputError(f"{path}: {bare.path.name} has no label; write `path label` lines")
    missing = [str(video.path) for video in listed if not video.there]
    refuse_missing(place, split, missing, len(listed))
    classes = _class_names(place, split, listed, path)
    numbers = {name: number for number, name in enumerate(classes)}
    return LabeledVideos(
        name=place.root.name,
        split=split,
        videos=tuple(
            LabeledVideo(
                key=_key(video.path, path.parent),
                path=video.path,
                target=_number(str(video.label), numbers, path),
            )
            for video in listed
            if video.there
        ),
        classes=classes,
        partial=bool(missing),
    )


def _class_names(
    place: DatasetPlace, split: Split, listed: Sequence[ListedVideo], path: Path
) -> tuple[str, ...]:
    """Names from classes.txt, a line each; else those of the training list's labels.

    A label that does not fit is refused, lest it move the numbers of the classes.
    """
    names = place.root / "classes.txt"
    if names.is_file():
        lines = read_lines(names, remedy="write a class a line")
        found = tuple(line.strip() for line in lines if line.strip())
        _require_few(len(found), names)
        return found
    if split != "train":
        train = _find_list(place.root, "train")
        listed = find_videos(train, remedy="check --data", keep_missing=True)
        path = train
    labels = {str(video.label) for video in listed}
    numbers = {label: found[1] for label in labels if (found := NUMBER.fullmatch(label))}
    if not numbers:
        _require_few(len(labels), path)
        return tuple(sorted(labels))
    if len(numbers) < len(labels):
        odd = next(video for video in listed if str(video.label) not in numbers)
        raise InputError(
            f"{path}:{odd.line}: the label {shortened(str(odd.label), 60)!r} is no number, others "
            f"are; write numbers or names throughout, and take out lines that name no video"
        )
    # Numbers of so many digits that Python refuses to read them are too large as well.
    largest = max(int(digits[:12]) for digits in numbers.values())
    _require_few(largest + 1, path)
    return tuple(str(number) for number in range(largest + 1))


def _require_few(classes: int, path: Path) -> None:
    if classes > MOST_CLASSES:
        raise InputError(
            f"{path}: {classes:,} classes or more, at most {MOST_CLASSES:,} are learned; correct "
            f"the labels"
        )


def _number(label: str, numbers: dict[str, int], path: Path) -> int:
    if label in numbers:
        return numbers[label]
    if found := NUMBER.fullmatch(label):
        # By number, of classes that classes.txt names; judged with the others.
        return int(found[1][:12])
    raise InputError(
        f"{path}: the label {label!r} is none of the {len(numbers)} classes; correct it, or add it "
        f"to classes.txt or the training list"
    )


def _read_folders(place: DatasetPlace, split: Split) -> LabeledVideos:
    folder = _find(place.root, split, ("",))
    classes = tuple(sorted(path.name for path in find_folders(folder)))
    train = _find(place.root, "train", ("",))
    known = tuple(sorted(path.name for path in find_folders(train)))
    if classes != known:
        differing = sorted(set(classes) ^ set(known))
        raise InputError(
            f"{folder}: {differing[0]} is a class of one split only ({len(known)} classes in "
            f"training, {len(classes)} here); add the folder, or remove it from the other"
        )
    if not classes:
        raise InputError(f"{folder}: no class folders in it; expected {folder}/CLASS/video.mp4")
    videos = []
    for number, name in enumerate(classes):
        videos += [
            LabeledVideo(key=_key(video.path, folder), path=video.path, target=number)
            for video in find_videos(folder / name, remedy=EMPTY_CLASS)
        ]
    return LabeledVideos(name=place.root.name, split=split, videos=tuple(videos), classes=classes)


def _key(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


SUFFIX = ".jsonl"
MANIFEST = "manifest.jsonl"
"""Manifest of a folder of packed videos, of samples that one named."""
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


def write_manifest(path: Path, videos: LabeledVideos) -> None:
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


def read_manifest(path: Path) -> LabeledVideos:
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
    return LabeledVideos(**described, videos=videos)


def _read_line(line: str, source: str, folder: Path) -> LabeledVideo:
    source = f"{source}: not a manifest"
    read = parse_line(line, _Line, source=source, remedy=_REMEDY, unknown="refuse")
    target = read["target"]
    return LabeledVideo(
        key=read["key"],
        path=folder / read["path"],
        target=tuple(target) if isinstance(target, list) else target,
        span=Span(*read["span"]) if read.get("span") else None,
    )


def choose_samples(
    train: LabeledVideos, *, subset: Path | None, few: int | None, seed: int
) -> LabeledVideos:
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
