"""What an evaluation command says when it is done."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from smile_motion.cli.app import Outcome
from smile_motion.runtime.partition import is_first_process

from smile_train.evaluation.results import RESULTS, Results


def print_outcome(results: Results, out: Path) -> Outcome | None:
    """Print a line for each metric, and where the files are; in the main process alone.

    Returns:
        The results as facts, with their folder.
    """
    if not is_first_process():
        return None
    print(f"\n{results.dataset}, {results.split}: {results.samples} samples, {results.protocol}")
    for name, value in results.metrics.items():
        marked = "  <-" if name == results.main_metric else ""
        print(f"  {name:<22} {value:8.3f}{marked}")
    if results.missing:
        print("  partial: videos were missing, or could not be read")
    elif results.partial:
        print("  partial: samples of the split were left out")
    for line in results.ours:
        print(f"  ours: {line}")
    print(f"{out / RESULTS}")
    return Outcome({"out": out} | asdict(results))
