"""Everything a fine-tuning or a linear probe with a frozen backbone depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro
from smile_motion.io.options import (
    Batch,
    Count,
    Decay,
    Epochs,
    Formerly,
    FrameCount,
    GivenOnce,
    Groups,
    Heads,
    MovingDecay,
    NonNegative,
    OnlyWith,
    OpenShare,
    Positive,
    PositiveShare,
    Share,
    Side,
    Stride,
    Views,
)

from smile_train.config.dataset import DatasetOptions
from smile_train.config.run import RunOptions
from smile_train.models.config import StudentName

FROM_SCRATCH = OnlyWith(lambda options: options.from_scratch is not None, "with --from-scratch")
_AUGMENTED = OnlyWith(lambda options: options.augment, "without --no-augment")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunOptions, DatasetOptions):
    """Options of `smile_train finetune`. A preset sets them all; what is given besides wins."""

    GROUPS: ClassVar[Groups] = {
        "the run": (
            *("checkpoint", "from_scratch", "patch", "preset", "list_presets"),
            *("config", "out", "resume", "stop_at"),
        ),
        "the data set": (
            *("dataset", "data", "annotations", "fold", "subset", "few"),
            *("test_split", "allow_missing"),
        ),
        "what is trained": (
            *("protocol", "reset_head", "heads", "drop_path", "head_dropout", "head_scale", "ema"),
        ),
        "what is seen": (
            *("frames", "size", "sampling", "stride", "augment", "crop_area", "flip"),
            *("rand_augment", "erasing", "mixup", "cutmix", "label_smoothing", "repeats"),
        ),
        "how it is optimized": (
            *("epochs", "batch", "accumulate", "base_lr", "min_lr", "warmup_epochs"),
            *("layer_decay", "weight_decay", "betas", "clip_grad", "seed"),
        ),
        "how it is tested": ("validate_every", "segments", "crops"),
        "how fast": ("precision", "compile", "decoder", "workers", "cpu_threads"),
        "what is recorded": ("track", "log_every", "save_every", "keep"),
    }

    checkpoint: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="CHECKPOINT", help_behavior_hint="(required)"),
    ] = Path()
    """A run, a checkpoint, or a published file to start from, unless --from-scratch is given."""
    from_scratch: StudentName | None = None
    """Start from random weights of this student, drawn by --seed, instead of a checkpoint: the
    control of every pre-training. Give it a --layer-decay of 1: it has no lower layers to keep."""
    patch: Annotated[Side, FROM_SCRATCH] = 16
    """Side of a token, pixels. Paper: 16."""
    preset: Annotated[str | None, GivenOnce("choose one of them"), Formerly("recipe")] = None
    """Named set of defaults: see --list-presets. Default: the data set's."""
    list_presets: Annotated[bool, Formerly("list_recipes")] = False
    """Print the presets, and where their values come from, and stop."""

    test_split: Literal["validation", "test"] = "validation"
    """What is tested on, and what the best weights are chosen by."""

    protocol: Literal["finetune", "linear-sigma", "attentive"] = "finetune"
    """Train everything; only the last normalization and the head (SIGMA's linear probe); or a grid
    of attentive probes on the frozen encoder (V-JEPA 2)."""
    reset_head: bool = False
    """Start with a new head where the checkpoint is a classifier of other classes."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    frames: FrameCount | None = None
    """Frames in a clip. Default: the checkpoint's, from scratch 16; positions are interpolated for
    others."""
    size: Side | None = None
    """Side of a frame, pixels. Default: the checkpoint's, from scratch 224."""
    stride: Annotated[
        Stride, OnlyWith(lambda options: options.sampling == "dense", "with --sampling dense")
    ] = 4
    """Video frames from one clip frame to the next, where sampling is dense."""
    sampling: Literal["dense", "uniform"] = "dense"
    """A stretch of the video, or one frame of each of its equal parts."""

    epochs: Epochs = 100
    """Passes over the videos."""
    batch: Batch = 16
    """Videos in a step, over all processes and accumulation."""
    accumulate: Batch = 1
    """Parts that a process splits its share of a step into, to save memory."""
    repeats: Views = 1
    """Clips of each video in a step, augmented apart."""
    base_lr: Positive = 1e-3
    """Peak learning rate for a batch of 256; scales with the batch."""
    min_lr: NonNegative = 1e-6
    """Final learning rate for a batch of 256. VideoMAE."""
    warmup_epochs: NonNegative = 5
    """Epochs of linear warm-up. VideoMAE."""
    layer_decay: Decay = 0.75
    """Learning rate of a layer over that of the next one."""
    weight_decay: NonNegative = 0.05
    """AdamW's decay of matrices. VideoMAE."""
    betas: tuple[OpenShare, OpenShare] = (0.9, 0.999)
    """AdamW's. VideoMAE."""
    clip_grad: Positive | None = None
    """Largest gradient norm. VideoMAE: none."""
    drop_path: OpenShare = 0.1
    """Share of clips for which the last block is left out. VideoMAE."""
    head_dropout: OpenShare = 0.0
    """Share of features left out before the head."""
    head_scale: NonNegative = 0.001
    """Factor on the head's first weights. VideoMAE."""
    label_smoothing: OpenShare = 0.1
    """Share of a label spread over all classes. VideoMAE."""
    mixup: NonNegative = 0.8
    """Parameter of mixup's Beta distribution; 0 for none. VideoMAE."""
    cutmix: NonNegative = 1.0
    """Parameter of CutMix's; 0 for none. VideoMAE."""
    crop_area: Annotated[PositiveShare, _AUGMENTED] = 0.08
    """Share of a frame's area that a random crop has at least. VideoMAE's small crops suit what
    fills the frame; give .5 or more where a small body is what a clip is about."""
    rand_augment: Annotated[str, _AUGMENTED] = "rand-m7-n4-mstd0.5-inc1"
    """timm's description of RandAugment; `none` for none. VideoMAE."""
    erasing: Annotated[Share, _AUGMENTED] = 0.25
    """Probability of random erasing. VideoMAE."""
    augment: bool = True
    """Crop at random, mirror, RandAugment and erase; else the middle square alone."""
    flip: Annotated[bool | None, _AUGMENTED] = None
    """Mirror half of the clips. Default: unless left or right is part of a label."""
    ema: MovingDecay | None = None
    """Decay of a moving average of the weights, which is then what is tested. Default: none."""

    validate_every: Count = 1
    """Epochs between validations, on one view of each video."""
    segments: Views = 5
    """Test clips along time."""
    crops: Views = 3
    """Test crops of each."""

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
