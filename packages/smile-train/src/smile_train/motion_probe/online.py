"""A small motion probe of a student while it learns."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from smile_motion.bank import embedded_bank

from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.models.mae import Encoder
from smile_train.motion_probe.backdrops import Texture
from smile_train.motion_probe.candidates import trained_and_untrained
from smile_train.motion_probe.factors import FACTORS, FactorName
from smile_train.motion_probe.run import Candidate, Sizes, probe_motion

FACTOR: FactorName = "direction"
"""What is asked."""
CLIPS, TEST_CLIPS = 400, 240
"""To learn from and choose the penalty by, and to test on. Ours: seconds for a small student."""
ENTRY, UNTRAINED = "direction_accuracy", "direction_accuracy_untrained"
"""Names among a run's measures, in percent."""


@dataclass(frozen=True, kw_only=True)
class MeasuredMotion:
    """What is read of a line of `measures.jsonl`: what a student knew of motion, if asked then."""

    step: Annotated[int, Ge(0)]
    direction_accuracy: float | None = None
    """Percent, as `ENTRY`."""
    direction_accuracy_untrained: float | None = None
    """Percent, as `UNTRAINED`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineProbe:
    """Asks a student in which of eight directions an object travels.

    Objects are of the embedded bank, whatever the run's: runs can be compared.
    """

    size: int
    """Side of the frames, pixels."""
    batch: int = 32
    """Clips encoded at once."""

    def ask(self, encoder: Encoder, *, untrained: bool) -> dict[str, float]:
        """Probe an encoder as it is now, and if asked for its architecture with random weights.

        returns  accuracies in percent, by `ENTRY` and `UNTRAINED`.
        """
        frozen = VideoEncoder(copy.deepcopy(encoder))
        asked = trained_and_untrained("student", frozen, 0, "")
        candidates = [
            Candidate(name=name, encoder=own.encoder, sha256="", shown=("clip",))
            for name, own in zip((ENTRY, UNTRAINED), asked[: 1 + untrained], strict=False)
        ]
        sizes = Sizes(
            clips=CLIPS, test=TEST_CLIPS, seeds=1, size=self.size, seed=0, batch=self.batch
        )
        findings = probe_motion(
            candidates, (FACTOR,), ("slices",), sizes, embedded_bank(), (Texture(), Texture())
        )
        return {own.encoder: own.score.value for own in findings}


def sentence(measures: Mapping[str, float]) -> str:
    """Say what a run's measures hold: `direction of travel: 63 % (untrained 14 %, …)`."""
    factor = FACTORS[FACTOR]
    return (
        f"{factor.question}: {measures[ENTRY]:.0f} % (untrained {measures[UNTRAINED]:.0f} %, "
        f"guessing {factor.chance:g} %)"
    )
