"""Labeled data sets: one form for all, an adapter for each."""

from smile_train.datasets.base import LabeledVideo, LabeledVideos, Span, Split, Task
from smile_train.datasets.custom import choose_samples, read_manifest, write_manifest
from smile_train.datasets.registry import DatasetName, DatasetPlace, open_split

__all__ = [
    "DatasetName",
    "DatasetPlace",
    "LabeledVideo",
    "LabeledVideos",
    "Span",
    "Split",
    "Task",
    "choose_samples",
    "open_split",
    "read_manifest",
    "write_manifest",
]
