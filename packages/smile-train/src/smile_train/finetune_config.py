"""Everything a fine-tuning or a linear probe with a frozen backbone depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from smile_motion.errors import InputError
from smile_motion.options import OnlyWith

from smile_train.datasets.adapter import DatasetName, DatasetPlace
from smile_train.datasets.labelled import LabelledVideos
from smile_train.datasets.manifest import choose_samples
from smile_train.run_options import RunOptions

OF_FOLDS = OnlyWith(
    lambda options: options.dataset in ("ucf101", "hmdb51"), "with --dataset ucf101 or hmdb51"
)
_AUGMENTED = OnlyWith(lambda options: options.augment, "without --no-augment")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunOptions):
    """Options of `smile_train finetune`. A recipe sets them all; what is given besides wins."""

    checkpoint: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="CHECKPOINT", help_behavior_hint="(required)"),
    ] = Path()
    """A run, a checkpoint, or a published file to start from."""
    recipe: str | None = None
    """Named set of defaults: see --list-recipes. Default: the data set's."""
    list_recipes: bool = False
    """Print the recipes, and where their values come from, and stop."""

    dataset: DatasetName = "folder"
    """What is learned; `list`, `folder` and `manifest` are data of your own."""
    data: Annotated[Path, tyro.conf.arg(help_behavior_hint="(default: this folder)")] = Path()
    """Folder of the data set."""
    annotations: Path | None = None
    """Folder of its annotation files, where they are not in --data."""
    fold: Annotated[Literal[1, 2, 3], OF_FOLDS] = 1
    """Official train/test split of UCF-101 and HMDB-51."""
    subset: Path | None = None
    """Manifest of the training samples to use, as `data list --few` writes it. Default: all."""
    few: int | None = None
    """Training samples of each class, drawn by --seed. Default: all."""
    test_split: Literal["validation", "test"] = "validation"
    """What is tested on, and what the best weights are chosen by."""
    allow_missing: bool = False
    """Leave out videos that are not there or cannot be read, and say so in the results."""

    protocol: Literal["finetune", "linear-sigma", "attentive"] = "finetune"
    """Train everything; only the last normalisation and the head (SIGMA's linear probe); or a grid
    of attentive probes on the frozen encoder (V-JEPA 2)."""
    reset_head: bool = False
    """Start with a new head where the checkpoint is a classifier of other classes."""
    heads: int | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    frames: int | None = None
    """Frames in a clip. Default: the checkpoint's; positions are interpolated for others."""
    size: int | None = None
    """Side of a frame, pixels. Default: the checkpoint's."""
    stride: Annotated[
        int, OnlyWith(lambda options: options.sampling == "dense", "with --sampling dense")
    ] = 4
    """Video frames from one clip frame to the next, where sampling is dense."""
    sampling: Literal["dense", "uniform"] = "dense"
    """A stretch of the video, or one frame of each of its equal parts."""

    epochs: int = 100
    """Passes over the videos."""
    batch: int = 16
    """Videos in a step, over all processes and accumulation."""
    accumulate: int = 1
    """Parts that a process splits its share of a step into, to save memory."""
    repeats: int = 1
    """Clips of each video in a step, augmented apart."""
    base_lr: float = 1e-3
    """Peak learning rate for a batch of 256; scales with the batch."""
    min_lr: float = 1e-6
    """Final learning rate for a batch of 256. VideoMAE."""
    warmup_epochs: float = 5
    """Epochs of linear warm-up. VideoMAE."""
    layer_decay: float = 0.75
    """Learning rate of a layer over that of the next one."""
    weight_decay: float = 0.05
    """AdamW's decay of matrices. VideoMAE."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's. VideoMAE."""
    clip_grad: float | None = None
    """Largest gradient norm. VideoMAE: none."""
    drop_path: float = 0.1
    """Share of clips for which the last block is left out. VideoMAE."""
    head_dropout: float = 0.0
    """Share of features left out before the head."""
    head_scale: float = 0.001
    """Factor on the head's first weights. VideoMAE."""
    label_smoothing: float = 0.1
    """Share of a label spread over all classes. VideoMAE."""
    mixup: float = 0.8
    """Parameter of mixup's Beta distribution; 0 for none. VideoMAE."""
    cutmix: float = 1.0
    """Parameter of CutMix's; 0 for none. VideoMAE."""
    rand_augment: Annotated[str, _AUGMENTED] = "rand-m7-n4-mstd0.5-inc1"
    """timm's description of RandAugment; `none` for none. VideoMAE."""
    erasing: Annotated[float, _AUGMENTED] = 0.25
    """Probability of random erasing. VideoMAE."""
    augment: bool = True
    """Crop at random, mirror, RandAugment and erase; else the middle square alone."""
    flip: Annotated[bool | None, _AUGMENTED] = None
    """Mirror half of the clips. Default: unless left or right is part of a label."""
    ema: float | None = None
    """Decay of a moving average of the weights, which is then what is tested. Default: none."""
    seed: int = 0
    """Seed of everything drawn."""

    validate_every: int = 1
    """Epochs between validations, on one view of each video."""
    segments: int = 5
    """Test clips along time."""
    crops: int = 3
    """Test crops of each."""

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
        self.require_positive(
            *("epochs", "batch", "accumulate", "repeats", "validate_every", "segments", "crops"),
            *("stride", *(name for name in ("frames", "size") if getattr(self, name) is not None)),
        )
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise InputError(f"--{name} is {getattr(self, name)}; give 0 for none, or more")
        self.require_shares("drop_path", "head_dropout", "label_smoothing")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"--layer-decay is {self.layer_decay}; give more than 0, at most 1")
        if not 0 <= self.erasing <= 1:
            raise InputError(f"--erasing is {self.erasing}; give a probability")
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"--ema is {self.ema}; give a decay between 0 and 1, such as 0.9999")

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

    def choose(self, train: LabelledVideos) -> LabelledVideos:
        """The samples that are learned from."""
        return choose_samples(train, subset=self.subset, few=self.few, seed=self.seed)
