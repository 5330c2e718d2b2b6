"""Read a labeled data set from its own annotations, check it, and write a manifest of a split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from smile_motion.cli.app import Outcome
from smile_motion.io.options import Count, Seed

from smile_train.datasets.registry import DatasetName, DatasetPlace

EXAMPLES = (
    "smile-train data list ucf101 UCF101 --split test",
    "smile-train data list ssv2 SSV2 --few 10 --out few.jsonl",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train data list`."""

    dataset: Annotated[DatasetName, tyro.conf.Positional]
    """Which data set; `list`, `folder` and `manifest` are your own."""
    data: Annotated[Path, tyro.conf.Positional]
    """Its folder: docs/datasets.md draws each."""
    annotations: Path | None = None
    """Folder of its annotation files, where they are not in it."""
    split: Literal["train", "validation", "test"] = "train"
    """Part of it."""
    fold: Literal[1, 2, 3] = 1
    """Official train/test split of UCF-101 and HMDB-51."""
    few: Count | None = None
    """Samples of each class, drawn by --seed. Default: all."""
    seed: Seed = 0
    """Seed of the drawing."""
    allow_missing: bool = False
    """Leave out videos that are not there, and say how many."""
    out: Path | None = None
    """Manifest to write. Default: none, the summary alone."""


def run(options: Options) -> Outcome:
    """Read, sum up, and write."""
    from smile_train.datasets import choose_samples, open_split, write_manifest

    place = DatasetPlace(
        name=options.dataset,
        root=options.data,
        annotations=options.annotations,
        fold=options.fold,
        allow_missing=options.allow_missing,
    )
    videos = choose_samples(
        open_split(place, options.split), subset=None, few=options.few, seed=options.seed
    )
    print(f"{videos.name}, {videos.split}: {len(videos)} samples, {videos.task}")
    if videos.classes:
        marks = (v.target if isinstance(v.target, tuple) else (v.target,) for v in videos.videos)
        counts = Counter(int(number) for numbers in marks for number in numbers)
        sizes = [counts[number] for number in range(len(videos.classes))]
        small, large = (sizes.index(extreme) for extreme in (min(sizes), max(sizes)))
        spread = f"from {sizes[small]} samples ({videos.classes[small]}) to {sizes[large]}"
        spread += f" ({videos.classes[large]})"
        if small == large:
            spread = f"samples of each: {sizes[small]}"
        print(f"{len(videos.classes)} classes, {spread}")
    facts = {
        "dataset": videos.name,
        "split": videos.split,
        "task": videos.task,
        "samples": len(videos),
        "classes": list(videos.classes),
        "flip_safe": videos.flip_safe,
        "partial": videos.partial,
        "sha256": videos.sha256,
        "manifest": options.out,
    }
    print(f"mirrored videos {'keep' if videos.flip_safe else 'do not keep'} their labels")
    if videos.partial:
        print("partial: samples of the official split are not in it")
    if options.out is not None:
        write_manifest(options.out, videos)
        print(options.out)
    return Outcome(facts)
