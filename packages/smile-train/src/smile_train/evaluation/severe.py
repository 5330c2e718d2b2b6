"""The SEVERE benchmark: eight experiments on how far a pre-trained encoder carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, write_atomically

from smile_train.cli.single import is_first_process
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import recipe_for
from smile_train.datasets import DatasetName
from smile_train.evaluation.results import RESULTS, Results

ExperimentName = Literal[
    "ssv2", "gym99", "ucf-1000", "gym-1000", "fx-s1", "ub-s1", "ucf-rc", "charades"
]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One of the eight."""

    factor: str
    """What changes from pre-training to the task."""
    dataset: DatasetName
    """Its data."""
    few: int | None = None
    """Training samples of each class, where not all are used."""
    metric: str = "top1"
    """What is reported."""


EXPERIMENTS: dict[ExperimentName, Experiment] = {
    "ssv2": Experiment(factor="domain", dataset="ssv2"),
    "gym99": Experiment(factor="domain", dataset="gym99"),
    "ucf-1000": Experiment(factor="samples", dataset="ucf101", few=10),
    "gym-1000": Experiment(factor="samples", dataset="gym99", few=11),
    "fx-s1": Experiment(factor="granularity", dataset="fx-s1"),
    "ub-s1": Experiment(factor="granularity", dataset="ub-s1"),
    "ucf-rc": Experiment(factor="task", dataset="ucf-rc", metric="mae"),
    "charades": Experiment(factor="task", dataset="charades", metric="map"),
}
"""In the order of the paper's Table 6."""
TABLE = "severe.json"
"""File of the experiments and their mean, in the benchmark's folder."""
SETTINGS_NOTE = (
    "The published settings are for R(2+1)D at 112 px; those for transformers are ours: the data "
    "sets' recipes of `finetune --list-recipes`. Few-sample subsets are drawn by --seed unless "
    "given in --subsets."
)


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
    """Fields of `FinetuneConfig` that differ from the recipes in all experiments."""

    def configurations(self) -> Iterator[tuple[ExperimentName, FinetuneConfig]]:
        """The fine-tuning of each experiment.

        Raises InputError when a data set's folder is not given.
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
                    recipe_for("finetune", experiment.dataset),
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

    returns results by experiment, in the table's order.
    Raises InputError before anything is run when a data set is missing.
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
    differing = config.differing(results.config)
    if differing:
        raise InputError(f"{folder}: done otherwise ({'; '.join(differing)}); use another --out")
    return results


def table_value(name: ExperimentName, results: Results) -> float:
    """What Table 6 shows of an experiment; of counting, the error itself."""
    return results.metrics[EXPERIMENTS[name].metric]


def severe_mean(values: Mapping[ExperimentName, float]) -> float | None:
    """Mean of the eight, counting as 100 (1 - error); None unless all are there (Table 6)."""
    if set(values) != set(EXPERIMENTS):
        return None
    shown = [
        100 * (1 - v) if EXPERIMENTS[name].metric == "mae" else v for name, v in values.items()
    ]
    return sum(shown) / len(shown)


def _mean_of(found: Mapping[ExperimentName, Results]) -> float | None:
    return severe_mean({name: table_value(name, results) for name, results in found.items()})


def is_partial(name: ExperimentName, results: Results) -> bool:
    """Whether videos were missing; that a few samples are learned from is the experiment itself."""
    return results.missing or (results.partial and EXPERIMENTS[name].few is None)


def as_markdown(found: Mapping[ExperimentName, Results]) -> str:
    """The table of an encoder, with per-class accuracies, what is partial, and what is ours."""
    lines = [
        "| experiment | factor | metric | value | mean class top-1 | samples |",
        "|---|---|---|---|---|---|",
    ]
    for name, results in found.items():
        experiment = EXPERIMENTS[name]
        per_class = results.metrics.get("mean_class_top1")
        shown = "" if per_class is None else f"{per_class:.1f}"
        value = table_value(name, results)
        figure = f"{value:.1f}"
        if experiment.metric == "mae":
            figure = f"{value:.3f} (off by at most one: {results.metrics['off_by_one']:.1f} %)"
        marked = " (partial)" if is_partial(name, results) else ""
        lines.append(
            f"| {name}{marked} | {experiment.factor} | {experiment.metric} | {figure} | {shown} "
            f"| {results.samples} |"
        )
    mean = _mean_of(found)
    shown = "needs all eight" if mean is None else f"{mean:.1f}"
    partial = any(is_partial(name, results) for name, results in found.items())
    marked = " (partial)" if partial else ""
    lines += [f"| **Mean**{marked} | | UCF-RC as 100 (1 - MAE) | {shown} | | |", ""]
    if partial:
        lines += ["Partial: videos were missing, or could not be read.", ""]
    lines += [f"* {name}, ours: {', '.join(r.ours)}" for name, r in found.items() if r.ours]
    lines += ["", SETTINGS_NOTE, ""]
    return "\n".join(lines)


def as_json(found: Mapping[ExperimentName, Results]) -> dict[str, Any]:
    """The table as JSON values: experiments, their mean, and what differs from the paper."""
    return {
        "experiments": {
            name: {
                **results.metrics,
                "samples": results.samples,
                "partial": is_partial(name, results),
                "ours": list(results.ours),
            }
            for name, results in found.items()
        },
        "mean": _mean_of(found),
        "partial": any(is_partial(name, results) for name, results in found.items()),
        "ours": SETTINGS_NOTE,
    }
