"""Kinetics-400.

    ROOT/  train.csv  validate.csv (or val.csv)     label,youtube_id,time_start,time_end,split
           train/abseiling/0347ZoDXyP0_000095_000105.mp4
           val/…                        class folders with spaces or underscores, or none

Videos disappear from the web: what the annotations list is never all there, hence no count of
videos is checked; the 400 classes are. Flips keep labels.
"""

from __future__ import annotations

from collections.abc import Iterator

from smile_train.datasets.annotations import (
    build_split,
    find_annotation,
    read_csv,
    reading,
    require_count,
)
from smile_train.datasets.base import LabeledVideos, Split
from smile_train.datasets.registry import DatasetPlace

CLASSES = 400
FILES: dict[Split, tuple[str, ...]] = {
    "train": ("train.csv", "kinetics-400_train.csv", "kinetics_400_train.csv"),
    "validation": ("validate.csv", "val.csv", "kinetics-400_val.csv", "kinetics_400_val.csv"),
    "test": ("test.csv", "kinetics-400_test.csv"),
}
FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "videos_train", "train_256", "k400_train"),
    "validation": ("val", "validate", "validation", "videos_val", "val_256"),
    "test": ("test", "videos_test"),
}
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")


def read(place: DatasetPlace, split: Split) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says."""
    columns = ("label", "youtube_id", "time_start", "time_end")
    index, path = (find_annotation(place, *FILES[part]) for part in ("train", split))
    table = read_csv(index, *columns)
    classes = sorted({row["label"] for row in table})
    require_count(len(classes), CLASSES, "classes", index)
    numbers = {name: number for number, name in enumerate(classes)}
    if split != "train":
        table = read_csv(path, *columns)
    with reading(place, path):
        rows = [(_name(row), numbers.get(row["label"], -1), None) for row in table]
    named = {name: row["label"] for (name, *_), row in zip(rows, table, strict=True)}

    def candidates(name: str) -> Iterator[str]:
        label = named[name]
        for folder in FOLDERS[split]:
            for inner in (label, label.replace(" ", "_"), "", "replacement"):
                for suffix in SUFFIXES:
                    yield f"{folder}/{inner}/{name}{suffix}"

    return build_split(
        place,
        split,
        rows,
        candidates,
        classes=classes,
    )


def _name(row: dict[str, str]) -> str:
    begin, end = (round(float(row[column])) for column in ("time_start", "time_end"))
    return f"{row['youtube_id']}_{begin:06d}_{end:06d}"
