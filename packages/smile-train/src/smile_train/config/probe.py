"""Options of probes on cached features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro
from smile_motion.errors import InputError
from smile_motion.io.options import (
    Batch,
    Count,
    FrameCount,
    Groups,
    Heads,
    OnlyWith,
    Positive,
    Side,
    Stride,
    Threads,
    Views,
    Workers,
    require_within,
)

from smile_train.config.dataset import DatasetOptions
from smile_train.config.finetune import FROM_SCRATCH
from smile_train.config.run import Precision
from smile_train.models.config import StudentName


@dataclass(frozen=True, kw_only=True)
class FeatureProbeConfig(DatasetOptions):
    """What `probe strict` and `probe knn` share."""

    GROUPS: ClassVar[Groups] = {
        "what is asked, and where to": (
            *("checkpoint", "from_scratch", "patch", "out", "pooling", "heads", "cache"),
        ),
        "the data set": (
            *("dataset", "data", "annotations", "fold", "subset", "few"),
            *("test_split", "allow_missing"),
        ),
        "what is seen": ("frames", "size", "sampling", "stride", "segments", "crops"),
        "how the probe is fitted": ("penalties", "iterations", "neighbours", "seed"),
        "how fast": ("batch", "precision", "decoder", "workers", "cpu_threads"),
    }

    checkpoint: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="CHECKPOINT", help_behavior_hint="(required)"),
    ] = ""
    """A run, a checkpoint, a published file, a folder of transformers, or a hub id, unless
    --from-scratch is given."""
    from_scratch: StudentName | None = None
    """Probe random weights of this student, drawn by --seed, instead of a checkpoint: the floor of
    what every other encoder reaches."""
    patch: Annotated[Side, FROM_SCRATCH] = 16
    """Side of its tokens, pixels. Paper: 16."""
    frames: Annotated[FrameCount, FROM_SCRATCH] = 16
    """Frames of its clips. Paper: 16."""
    size: Annotated[Side, FROM_SCRATCH] = 224
    """Side of its frames, pixels. Paper: 224."""
    test_split: Literal["validation", "test"] = "validation"
    """What is tested on. Nothing is chosen by it."""
    out: Path | None = None
    """Folder of the results. Default: runs/CHECKPOINT-PROTOCOL-DATASET."""
    cache: Path = Path("runs/features")
    """Folder of features, which probes of one checkpoint share."""

    sampling: Literal["dense", "uniform"] | None = None
    """A stretch of the video, or one frame of each of its parts. Default: as fine-tuning has it."""
    stride: Annotated[
        Stride | None,
        OnlyWith(lambda options: options.sampling != "uniform", "with --sampling dense"),
    ] = None
    """Video frames from one clip frame to the next. Default: as fine-tuning has it."""
    segments: Views = 2
    """Test clips along time. SIGMA, on SSv2: 2."""
    crops: Views = 3
    """Test crops of each. SIGMA, on SSv2: 3."""
    batch: Batch = 8
    """Clips encoded at once."""
    precision: Precision = "auto"
    """Of the encoder. auto: bf16 on CUDA devices that have it, fp16 on older ones; on a CPU bf16
    where a short measurement says that it pays, else fp32."""
    cpu_threads: Threads | None = None
    """Threads on the CPU. Default: all cores that this process may use, shared by the processes of
    this machine, or OMP_NUM_THREADS where you set it."""
    workers: Workers = 2
    """Processes that decode."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    pooling: Literal["pooled", "slices"] = "pooled"
    """One vector of a clip, the tokens' mean (of CLIP and ViCLIP their feature in the space shared
    with text), or the mean token of each time slice, one after the other, which tells the order of
    what happens."""

    def __post_init__(self) -> None:
        require_within(self)


@dataclass(frozen=True, kw_only=True)
class StrictProbeConfig(FeatureProbeConfig):
    """Options of `smile_train probe strict`: a linear classifier on frozen, cached features."""

    penalties: tuple[Positive, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Factors tried of half the squared weights, beside the mean loss; chosen by a tenth of the
    training samples, by their loss where accuracies are equal. Ours."""
    iterations: Count = 300
    """Steps of L-BFGS, over all training features at once. Ours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.penalties:
            raise InputError("--penalties: give one or more, such as 1e-3")


@dataclass(frozen=True, kw_only=True)
class NeighborProbeConfig(FeatureProbeConfig):
    """Options of `smile_train probe knn`: nearest neighbors in frozen, cached features."""

    neighbours: tuple[Count, ...] = (1, 5, 10, 20, 50)
    """Numbers of neighbors tried; chosen by leaving out each training sample in its turn. Ours."""
