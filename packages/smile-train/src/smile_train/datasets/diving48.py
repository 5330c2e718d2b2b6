"""Diving48, version 2.

    ROOT/  Diving48_V2_train.json  Diving48_V2_test.json  Diving48_vocab.json
           rgb/0U_zVC2sVvE_00078.mp4            (or videos/)

48 classes, 15,027 training and 1,970 test videos; the test split is called validation here. The
first version, whose labels were found to be noisy, has 15,943 and 2,096: it is refused. A dive's
name has no left and right: flips keep labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from smile_train.datasets.annotations import build_split, find_annotation, read_json, require_count
from smile_train.datasets.base import LabeledVideos, Split
from smile_train.datasets.registry import DatasetPlace

CLASSES = 48
SIZES: dict[Split, int] = {"train": 15_027, "validation": 1_970, "test": 1_970}
FOLDERS = ("rgb", "videos", "")


@dataclass(frozen=True, kw_only=True)
class _Video:
    """An entry of a split's file."""

    vid_name: str
    label: Annotated[int, Interval(ge=0, lt=CLASSES)]


def read(
    place: DatasetPlace, split: Split, *, sizes: dict[Split, int] | None = None
) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says.

    Args:
        sizes: Samples of each split. Default: the official numbers.
    """
    vocabulary = find_annotation(place, "Diving48_vocab.json")
    parts = read_json(vocabulary, list[list[str]])
    names = [" ".join(part for part in those if part) for those in parts]
    require_count(len(names), CLASSES, "classes", vocabulary)
    part = "train" if split == "train" else "test"
    path = find_annotation(place, f"Diving48_V2_{part}.json", f"Diving48_{part}.json")
    entries = read_json(path, list[_Video])
    require_count(len(entries), (sizes or SIZES)[split], f"{split} videos of version 2", path)
    rows = [(entry.vid_name, entry.label, None) for entry in entries]

    def candidates(name: str) -> Iterator[str]:
        for folder in FOLDERS:
            for suffix in (".mp4", ".avi"):
                yield f"{folder}/{name}{suffix}"

    return build_split(place, split, rows, candidates, classes=names)
