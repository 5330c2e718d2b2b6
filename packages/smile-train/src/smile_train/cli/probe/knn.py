"""Classify by the nearest neighbours in frozen, cached features."""

from __future__ import annotations

from smile_motion.cli.app import Outcome
from smile_motion.runtime.partition import results_folder

from smile_train.cli.probe.strict import prepare_folder
from smile_train.config.probe import NeighbourProbeConfig

Options = NeighbourProbeConfig


def run(config: NeighbourProbeConfig) -> Outcome | None:
    """Probe, and say what was reached."""
    from smile_train.cli.common import print_outcome
    from smile_train.probes.run import probe_neighbours

    out = prepare_folder(config, "knn")
    with results_folder(out):
        return print_outcome(probe_neighbours(config, out), out)
