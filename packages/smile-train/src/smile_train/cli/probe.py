"""The commands `smile_train probe …` on labelled videos: what frozen encoders let others learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.runtime.partition import results_folder

from smile_train.cli import finetune
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.probe import FeatureProbeConfig, NeighbourProbeConfig, StrictProbeConfig


class Strict:
    """A linear classifier on frozen, cached features: nothing augmented, the rate chosen fairly."""

    Options = StrictProbeConfig

    @staticmethod
    def run(config: StrictProbeConfig) -> Outcome | None:
        """Probe, and say what was reached."""
        from smile_train.cli.outcome import print_outcome
        from smile_train.probes.run import probe_strict

        out = prepare_folder(config, "strict")
        with results_folder(out):
            return print_outcome(probe_strict(config, out), out)


class Knn:
    """Classify by the nearest neighbours in frozen, cached features."""

    Options = NeighbourProbeConfig

    @staticmethod
    def run(config: NeighbourProbeConfig) -> Outcome | None:
        """Probe, and say what was reached."""
        from smile_train.cli.outcome import print_outcome
        from smile_train.probes.run import probe_neighbours

        out = prepare_folder(config, "knn")
        with results_folder(out):
            return print_outcome(probe_neighbours(config, out), out)


class Sigma:
    """Train a normalisation and a linear head on a frozen backbone, augmented (as SIGMA does)."""

    MAKES = finetune.MAKES
    Options = FinetuneConfig
    run = staticmethod(finetune.run)

    @staticmethod
    def defaults(arguments: Sequence[str]) -> FinetuneConfig:
        """The probe's preset, with the data set's own sampling."""
        return finetune.choose_preset(arguments, "linear-sigma")


class Attentive:
    """Train a grid of attentive probes on a frozen encoder, all at once (V-JEPA 2's protocol)."""

    MAKES = finetune.MAKES
    Options = FinetuneConfig
    run = staticmethod(finetune.run)

    @staticmethod
    def defaults(arguments: Sequence[str]) -> FinetuneConfig:
        """The probe's preset, with the data set's own sampling."""
        return finetune.choose_preset(arguments, "attentive")


def prepare_folder(config: FeatureProbeConfig, protocol: str) -> Path:
    """The folder of the results.

    Raises:
        InputError: No checkpoint is given, or there are other results in it.
    """
    if not config.checkpoint:
        raise InputError("no checkpoint; give a run, a checkpoint, a published file or a hub id")
    name = f"{finetune.name_of(config.checkpoint)}-{protocol}-{config.dataset}"
    out = config.out or Path("runs") / name
    if (out / "results.json").exists():
        raise InputError(f"{out}: holds results; choose another --out")
    return out
