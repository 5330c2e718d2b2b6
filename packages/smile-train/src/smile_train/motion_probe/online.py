"""A small motion probe of a student while it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from smile_motion.bank import embedded_bank

from smile_train.config.pretrain import PretrainConfig
from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.motion_probe.clips import open_backdrops
from smile_train.motion_probe.config import FACTORS, FactorName
from smile_train.motion_probe.inputs import Candidate, describe_fit, trained_and_untrained
from smile_train.motion_probe.run import Finding, Sizes, probe_motion
from smile_train.motion_probe.scenes import FRAMES

ASKED: tuple[FactorName, ...] = ("growth", "direction")
"""What is asked. Ours: what a student of minutes learns first."""
CLIPS = PretrainConfig.probe_motion_clips
"""Of each scene, to learn from and choose the penalty by, and as many to test on."""
UNTRAINED = "_untrained"
"""What measures of random weights are told by."""


@dataclass(frozen=True, kw_only=True)
class MeasuredMotion:
    """What is read of a line of `measures.jsonl`: what a student knew of motion, if asked then.

    Percent, named as `measure_of` says, with `UNTRAINED` after it for random weights.
    """

    step: Annotated[int, Ge(0)]
    growth_accuracy: float | None = None
    growth_accuracy_untrained: float | None = None
    direction_accuracy: float | None = None
    direction_accuracy_untrained: float | None = None


def measure_of(factor: FactorName) -> str:
    """Name of a factor among a run's measures."""
    return f"{factor}_accuracy"


@dataclass(frozen=True, kw_only=True)
class OnlineProbe:
    """Asks an encoder whether an object grows or shrinks, and in which direction one travels.

    Clips are over black, which is easier than what the command shows, and objects of the embedded
    bank, whatever the run's: runs can be compared.
    """

    size: int
    """Side of the frames, pixels."""
    batch: int = 32
    """Clips encoded at once."""
    clips: int = CLIPS
    """Clips of each scene to learn from."""
    test: int = CLIPS
    """Clips of each scene to test on."""

    def ask(self, encoder: VideoEncoder, *, untrained: bool) -> dict[str, float]:
        """Probe an encoder as it is now, and if asked for its architecture with random weights.

        Returns:
            Accuracies in percent, by `measure_of`, with `UNTRAINED` after it for random weights.

        Raises:
            InputError: As `find` does.
        """
        findings = self.find(encoder, untrained=untrained)
        return {measure_of(own.factor) + own.encoder: own.score.value for own in findings}

    def find(
        self,
        encoder: VideoEncoder,
        *,
        untrained: bool,
        computing: Callable[[], AbstractContextManager[object]] = nullcontext,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Finding]:
        """Probe an encoder; findings of random weights have `UNTRAINED` as their encoder's name.

        Args:
            encoder: Of any family; clips are fitted to it.
            untrained: Whether its architecture with random weights is asked, too.
            computing: Context in which a batch is encoded.
            on_progress: Called with the clips that are done, and all.

        Raises:
            InputError: It takes single frames.
        """
        describe_fit("this encoder", encoder.grid, FRAMES, self.size)
        asked = trained_and_untrained("student", encoder, 0, "")
        candidates = [
            Candidate(name=name, encoder=own.encoder, sha256="", shown=("clip",))
            for name, own in zip(("", UNTRAINED), asked[: 1 + untrained], strict=False)
        ]
        sizes = Sizes(
            clips=self.clips, test=self.test, seeds=1, size=self.size, seed=0, batch=self.batch
        )
        black = open_backdrops("black", videos=None, images=None, stride=1)
        return probe_motion(
            candidates,
            ASKED,
            ("mean",),
            sizes,
            embedded_bank(),
            black,
            computing=computing,
            on_progress=on_progress,
        )


def sentence(measures: Mapping[str, float]) -> str:
    """Say what a run's measures hold: `growth or shrinkage: 78 % (untrained 54 %, …); …`."""
    said = []
    for name in ASKED:
        factor, measure = FACTORS[name], measure_of(name)
        said.append(
            f"{factor.question}: {measures[measure]:.0f} % (untrained "
            f"{measures[measure + UNTRAINED]:.0f} %, guessing {factor.chance:g} %)"
        )
    return "; ".join(said)


def is_asked(measures: Mapping[str, float], *, untrained: bool) -> bool:
    """Whether a step's measures hold the answers already."""
    return all(measures.get(measure_of(name) + UNTRAINED * untrained) is not None for name in ASKED)
