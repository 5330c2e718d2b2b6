"""What a motion probe asks. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from smile_train.motion_probe.scenes import SceneName

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
    """In words, for people."""
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
"""By name."""
SCENE_CLASSES: dict[SceneName, int] = {
    name: {"direction": 8, "count": 4}.get(name, 2) for name in get_args(SceneName)
}
"""Labels that the clips of a scene take in turn."""


def scenes_of(factors: tuple[FactorName, ...]) -> tuple[SceneName, ...]:
    """Scenes that factors are asked about, each once."""
    return tuple(dict.fromkeys(FACTORS[name].scene for name in factors))
