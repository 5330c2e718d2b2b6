"""Train a grid of attentive probes on a frozen encoder, all at once (V-JEPA 2's protocol)."""

from __future__ import annotations

from collections.abc import Sequence

from smile_train.cli.finetune import choose_preset, run
from smile_train.config.finetune import FinetuneConfig

__all__ = ["Options", "defaults", "run"]

MAKES = "a training run"
Options = FinetuneConfig


def defaults(arguments: Sequence[str]) -> FinetuneConfig:
    """The probe's preset, with the data set's own sampling."""
    return choose_preset(arguments, "attentive")
