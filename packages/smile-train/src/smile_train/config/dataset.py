"""Options that name a labeled data set and the samples that are learned from. Importable without
torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from smile_motion.io.options import Count, OnlyWith, Seed

from smile_train.config.run import DecoderOptions
from smile_train.datasets.base import LabeledVideos
from smile_train.datasets.custom import choose_samples
from smile_train.datasets.registry import DatasetName, DatasetPlace

_OF_FOLDS = OnlyWith(
    lambda options: options.dataset in ("ucf101", "hmdb51"), "with --dataset ucf101 or hmdb51"
)


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(DecoderOptions):
    """A data set, and which of its samples are used."""

    dataset: DatasetName = "folder"
    """What is learned; `list`, `folder` and `manifest` are data of your own."""
    data: Annotated[Path, tyro.conf.arg(help_behavior_hint="(default: this folder)")] = Path()
    """Folder of the data set."""
    annotations: Path | None = None
    """Folder of its annotation files, where they are not in --data."""
    fold: Annotated[Literal[1, 2, 3], _OF_FOLDS] = 1
    """Official train/test split of UCF-101 and HMDB-51."""
    subset: Path | None = None
    """Manifest of the training samples to use, as `data list --few` writes it. Default: all."""
    few: Count | None = None
    """Training samples of each class, drawn by --seed. Default: all."""
    allow_missing: bool = False
    """Leave out videos that are not there or cannot be read, and say so in the results."""
    seed: Seed = 0
    """Seed of everything drawn."""

    @property
    def place(self) -> DatasetPlace:
        """Where the data set is."""
        return DatasetPlace(
            name=self.dataset,
            root=self.data,
            annotations=self.annotations,
            fold=self.fold,
            allow_missing=self.allow_missing,
        )

    def choose(self, train: LabeledVideos) -> LabeledVideos:
        """Select the samples that are learned from.

        Raises:
            InputError: A sample of --subset is not among them.
        """
        return choose_samples(train, subset=self.subset, few=self.few, seed=self.seed)
