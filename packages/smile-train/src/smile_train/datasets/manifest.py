"""A split in a file of its own: explicit subsets, and data sets of one's own.

::

    {"name": "ucf101", "split": "train", "task": "single-label", "classes": […], …}
    {"key": "v_ApplyEyeMakeup_g08_c01", "path": "videos/v_ApplyEyeMakeup_g08_c01.avi", "target": 0}
    …
"""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.files import encode_json, parse_json, write_atomically
from smile_motion.text_files import read_lines

from smile_train.datasets.labelled import LabelledVideo, LabelledVideos, Span

SUFFIX = ".jsonl"


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

    Raises InputError when the file is missing, damaged or cut short.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such manifest; write one with smile_train data list")
    try:
        lines = read_lines(path, remedy="write one with smile_train data list")
        head, *rest = [parse_json(line) for line in lines if line.strip()]
        samples = head.pop("samples")
        head["classes"] = tuple(head["classes"])
        videos = tuple(_read_line(line, path.parent) for line in rest)
        if len(videos) != samples:
            raise InputError(f"{path}: {len(videos)} samples of {samples}; copy it again")
        return LabelledVideos(**head, videos=videos)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a manifest ({type(error).__name__}: {error}); write one with "
            f"smile_train data list"
        ) from error


def _read_line(line: dict[str, Any], folder: Path) -> LabelledVideo:
    unknown = set(line) - {"key", "path", "target", "span"}
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}; of another version?")
    target = line["target"]
    return LabelledVideo(
        key=line["key"],
        path=folder / line["path"],
        target=tuple(target) if isinstance(target, list) else target,
        span=Span(*line["span"]) if "span" in line else None,
    )


def choose_samples(
    train: LabelledVideos, *, subset: Path | None, few: int | None, seed: int
) -> LabelledVideos:
    """Take the samples that a manifest names, or a few of each class, or all.

    Raises InputError for a sample that is not there.
    """
    if subset is not None:
        train = train.only(video.key for video in read_manifest(subset).videos)
    if few is None:
        return train
    if few < 1:
        raise InputError(f"--few is {few}; give 1 or more samples a class")
    from smile_motion.seeding import Stream, keyed_generator

    return train.few(few, keyed_generator(seed, Stream.ORDER))
