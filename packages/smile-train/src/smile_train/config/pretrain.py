"""Everything a pre-training run depends on. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.io.options import (
    Batch,
    Count,
    Epochs,
    GivenOnce,
    Groups,
    Index,
    MaskRatio,
    NonNegative,
    OnlyWith,
    OpenShare,
    Positive,
    Share,
    Views,
    Within,
)
from smile_motion.tokens import TokenGrid, masked_tokens

from smile_train.config.motion_target import MotionTargetOptions
from smile_train.config.run import DecoderOptions, RunOptions
from smile_train.models.config import DEEPEST, STUDENTS, StudentConfig, StudentName, require_layers

TargetName = Literal["pixel", "clip", "dino", "dinov2", "mae"]
TEACHERS: dict[TargetName, str] = {
    "clip": "ViT-B-16-quickgelu",
    "dino": "vit_base_patch16_224.dino",
    "dinov2": "vit_base_patch14_dinov2.lvd142m",
    "mae": "vit_base_patch16_224.mae",
}
"""The teacher meant by a target, by its open_clip or timm name. All are ViT-B. Paper, Table 4b."""

_OF_FEATURES = OnlyWith(lambda options: options.target != "pixel", "with a --target of features")
_VIDEO = ("natural", "frame")
_WITHOUT_STEPS = OnlyWith(lambda options: options.steps is None, "without --steps")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunOptions, ClipOptions, MotionTargetOptions, DecoderOptions):
    """Options of `smile_train pretrain`. A preset sets them all; what is given besides wins."""

    GROUPS: ClassVar[Groups] = {
        "the run": ("preset", "list_presets", "config", "out", "resume", "stop_at"),
        **ClipOptions.GROUPS,
        "the student": ("student", "init", "gradient_checkpointing"),
        "what it learns": (
            *("target", "teacher", "target_norm", "official_teacher_input"),
            *("visible_weight", "visible_scaling", "target_layers"),
            *("motion_target", "tracks", "motion_reading", "motion_points", "motion_visibility"),
            *("motion_rates", "motion_norm", "motion_weight", "motion_depth"),
            *("strategy", "mixed_share", "second_epochs"),
        ),
        "what is masked": (
            *("masking", "mask_ratio", "trajectory_visible", "coverage_threshold"),
            *("masks_per_clip", "decoder_mask_ratio", "motion_share"),
        ),
        "how long": ("epochs", "steps", "minutes", "samples"),
        "how it is optimized": (
            *("batch", "accumulate", "base_lr", "min_lr", "warmup_epochs"),
            *("weight_decay", "betas", "clip_grad"),
        ),
        "how fast": (
            *("precision", "compile", "render", "decoder", "clips_per_video", "workers"),
            "cpu_threads",
        ),
        "what is recorded": (
            *("track", "log_every", "save_every", "keep"),
            *("picture_every", "knn", "probe_linear_every", "probe_motion_every"),
            "probe_motion_clips",
        ),
    }

    preset: Annotated[str, GivenOnce("choose one of them")] = "tiny"
    """Named set of defaults: see --list-presets."""
    list_presets: bool = False
    """Print the presets, and where their values come from, and stop."""
    out: Path | None = None
    """Folder of the run. Default: runs/PRESET, or the next free runs/PRESET-2, …"""

    samples: Annotated[
        Count,
        OnlyWith(
            lambda options: options.background_kind in ("black", "noise"),
            "with --background black or noise, which are endless",
        ),
    ] = 10_000
    """Clips in an epoch where the background is endless; else the number of files counts. Ours."""

    clips_per_video: Annotated[
        Views,
        OnlyWith(
            lambda options: options.background_kind in _VIDEO, "with --background natural or frame"
        ),
    ] = 1
    """Clips with objects, crops and masks of their own that each decoded stretch of video lies
    behind, in as many steps in a row. --epochs counts clips as before, so that each video is
    decoded in one of so many epochs. Ours: 1."""

    student: StudentName = "vit-b"
    """Size of the student."""

    init: Path | None = None
    """Start from these weights: a run, a checkpoint of ours, or a published one of SMILE, VideoMAE
    and their family. Positions are interpolated where clips are longer or larger."""
    gradient_checkpointing: bool = False
    """Compute activations of the student's blocks again in the backward pass, to save memory."""

    target: TargetName = "clip"
    """What is reconstructed: normalized pixels, or features of CLIP, DINO, DINOv2 or MAE."""
    teacher: Annotated[str | None, _OF_FEATURES] = None
    """Where the features come from: for CLIP open_clip's names, folders and OpenAI's files, for
    the others timm's names and folders. Default: the ViT-B of --target. Paper: OpenAI's CLIP."""
    target_norm: Annotated[Literal["clip-channel", "token", "none"], _OF_FEATURES] = "clip-channel"
    """Features normalized per channel over a clip's tokens (paper), per token, or not at all."""
    official_teacher_input: Annotated[bool, _OF_FEATURES] = False
    """Feed the teacher ImageNet-normalized pixels, as the published code does."""
    visible_weight: NonNegative = 0.0
    """Weight of the loss of visible tokens, which a head of their own predicts from the decoder's
    output, beside that of masked ones. Ours: 0, none; V-JEPA 2.1 (arXiv 2603.14482): 0.5."""
    visible_scaling: Annotated[
        Literal["distance", "none"],
        OnlyWith(lambda options: options.visible_weight > 0, "with a --visible-weight"),
    ] = "distance"
    """Errors of visible tokens divided by the root of the distance, in tokens, to the nearest
    masked one (V-JEPA 2.1), or as they are."""
    target_layers: tuple[Annotated[int, Within(1, DEEPEST)], ...] = ()
    """Blocks of the encoder, the last among them, whose outputs the decoder is given together; it
    predicts as many of the teacher's, those at the same shares of its depth, or once the pixels
    (V-JEPA 2.1: 3 6 9 12 of 12). Default: the last block of both alone."""
    strategy: Literal["single", "mixed", "progressive"] = "single"
    """Objects in all clips; in a share of them; or first with, then without objects, from the first
    stage's weights, with a new optimizer and warm-up (Table 4d; paper: progressive)."""
    mixed_share: Annotated[
        OpenShare, OnlyWith(lambda options: options.strategy == "mixed", "with --strategy mixed")
    ] = 0.5
    """Share of clips with objects under --strategy mixed; the others are masked in tubes. Ours."""
    second_epochs: Annotated[
        Epochs | None,
        _WITHOUT_STEPS,
        OnlyWith(lambda options: options.strategy == "progressive", "with --strategy progressive"),
    ] = None
    """Epochs of the second stage under --strategy progressive. Default: those of the first."""
    masking: Literal["trajectory", "tube", "random", "official", "motion-bins"] = "trajectory"
    """Masking along trajectories with tubes on the rest, tubes alone, tokens at random, as the
    published code does it (boxes, tubes partly broken up), or in tubes that leave as much visible
    of what moves as of the rest (TrackMAE)."""
    mask_ratio: MaskRatio = 0.8
    """Share of tokens masked. Paper: 0.8 (Table 4e)."""
    trajectory_visible: Annotated[
        Share | None,
        OnlyWith(
            lambda options: options.masking in ("trajectory", "official"),
            "with --masking trajectory or official",
        ),
    ] = None
    """Share of trajectory tokens left visible. Default: 1 - --mask-ratio (paper), 0.1 for
    --masking official."""
    coverage_threshold: Annotated[
        OpenShare,
        OnlyWith(lambda options: options.masking == "trajectory", "with --masking trajectory"),
    ] = 0.0
    """Share of a token that objects must cover, and more, for it to lie on a trajectory. Ours."""
    masks_per_clip: Views = 1
    """Masks that each clip is learned under; the teacher runs once. Official: 2."""
    decoder_mask_ratio: OpenShare = 0.0
    """Share of masked tokens that the decoder neither gets nor predicts, to save time. Ours: none;
    VideoMAE V2: 0.5."""

    epochs: Annotated[Epochs, _WITHOUT_STEPS] = 300
    """Passes over the clips. Paper: 300 a stage."""
    steps: Count | None = None
    """Optimizer steps of a stage, instead of --epochs."""
    minutes: Positive | None = None
    """Most minutes that the steps of a stage may take: where a short measurement says that this
    machine needs longer, there are fewer steps, and the whole schedule in them. Their number is
    stored, and a resumed run keeps it. Default: no limit; none for `tiny` either, where --steps or
    --epochs is given."""
    batch: Batch = 256
    """Clips in a step, over all processes and accumulation. Official: 256."""
    accumulate: Batch = 1
    """Parts that a process splits its share of a step into, to save memory."""
    base_lr: Positive = 1.5e-4
    """Peak learning rate for a batch of 256; scales with the batch. Official."""
    min_lr: NonNegative = 1e-5
    """Final learning rate for a batch of 256; scales with the batch. Official."""
    warmup_epochs: NonNegative = 40
    """Epochs of linear warm-up from 0. Official."""
    weight_decay: NonNegative = 0.05
    """AdamW's decay of matrices. Official."""
    betas: tuple[OpenShare, OpenShare] = (0.9, 0.95)
    """AdamW's. Official."""
    clip_grad: Positive | None = None
    """Largest gradient norm. Official: none."""

    render: Literal["cpu", "device"] = "cpu"
    """Where objects are painted: by the workers, or on the training device, where the bank must
    fit; workers then only decode and plan."""
    knn: Path | None = None
    """List of labeled videos (`path label` lines) that a nearest-neighbor probe of the student's
    features is tried on at every picture."""
    probe_linear_every: Annotated[
        Index | None, OnlyWith(lambda options: options.knn is not None, "with --knn")
    ] = None
    """Steps between linear probes of the student's features on the videos of --knn: each is
    classified by a ridge regression on the others, in five parts. 0: at the end alone. Default:
    never."""
    probe_motion_every: Index | None = None
    """Steps between small motion probes of the student: does an object grow or shrink, and in which
    of eight directions does one travel? 0 asks at the end alone, where the architecture with random
    weights is asked, too. Default: never; 0 for `tiny`, unless --steps or --epochs is given."""
    probe_motion_clips: Annotated[
        int,
        Within(80),
        OnlyWith(
            lambda options: options.probe_motion_every is not None, "with --probe-motion-every"
        ),
    ] = 600
    """Clips of each scene that a motion probe learns from, and as many that it is tested on; 80
    or more, ten for each direction. 600 take seconds with a small student on a CPU."""
    picture_every: Index = 0
    """Steps between pictures of input, mask and reconstruction; 0 draws one at the end."""

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
        ClipOptions.__post_init__(self)
        moving = self.objects is None or self.objects > 0
        if self.masking in ("trajectory", "official") and not moving:
            raise InputError(
                f"--masking {self.masking} needs objects; use --masking tube with --objects 0"
            )
        if self.probe_linear_every is not None and self.knn is None:
            raise InputError("--probe-linear-every needs labeled videos; give their list, --knn")
        _ = self.grid
        self.require_motion()
        require_layers(self.target_layers, self.student_config.depth)

    @property
    def reads_videos(self) -> bool:
        """Whether videos lie behind the clips, or are those of --knn."""
        return self.background_kind in _VIDEO or self.knn is not None

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
    def teacher_name(self) -> str | None:
        """The teacher's name or path; none for pixels."""
        return None if self.target == "pixel" else self.teacher or TEACHERS[self.target]

    @property
    def reconstructed(self) -> int:
        """Masked tokens that the decoder predicts."""
        hidden = masked_tokens(self.grid, self.mask_ratio)
        return max(1, hidden - int(self.decoder_mask_ratio * hidden))

    @property
    def student_config(self) -> StudentConfig:
        """The student's sizes."""
        return STUDENTS[self.student]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of its own: its optimizer, warm-up, log and checkpoints."""

    config: PretrainConfig
    """What is done."""
    out: Path
    """Its folder: the run's, or a folder in it."""
    follows: Path | None = None
    """Folder of the stage whose last weights it starts from."""

    def started(self) -> PretrainConfig:
        """The configuration, to begin with the weights of the stage before."""
        return replace(self.config, init=self.follows) if self.follows else self.config


def plan_stages(config: PretrainConfig, out: Path) -> list[Stage]:
    """List the stages of a run (SMILE, section 3.4; Table 4d).

    The second of a progressive run has no objects: raw video where there are videos, else the same
    background, masked in tubes; nor is motion learned there, but that of a camera over it.
    """
    if config.strategy != "progressive":
        return [Stage(config=config, out=out)]
    first = replace(config, strategy="single")
    second = replace(
        first,
        objects=0,
        masking="tube",
        background="natural" if config.videos is not None else config.background,
        camera="none" if config.videos is not None else config.camera,
        epochs=config.second_epochs or config.epochs,
    )
    return [
        Stage(config=first, out=out / "stage-1"),
        Stage(config=second, out=out / "stage-2", follows=out / "stage-1"),
    ]
