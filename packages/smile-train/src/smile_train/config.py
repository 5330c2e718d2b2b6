"""Everything a pre-training run depends on. Importable without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

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
class PretrainConfig:
    """Options of `smile_train pretrain`. A preset sets them all; what is given besides wins."""

    preset: str = "tiny"
    """Named set of defaults: see --list-presets."""
    list_presets: bool = False
    """Print the presets, and where their values come from, and stop."""
    out: Path | None = None
    """Folder of the run. Default: runs/PRESET, or the next free runs/PRESET-2, …"""
    resume: bool = False
    """Continue the run in --out from its newest sound checkpoint."""

    background: Literal["natural", "frame", "places", "black", "noise"] = "noise"
    """Behind the objects (Table 7); `natural` is the main method."""
    videos: Path | None = None
    """Video, folder or list (`path label` lines) for --background natural or frame."""
    images: Path | None = None
    """Folder of photographs for --background places."""
    bank: Path | None = None
    """Object bank. Default: the embedded one, made on first use."""
    noise: Literal["uniform", "gaussian", "spectral"] = "uniform"
    """Kind of noise for --background noise; `spectral` falls with frequency (1/f)."""
    noise_per_frame: bool = False
    """New noise in every frame. Paper: one image, repeated (Table 7)."""
    recipe: Literal["paper", "official"] = "paper"
    """Motion recipe."""
    path: (
        Literal["gaussian", "linear", "bezier", "brownian", "harmonic", "bounce", "excursion"]
        | None
    ) = None
    """Kind of path, instead of the recipe's (both: gaussian)."""
    transform: Literal["both", "rotation", "scaling", "none"] = "both"
    """What changes besides the place (Table 4)."""
    objects: int = 2
    """Objects in a clip; 0 for raw video. Paper: 2 (Table 4f)."""
    stride: int = 4
    """Video frames between clip frames. Paper: 4 on K400, 2 on SSv2."""
    samples: int = 10_000
    """Clips in an epoch where the background is endless; else the number of files counts. Ours."""

    student: StudentName = "vit-b"
    """Size of the student."""
    frames: int = 16
    """Frames in a clip. Paper: 16."""
    size: int = 224
    """Frame side, pixels. Paper: 224."""
    tubelet: int = 2
    """Frames in a token. Paper: 2."""
    patch: int = 16
    """Side of a token, pixels. Paper: 16."""

    target: Literal["pixel", "clip"] = "clip"
    """What is reconstructed: normalised pixels, or CLIP's features."""
    teacher: str = "ViT-B-16-quickgelu"
    """CLIP by open_clip name, folder or file, for --target clip. Paper: OpenAI's ViT-B/16."""
    official_teacher_input: bool = False
    """Feed the teacher ImageNet-normalised pixels, as the published code does."""
    masking: Literal["trajectory", "tube"] = "trajectory"
    """Masking along trajectories with tubes on the rest, or tubes alone."""
    mask_ratio: float = 0.8
    """Share of tokens masked. Paper: 0.8 (Table 4e)."""
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
    seed: int = 0
    """Seed of everything drawn."""

    workers: int = 2
    """Processes that render clips; 0 renders in the training process."""
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
        if self.masking == "trajectory" and self.objects == 0:
            raise InputError(
                "--masking trajectory needs objects; use --masking tube with --objects 0"
            )
        _ = self.grid

    @property
    def grid(self) -> TokenGrid:
        """The student's token grid."""
        return TokenGrid(
            frames=self.frames,
            height=self.size,
            width=self.size,
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
