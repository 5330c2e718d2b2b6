"""Everything a pre-training run depends on. Importable without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from smile_motion.clip_options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.students import STUDENTS, StudentConfig, StudentName

FREE_FIELDS = (
    "out",
    "resume",
    "workers",
    "save_every",
    "keep",
    "log_every",
    "picture_every",
)
"""Fields that a resumed run may change: they do not touch what is learned."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(ClipOptions):
    """Options of `smile_train pretrain`. A preset sets them all; what is given besides wins."""

    preset: str = "tiny"
    """Named set of defaults: see --list-presets."""
    list_presets: bool = False
    """Print the presets, and where their values come from, and stop."""
    out: Path | None = None
    """Folder of the run. Default: runs/PRESET, or the next free runs/PRESET-2, …"""
    resume: bool = False
    """Continue the run in --out from its newest sound checkpoint."""

    samples: int = 10_000
    """Clips in an epoch where the background is endless; else the number of files counts. Ours."""

    student: StudentName = "vit-b"
    """Size of the student."""

    target: Literal["pixel", "clip"] = "clip"
    """What is reconstructed: normalised pixels, or CLIP's features."""
    teacher: str = "ViT-B-16-quickgelu"
    """CLIP by open_clip name, folder or file, for --target clip. Paper: OpenAI's ViT-B/16."""
    official_teacher_input: bool = False
    """Feed the teacher ImageNet-normalised pixels, as the published code does."""
    masking: Literal["trajectory", "tube", "random", "official"] = "trajectory"
    """Masking along trajectories with tubes on the rest, tubes alone, tokens at random, or as the
    published code does it (boxes, tubes partly broken up)."""
    mask_ratio: float = 0.8
    """Share of tokens masked. Paper: 0.8 (Table 4e)."""
    trajectory_visible: float | None = None
    """Share of trajectory tokens left visible. Default: 1 - --mask-ratio (paper), 0.1 for
    --masking official."""
    coverage_threshold: float = 0.0
    """Share of a token that objects must cover, and more, for it to lie on a trajectory. Ours."""
    masks_per_clip: int = 1
    """Masks that each clip is learned under; the teacher runs once. Official: 2."""

    epochs: int = 300
    """Passes over the clips. Paper: 300 a stage."""
    steps: int | None = None
    """Optimiser steps, instead of --epochs."""
    batch: int = 256
    """Clips in a step, over all processes and accumulation. Official: 256."""
    accumulate: int = 1
    """Parts that a process splits its share of a step into, to save memory."""
    base_lr: float = 1.5e-4
    """Peak learning rate for a batch of 256; scales with the batch. Official."""
    min_lr: float = 1e-5
    """Final learning rate for a batch of 256; scales with the batch. Official."""
    warmup_epochs: float = 40
    """Epochs of linear warm-up from 0. Official."""
    weight_decay: float = 0.05
    """AdamW's decay of matrices. Official."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's. Official."""
    clip_grad: float | None = None
    """Largest gradient norm. Official: none."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    """Of activations; weights stay float32. Official: fp16; ours bf16."""

    render: Literal["cpu", "device"] = "cpu"
    """Where objects are painted: by the workers, or on the training device, where the bank must
    fit; workers then only decode and plan."""
    workers: int = 2
    """Processes that render or plan clips; 0 does it in the training process."""
    save_every: int = 1000
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints kept."""
    log_every: int = 10
    """Steps between records of the loss."""
    picture_every: int = 0
    """Steps between pictures of input, mask and reconstruction; 0 draws one at the end."""

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "masks_per_clip", "samples", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more"
                )
        if self.steps is not None and self.steps < 1:
            raise InputError(
                f"--steps is {self.steps}; give 1 or more, or leave it out for --epochs"
            )
        moving = self.objects is None or self.objects > 0
        if self.masking in ("trajectory", "official") and not moving:
            raise InputError(
                f"--masking {self.masking} needs objects; use --masking tube with --objects 0"
            )
        _ = self.grid

    @property
    def grid(self) -> TokenGrid:
        """The student's token grid."""
        return TokenGrid(
            frames=self.frames,
            height=self.size,
            width=self.frame_size[1],
            tubelet=self.tubelet,
            patch=self.patch,
        )

    @property
    def student_config(self) -> StudentConfig:
        """The student's sizes."""
        return STUDENTS[self.student]

    def to_json(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }

    def differing(self, other: dict[str, Any]) -> list[str]:
        """Fields that matter in which a stored configuration differs, with both values."""
        mine = json.loads(json.dumps(self.to_json()))
        return [
            f"{field.name} {other.get(field.name)!r} there, {mine[field.name]!r} asked for"
            for field in fields(self)
            if field.name not in FREE_FIELDS and other.get(field.name) != mine[field.name]
        ]
