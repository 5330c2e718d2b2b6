"""Data of your own: `path label` lists, folders of classes, manifests.

::

    list/  train.txt  validation.txt      lines `path label`, `path,label` (also .csv)
    folder/  train/  validation/          each with a folder for every class
             train/walking/a.mp4
    manifest/  train.jsonl  validation.jsonl      as `smile_train data list` writes
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.video import ListedVideo, find_videos

from smile_train.datasets.adapter import DatasetPlace
from smile_train.datasets.labelled import LabelledVideo, LabelledVideos, Split
from smile_train.datasets.manifest import SUFFIX, read_manifest
from smile_train.datasets.official import Listings, judge_missing

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "test"),
    "test": ("test", "testing"),
}
"""What files and folders of a split are called."""
EMPTY_CLASS = "put a video of the class into it, or remove the class from every split"
"""What to do about a class folder without videos."""
LIST_SUFFIXES = (".txt", ".csv", ".list")
NUMBER = re.compile(r"-?[0-9]+")
"""A label that is a class number; one below 0 is refused."""


def read(place: DatasetPlace, split: Split) -> LabelledVideos:
    """Read a split of a list, a folder of classes, or a manifest.

    Raises InputError when it is not there, or a video has no label.
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


def _read_manifest(place: DatasetPlace, split: Split) -> LabelledVideos:
    """The samples whose files are there."""
    found = read_manifest(_find(place.root, split, (SUFFIX,)))
    there = Listings(Path("/"))
    kept, missing = [], []
    for video in found.videos:
        if there.has(str(video.path.absolute())):
            kept.append(video)
        else:
            missing.append(video.path)
    judge_missing(place, split, missing, len(found))
    return replace(found, videos=tuple(kept), partial=found.partial or bool(missing))


def _read_list(place: DatasetPlace, split: Split) -> LabelledVideos:
    path = _find(place.root, split, LIST_SUFFIXES)
    listed = find_videos(path, remedy="check --data", keep_missing=True)
    bare = next((video for video in listed if video.label is None), None)
    if bare is not None:
        raise InputError(f"{path}: {bare.path.name} has no label; write `path label` lines")
    missing = [video.path for video in listed if not video.there]
    judge_missing(place, split, missing, len(listed))
    classes = _class_names(place, split, listed)
    numbers = {name: number for number, name in enumerate(classes)}
    return LabelledVideos(
        name=place.root.name,
        split=split,
        videos=tuple(
            LabelledVideo(
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
    place: DatasetPlace, split: Split, listed: Sequence[ListedVideo]
) -> tuple[str, ...]:
    """Names from classes.txt, a line each; else those of the training list's labels."""
    names = place.root / "classes.txt"
    if names.is_file():
        lines = names.read_text(encoding="utf-8").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
    if split != "train":
        listed = find_videos(_find(place.root, "train", LIST_SUFFIXES), keep_missing=True)
    labels = {str(video.label) for video in listed}
    if all(NUMBER.fullmatch(label) for label in labels):
        return tuple(str(number) for number in range(max(map(int, labels)) + 1))
    return tuple(sorted(labels))


def _number(label: str, numbers: dict[str, int], path: Path) -> int:
    if label in numbers:
        return numbers[label]
    if NUMBER.fullmatch(label):
        return int(label)  # By number, of classes that classes.txt names; judged with the others.
    raise InputError(
        f"{path}: the label {label!r} is none of the {len(numbers)} classes; correct it, or add it "
        f"to classes.txt or the training list"
    )


def _read_folders(place: DatasetPlace, split: Split) -> LabelledVideos:
    folder = _find(place.root, split, ("",))
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    known = tuple(
        sorted(path.name for path in _find(place.root, "train", ("",)).iterdir() if path.is_dir())
    )
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
            LabelledVideo(key=_key(video.path, folder), path=video.path, target=number)
            for video in find_videos(folder / name, remedy=EMPTY_CLASS)
        ]
    return LabelledVideos(name=place.root.name, split=split, videos=tuple(videos), classes=classes)


def _key(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
