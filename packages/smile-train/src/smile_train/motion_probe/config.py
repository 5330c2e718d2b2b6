"""Factors that motion probes ask about, and the options of a probe. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

import tyro
from smile_motion.clips.options import BANK_FIELDS, BankOptions
from smile_motion.errors import InputError
from smile_motion.io.options import (
    ONE_FOLDER,
    Banks,
    Batch,
    Count,
    Groups,
    Heads,
    OnlyWith,
    Seed,
    Side,
    Stride,
    Threads,
)

from smile_train.config.run import DecoderOptions, Precision

SceneName = Literal["direction", "orbit", "spin", "growth", "count", "front", "hidden", "reversal"]
"""A kind of clip; see `motion_probe.scenes`."""
FactorName = Literal[
    "direction",
    "speed",
    "rotation_sense",
    "rotation_rate",
    "growth",
    "count",
    "front",
    "hidden",
    "reversal",
    "pairs",
]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One question, and what guessing reaches."""

    scene: SceneName
    """Clips that it is asked about."""
    classes: int
    """Number of answers; 0 where it is a number."""
    question: str
    """The question in words."""
    chance: float
    """What guessing reaches: percent right; of a number R2, in percent."""
    both: bool = False
    """Counted right when both clips of a pair are."""

    @property
    def score(self) -> str:
        """What is reported."""
        return "R2" if not self.classes else "pairs" if self.both else "accuracy"


FACTORS: dict[FactorName, Factor] = {
    "direction": Factor(scene="direction", classes=8, chance=12.5, question="direction of travel"),
    "speed": Factor(scene="orbit", classes=0, chance=0, question="speed"),
    "rotation_sense": Factor(scene="spin", classes=2, chance=50, question="sense of rotation"),
    "rotation_rate": Factor(scene="spin", classes=0, chance=0, question="signed rate of rotation"),
    "growth": Factor(scene="growth", classes=2, chance=50, question="growth or shrinkage"),
    "count": Factor(
        scene="count", classes=4, chance=25, question="how many of four objects travel"
    ),
    "front": Factor(scene="front", classes=2, chance=50, question="which object passes in front"),
    "hidden": Factor(scene="hidden", classes=0, chance=0, question="where a hidden object is"),
    "reversal": Factor(
        scene="reversal", classes=2, chance=50, question="forwards (gaining speed) or backwards"
    ),
    "pairs": Factor(
        scene="orbit",
        classes=2,
        chance=25,
        both=True,
        question="way round, both of two clips that differ in nothing else",
    ),
}
"""Factors by name."""
SCENE_CLASSES: dict[SceneName, int] = {
    name: {"direction": 8, "count": 4}.get(name, 2) for name in get_args(SceneName)
}
"""Labels that the clips of a scene take in turn."""


def scenes_of(factors: tuple[FactorName, ...]) -> tuple[SceneName, ...]:
    """Scenes that factors are asked about, each once."""
    return tuple(dict.fromkeys(FACTORS[name].scene for name in factors))


PoolingName = Literal["slices", "mean", "attentive"]
Kept = Literal["slices", "places"]
"""What is kept of a clip's tokens: their mean in each time slice, or in each of its places."""
READS: dict[PoolingName, Kept] = {"slices": "slices", "mean": "slices", "attentive": "places"}
"""What a read-out is made of."""
FEWEST_CLIPS = 80
"""Clips to learn from, and to test on: of eight classes ten each. Ours."""
HELD_OUT = 5
"""One clip of so many is not learned from: penalties are chosen by it."""


@dataclass(frozen=True, kw_only=True)
class MotionProbeConfig(BankOptions, DecoderOptions):
    """Options of `smile_train probe motion`: what frozen encoders know about motion."""

    GROUPS: ClassVar[Groups] = {
        "what is asked, and where to": ("checkpoints", "names", "out", "factors", "pooling"),
        "the clips": (
            *("background", "videos", "images", "stride", *BANK_FIELDS),
            *("clips", "test_clips", "seeds", "size", "seed"),
        ),
        "how fast": ("batch", "precision", "decoder", "cpu_threads", "cache", "heads"),
    }

    checkpoints: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="CHECKPOINT", help_behavior_hint="(required)"),
    ] = ()
    """Runs, checkpoints, published files, folders of transformers, or hub ids: side by side."""
    names: tuple[str, ...] = ()
    """What they are called in table and figure. Default: the ends of their paths."""
    out: Path | None = None
    """Folder for motion.md, motion.json and motion.png. Default: runs/CHECKPOINT-motion."""

    factors: tuple[FactorName, ...] = tuple(FACTORS)
    """What is asked; a probe each."""
    pooling: tuple[PoolingName, ...] = ("slices", "mean")
    """What a read-out sees: the mean token of each time slice, one after the other; the mean of all
    tokens; or, attentive, 4 x 4 places of each slice, by a query that learns where to look, which
    takes longer. The figure shows the first."""
    clips: Count = 400
    """Clips of each scene to learn from, of which one in five chooses the penalty. Ours."""
    test_clips: Count = 200
    """Clips of each scene to test on. Ours."""
    seeds: Count = 2
    """Draws of all clips and of random weights; intervals are over clips and draws. Ours."""

    background: Literal["texture", "natural", "photographs", "black"] | None = None
    """What moves behind the objects: textures made here, videos, or photographs; or nothing, which
    is easier. Default: natural with --videos, photographs with --images, else texture. Ours."""
    videos: Annotated[
        Path | None,
        ONE_FOLDER,
        OnlyWith(lambda options: options.backdrop == "natural", "with --background natural"),
    ] = None
    """Video, folder or list; a third of the videos serves the test alone."""
    images: Annotated[
        Path | None,
        ONE_FOLDER,
        OnlyWith(
            lambda options: options.backdrop == "photographs", "with --background photographs"
        ),
    ] = None
    """Folder of photographs; a third of them serves the test alone."""
    stride: Annotated[
        Stride,
        OnlyWith(lambda options: options.backdrop == "natural", "with --background natural"),
    ] = 4
    """Video frames from one clip frame to the next. Paper: 4 on K400."""
    bank: Banks = None
    """Object bank, or several as one, shared out so that objects of the test are in no other part.
    Default: the embedded one."""
    size: Side | None = None
    """Side of the frames that are rendered, pixels; encoders that take another get them resized.
    Default: the largest that an encoder takes, 224 at most."""

    batch: Batch = 16
    """Clips encoded at once."""
    precision: Precision = "auto"
    """Of the encoder. auto: bf16 on CUDA devices that have it, fp16 on older ones; on a CPU bf16
    where a short measurement says that it pays, else fp32."""
    cpu_threads: Threads | None = None
    """Threads on the CPU. Default: all cores that this process may use, or OMP_NUM_THREADS where
    you set it."""
    cache: Path = Path("runs/features")
    """Folder of features: an encoder that was asked once is not run again."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    seed: Seed = 0
    """Seed of everything drawn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, what in (("clips", "learn from"), ("test_clips", "test on")):
            if (count := getattr(self, name)) < FEWEST_CLIPS:
                raise InputError(
                    f"--{name.replace('_', '-')} is {count}, too few to {what}; give "
                    f"{FEWEST_CLIPS} or more: ten for each of eight directions"
                )
        for name in ("factors", "pooling"):
            if not getattr(self, name):
                raise InputError(f"--{name}: none given; name one or more, or leave --{name} out")
        if self.background not in (None, "natural") and self.videos is not None:
            raise InputError(
                f"--videos is not used by --background {self.background}; leave one out"
            )
        if self.background not in (None, "photographs") and self.images is not None:
            raise InputError(
                f"--images is not used by --background {self.background}; leave one out"
            )
        if self.videos is not None and self.images is not None:
            raise InputError("--videos and --images: clips move over one kind; leave one out")

    @property
    def reads_videos(self) -> bool:
        """Whether videos lie behind the clips."""
        return self.backdrop == "natural"

    @property
    def backdrop(self) -> Literal["texture", "natural", "photographs", "black"]:
        """The background, whether it is named or follows from the files given."""
        if self.background is not None:
            return self.background
        if self.videos is not None:
            return "natural"
        return "photographs" if self.images is not None else "texture"
