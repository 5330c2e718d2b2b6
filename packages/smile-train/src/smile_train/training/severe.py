"""Running the eight experiments of the SEVERE benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, write_atomically
from smile_motion.runtime.partition import is_first_process

from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import preset_for
from smile_train.datasets import DatasetName
from smile_train.evaluation.results import RESULTS, Results
from smile_train.evaluation.severe import EXPERIMENTS, TABLE, ExperimentName, as_json, as_markdown


@dataclass(frozen=True, kw_only=True)
class SeverePlan:
    """What is to be run."""

    checkpoint: Path
    """The encoder."""
    out: Path
    """Folder; each experiment has one in it."""
    roots: Mapping[DatasetName, Path]
    """Where the data sets are."""
    experiments: tuple[ExperimentName, ...] = tuple(EXPERIMENTS)
    """Which of them."""
    subsets: Path | None = None
    """Folder of manifests `ucf-1000.jsonl`, `gym-1000.jsonl`, instead of drawing the samples."""
    changes: Mapping[str, Any]
    """Fields of `FinetuneConfig` that differ from the presets in all experiments."""

    def configurations(self) -> Iterator[tuple[ExperimentName, FinetuneConfig]]:
        """The fine-tuning of each experiment.

        Raises:
            InputError: A data set's folder is not given.
        """
        for name in self.experiments:
            experiment = EXPERIMENTS[name]
            root = self.roots.get(experiment.dataset)
            if root is None:
                raise InputError(
                    f"{name}: no folder for {experiment.dataset}; give it, or leave the experiment "
                    f"out of --experiments"
                )
            subset = self.subsets / f"{name}.jsonl" if self.subsets and experiment.few else None
            if subset is not None and not subset.is_file():
                raise InputError(f"{subset}: no such manifest; write it with data list --few")
            yield (
                name,
                replace(
                    preset_for("finetune", experiment.dataset),
                    checkpoint=self.checkpoint,
                    dataset=experiment.dataset,
                    data=root,
                    out=self.out / name,
                    subset=subset,
                    few=None if subset else experiment.few,
                    **self.changes,
                ),
            )


def run_severe(plan: SeverePlan) -> dict[ExperimentName, Results]:
    """Run the experiments that are not done yet, one after the other; write the table after each.

    Returns:
        Results by experiment, in the table's order.

    Raises:
        InputError: Before anything is run when a data set is missing.
    """
    from smile_train.checkpoints.files import newest_checkpoint
    from smile_train.training.finetune import finetune

    configurations = list(plan.configurations())
    found: dict[ExperimentName, Results] = {}
    for name, config in configurations:
        folder = plan.out / name
        if (folder / RESULTS).is_file():
            found[name] = _done_before(folder, config)
        else:
            sound, _ = newest_checkpoint(folder / "checkpoints")
            found[name] = finetune(replace(config, resume=sound is not None), folder)
        if is_first_process():
            write_atomically(plan.out / TABLE, dump_json(as_json(found)))
            write_atomically(plan.out / "severe.md", as_markdown(found).encode())
    return found


def _done_before(folder: Path, config: FinetuneConfig) -> Results:
    results = Results.read(folder)
    config.require_same(results.config, folder)
    return results
