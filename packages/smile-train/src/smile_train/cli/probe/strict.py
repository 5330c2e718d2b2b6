"""A linear classifier on frozen, cached features: nothing augmented, the rate chosen fairly."""

from __future__ import annotations

from pathlib import Path

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.runtime.partition import results_folder

from smile_train.cli.finetune import name_of
from smile_train.config.probe import FeatureProbeConfig, StrictProbeConfig

Options = StrictProbeConfig


def run(config: StrictProbeConfig) -> Outcome | None:
    """Probe, and say what was reached."""
    from smile_train.cli.common import print_outcome
    from smile_train.probes.run import probe_strict

    out = prepare_folder(config, "strict")
    with results_folder(out):
        return print_outcome(probe_strict(config, out), out)


def prepare_folder(config: FeatureProbeConfig, protocol: str) -> Path:
    """The folder of the results.

    Raises InputError when no checkpoint is given, or there are other results in it.
    """
    if not config.checkpoint:
        raise InputError("no checkpoint; give a run, a checkpoint, a published file or a hub id")
    name = f"{name_of(config.checkpoint)}-{protocol}-{config.dataset}"
    out = config.out or Path("runs") / name
    if (out / "results.json").exists():
        raise InputError(f"{out}: holds results; choose another --out")
    return out
