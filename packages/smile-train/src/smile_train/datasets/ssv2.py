"""Something-Something V2.

    ROOT/  labels/  labels.json  train.json  validation.json    (or something-something-v2-….json)
           20bn-something-something-v2/78687.webm                (or videos/, or .mp4)

174 classes, 168,913 training and 24,777 validation videos. Left and right are in the labels: never
flipped. The test split has no public labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from smile_motion.errors import InputError

from smile_train.datasets.annotations import (
    build_split,
    find_annotation,
    only_splits,
    read_json,
    reading,
    require_count,
)
from smile_train.datasets.base import LabeledVideos, Split
from smile_train.datasets.registry import DatasetPlace

CLASSES = 174
SIZES: dict[Split, int] = {"train": 168_913, "validation": 24_777}
FOLDERS = ("20bn-something-something-v2", "videos", "something-something-v2", "")
PREFIX = "something-something-v2-"
BRACKETS = str.maketrans("", "", "[]")
"""What templates have around their objects, and labels have not."""


@dataclass(frozen=True, kw_only=True)
class _Video:
    """An entry of a split's file."""

    id: str | int
    template: str


def read(
    place: DatasetPlace, split: Split, *, sizes: dict[Split, int] | None = None
) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says.

    Args:
        sizes: Samples of each split. Default: the official numbers.
    """
    only_splits(place, split, "train", "validation")
    labels = find_annotation(place, "labels.json", f"{PREFIX}labels.json")
    with reading(place, labels):
        stored = read_json(labels, dict[str, str | int])
        numbers = {name: int(number) for name, number in stored.items()}
    require_count(len(numbers), CLASSES, "classes", labels)
    classes = sorted(numbers, key=lambda name: numbers[name])
    path = find_annotation(place, f"{split}.json", f"{PREFIX}{split}.json")
    entries = read_json(path, list[_Video])
    require_count(len(entries), (sizes or SIZES)[split], f"{split} videos", path)
    named = [(str(entry.id), entry.template.translate(BRACKETS)) for entry in entries]
    rows = []
    for name, template in named:
        if template not in numbers:
            raise InputError(
                f"{path}: {name}: {template!r} is none of the {CLASSES} labels; use train, "
                f"validation and labels files of one release"
            )
        rows.append((name, numbers[template], None))

    def candidates(name: str) -> Iterator[str]:
        for folder in FOLDERS:
            for suffix in (".webm", ".mp4"):
                yield f"{folder}/{name}{suffix}"

    return build_split(place, split, rows, candidates, classes=classes, flip_safe=False)
