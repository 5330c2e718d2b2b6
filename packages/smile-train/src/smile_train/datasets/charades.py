"""Charades: 157 actions, any number of them in a video.

    ROOT/  Charades_v1_train.csv  Charades_v1_test.csv  Charades_v1_classes.txt   (or Charades/…)
           Charades_v1_480/YSKX3.mp4                                              (or Charades_v1/)

7,985 training and 1,863 test videos; the test split is called validation here. Scored by mean
average precision. Flips keep labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.io.files import read_lines

from smile_train.datasets.annotations import (
    DOWNLOAD,
    build_split,
    find_annotation,
    read_csv,
    reading,
    require_count,
)
from smile_train.datasets.base import LabeledVideos, Split
from smile_train.datasets.registry import DatasetPlace

CLASSES = 157
SIZES: dict[Split, int] = {"train": 7_985, "validation": 1_863, "test": 1_863}
FOLDERS = ("Charades_v1_480", "Charades_v1", "videos", "")


def read(
    place: DatasetPlace, split: Split, *, sizes: dict[Split, int] | None = None
) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says.

    Args:
        sizes: Samples of each split. Default: the official numbers.
    """
    index = find_annotation(place, "Charades_v1_classes.txt", "Charades/Charades_v1_classes.txt")
    lines = [line.split(maxsplit=1) for line in read_lines(index, remedy=DOWNLOAD) if line.strip()]
    require_count(len(lines), CLASSES, "classes", index)
    with reading(place, index):
        classes = [name for _, name in sorted(lines)]
    name = f"Charades_v1_{'train' if split == 'train' else 'test'}.csv"
    path = find_annotation(place, name, f"Charades/{name}")
    table = read_csv(path, "id", "actions")
    require_count(len(table), (sizes or SIZES)[split], f"{split} videos", path)
    rows = [(row["id"], _marks(row["actions"], row["id"], path), None) for row in table]

    def candidates(name: str) -> Iterator[str]:
        for folder in FOLDERS:
            for suffix in (".mp4", ".avi"):
                yield f"{folder}/{name}{suffix}"

    return build_split(place, split, rows, candidates, classes=classes, task="multi-label")


def _marks(text: str, name: str, path: Path) -> tuple[int, ...]:
    """Class numbers of `c092 11.90 21.20;c147 0.00 12.60`."""
    try:
        return tuple(
            sorted({int(part.split()[0].removeprefix("c")) for part in text.split(";") if part})
        )
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: {name}: {text[:40]!r} names no actions; damaged?") from error
