"""How large the experiments are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from smile_train.models.config import StudentName

SizeName = Literal["cpu-probes", "cpu", "gpu-minutes", "gpu-scratch", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """What all arms of a run have in common; all of it is ours."""

    student: StudentName
    """Size of the student."""
    side: int
    """Side of its frames, pixels."""
    patch: int
    """Side of a token, pixels."""
    movements: tuple[int, int] = (200, 40)
    """Clips of each movement to learn from, and to test on."""
    steps: int
    """Optimiser steps of a pre-training over clips that cost no decoding (Table 7)."""
    video_steps: int
    """Of one over natural video (Table 4)."""
    batch: int
    """Clips in a step."""
    masks_per_clip: int
    """Masks that each is learned under."""
    base_lr: float
    """Peak rate for a batch of 256."""
    clips_per_video: int = 4
    """Clips behind each stretch of video, or frame of one, that is decoded."""
    mask_ratio: float = 0.8
    """Share of tokens masked; the paper's best (Table 4e)."""
    epochs: int = 0
    """Of fine-tuning; 0: nothing is fine-tuned."""
    repeats: int = 2
    """Augmented clips of every video in each."""
    crop_area: float = 0.6
    """Share of a frame's area that a crop has at least; published crops often miss the body."""
    head_scale: float = 1.0
    """Factor of the head's first weights; the published .001 costs a short run many steps."""
    finetune_batch: int = 32
    """Videos in a step of fine-tuning."""
    finetune_lr: float = 8e-3
    """Its peak rate for a batch of 256."""
    motion: bool = False
    """Whether students are asked what they know about motion, as the first command's is."""
    processes: int
    """Arms that are run at once."""
    workers: int
    """Processes that make clips for each."""
    cpu_threads: int | None = None
    """Threads of each on a CPU; none: as training chooses."""

    def to_json(self) -> dict[str, Any]:
        """What results depend on."""
        left_out = ("processes", "workers", "cpu_threads")
        said = {name: value for name, value in vars(self).items() if name not in left_out}
        if not self.motion:  # as results of before there was a choice
            del said["motion"]
        return said | {"movements": list(self.movements)}


SIZES: dict[SizeName, Size] = {
    "cpu-probes": Size(
        student="mini",
        side=64,
        patch=16,
        movements=(100, 40),
        steps=600,
        video_steps=300,
        batch=16,
        masks_per_clip=1,
        base_lr=3.2e-2,
        motion=True,
        processes=2,
        workers=1,
        cpu_threads=1,
    ),
    "cpu": Size(
        student="tiny",
        side=64,
        patch=16,
        steps=800,
        video_steps=400,
        batch=16,
        masks_per_clip=1,
        base_lr=1.6e-2,
        epochs=4,
        repeats=1,
        finetune_batch=16,
        finetune_lr=8e-3,
        processes=1,
        workers=1,
    ),
    "gpu-minutes": Size(
        student="tiny",
        side=112,
        patch=16,
        movements=(30, 20),
        steps=800,
        video_steps=400,
        batch=64,
        masks_per_clip=2,
        base_lr=6e-3,
        epochs=16,
        crop_area=0.08,
        head_scale=0.001,
        finetune_batch=32,
        finetune_lr=8e-3,
        processes=13,
        workers=1,
    ),
    "gpu-scratch": Size(
        student="tiny",
        side=64,
        patch=8,
        steps=1600,
        video_steps=800,
        batch=64,
        masks_per_clip=2,
        base_lr=6e-3,
        epochs=16,
        finetune_batch=32,
        finetune_lr=8e-3,
        processes=6,
        workers=2,
    ),
    "gpu": Size(
        student="vit-s",
        side=112,
        patch=16,
        steps=20_000,
        video_steps=10_000,
        batch=256,
        masks_per_clip=2,
        base_lr=1e-3,
        epochs=20,
        finetune_batch=32,
        finetune_lr=4e-3,
        processes=2,
        workers=6,
    ),
}
"""For a few hours of a CPU core without fine-tuning (24 runs of Table 7 and track-black took 87
minutes, beside other work), a night on two CPU cores (about eight hours for Tables 7, 4a and 4g,
estimated), about ten minutes of a data-center GPU as it ran (27 of 39 runs took seven), the few
arms of table `scratch` with a longer fine-tuning in five minutes of one, and, not measured, a day
of one; see docs/evidence.md."""
