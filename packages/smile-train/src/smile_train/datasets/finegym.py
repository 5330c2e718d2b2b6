"""FineGYM: Gym99, Gym288, and the sets FX-S1 and UB-S1 of the SEVERE benchmark.

    ROOT/  annotations/  gym99_categories.txt  gym99_train_element_v1.0.txt  gym99_val_element.txt
                         gym288_categories.txt  gym288_train_element_v1.0.txt  …
           subactions/0LtLS9wROrk_E_002407_002435_A_0003_0005.mp4      (or videos/)

A sample is an element that has been cut out of its event's video. Gym99: 20,484 training and 8,521
validation elements (release 1.0; 1.1 has one more for training). FX-S1 is the classes 6 to 16 of
Gym99 (1,882/777), UB-S1 the classes 74 to 88 (3,511/1,471), counted from 0 as SEVERE does. Gym288's
sizes are not checked. Left and right are in the labels: never flipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.io.files import read_lines

from smile_train.datasets.annotations import (
    DOWNLOAD,
    build_split,
    find_annotation,
    only_splits,
    require_count,
)
from smile_train.datasets.base import LabeledVideos, Split
from smile_train.datasets.registry import DatasetName, DatasetPlace

Sizes = dict[Split, tuple[int, ...]]
CLASSES: dict[str, int] = {"gym99": 99, "gym288": 288}
SIZES: dict[DatasetName, Sizes] = {
    "gym99": {"train": (20_484, 20_485), "validation": (8_521,)},
    "fx-s1": {"train": (1_882,), "validation": (777,)},
    "ub-s1": {"train": (3_511,), "validation": (1_471,)},
}
SETS: dict[DatasetName, range] = {"fx-s1": range(6, 17), "ub-s1": range(74, 89)}
"""Classes of Gym99 that a set has."""
FOLDERS = ("subactions", "videos", "elements", "")


def read(
    place: DatasetPlace, split: Split, *, sizes: dict[DatasetName, Sizes] | None = None
) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says.

    Args:
        sizes: Allowed numbers of elements; the official ones by default.
    """
    only_splits(place, split, "train", "validation")
    whole: DatasetName = "gym288" if place.name == "gym288" else "gym99"
    classes = _classes(find_annotation(place, f"{whole}_categories.txt"), CLASSES[whole])
    part = "train" if split == "train" else "val"
    path = find_annotation(
        place,
        *(f"{whole}_{part}_element_v1.{release}.txt" for release in (0, 1)),
        f"{whole}_{part}_element.txt",
        f"{whole}_{part}.txt",
    )
    rows = []
    for number, line in enumerate(read_lines(path, remedy=DOWNLOAD), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].isdigit():
            raise InputError(f"{path}:{number}: {line!r}; expected an element and its label")
        rows.append((words[0].removesuffix(".mp4"), int(words[1]), None))
    allowed = SIZES if sizes is None else sizes
    if whole in allowed and place.name == whole:
        require_count(len(rows), allowed[whole][split], f"{split} elements", path)
    kept = SETS.get(place.name)
    if kept is not None:
        rows = [(name, label - kept.start, span) for name, label, span in rows if label in kept]
        classes = classes[kept.start : kept.stop]
        require_count(len(rows), allowed[place.name][split], f"{split} elements", path)

    def candidates(name: str) -> Iterator[str]:
        for folder in FOLDERS:
            for suffix in (".mp4", ".avi", ".mkv"):
                yield f"{folder}/{name}{suffix}"

    found = build_split(place, split, rows, candidates, classes=classes, flip_safe=False)
    return replace(found, name=place.name)


def _classes(path: Path, count: int) -> list[str]:
    """Names by number, from lines `Clabel: 0; set: 1; Glabel: 1; (VT) round-off, …`."""
    names = {}
    for line in read_lines(path, remedy=DOWNLOAD):
        found = re.match(r"\s*Clabel:\s*(\d+);.*;\s*(.+?)\s*$", line, re.IGNORECASE)
        if found:
            names[int(found[1])] = found[2]
    require_count(len(names), count, "classes", path)
    first = min(names)
    return [names[first + number] for number in range(count)]
