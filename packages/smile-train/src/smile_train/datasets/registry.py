"""How a data set is named, where it is, and who reads it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smile_motion.errors import InputError

from smile_train.datasets.base import LabeledVideos, Split

DatasetName = Literal[
    "list",
    "folder",
    "manifest",
    "k400",
    "ssv2",
    "ucf101",
    "hmdb51",
    "gym99",
    "gym288",
    "fx-s1",
    "ub-s1",
    "epic-verb",
    "epic-noun",
    "epic-action",
    "charades",
    "ucf-rc",
    "diving48",
]

_HOMES: dict[DatasetName, str] = {
    "list": "custom",
    "folder": "custom",
    "manifest": "custom",
    "k400": "kinetics",
    "ssv2": "ssv2",
    "ucf101": "ucf_hmdb",
    "hmdb51": "ucf_hmdb",
    "gym99": "finegym",
    "gym288": "finegym",
    "fx-s1": "finegym",
    "ub-s1": "finegym",
    "epic-verb": "epic",
    "epic-noun": "epic",
    "epic-action": "epic",
    "charades": "charades",
    "ucf-rc": "ucf_rc",
    "diving48": "diving48",
}
"""Modules, each with `read(place, split) -> LabeledVideos`."""


@dataclass(frozen=True, kw_only=True)
class DatasetPlace:
    """A data set and where its files are."""

    name: DatasetName
    """Which one; `list`, `folder` and `manifest` are your own."""
    root: Path
    """Its folder, as the adapter's documentation draws it; or, of your own, the folder that holds
    train and validation lists, class folders or manifests."""
    annotations: Path | None = None
    """Folder of the annotation files, where they are not below `root`."""
    fold: int = 1
    """Which of the official train/test splits, for UCF-101 and HMDB-51 (1 to 3)."""
    allow_missing: bool = False
    """Leave out videos that are not there, and say how many, instead of refusing."""


def open_split(place: DatasetPlace, split: Split) -> LabeledVideos:
    """Read a split of a data set from its own annotation files, and check it.

    Raises:
        InputError: Files are missing, a count is not the official one, a label is out of range, or
            the annotations are of another version.
    """
    module = _HOMES.get(place.name)
    if module is None:
        raise InputError(f"{place.name}: an unknown data set; choose from {', '.join(_HOMES)}")
    return importlib.import_module(f"smile_train.datasets.{module}").read(place, split)
