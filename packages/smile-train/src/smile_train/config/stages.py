"""The stages of a run: one, or under the progressive strategy two, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from smile_train.config.pretrain import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of its own: its optimiser, warm-up, log and checkpoints."""

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
    background, masked in tubes.
    """
    if config.strategy != "progressive":
        return [Stage(config=config, out=out)]
    first = replace(config, strategy="single")
    second = replace(
        first,
        objects=0,
        masking="tube",
        background="natural" if config.videos is not None else config.background,
        epochs=config.second_epochs or config.epochs,
    )
    return [
        Stage(config=first, out=out / "stage-1"),
        Stage(config=second, out=out / "stage-2", follows=out / "stage-1"),
    ]
