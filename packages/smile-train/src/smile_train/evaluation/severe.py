"""The SEVERE benchmark: eight experiments on how far a pre-trained encoder carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from smile_train.datasets import DatasetName
from smile_train.evaluation.results import Results

ExperimentName = Literal[
    "ssv2", "gym99", "ucf-1000", "gym-1000", "fx-s1", "ub-s1", "ucf-rc", "charades"
]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One of the eight."""

    factor: str
    """What changes from pre-training to the task."""
    dataset: DatasetName
    """Data set."""
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
"""The experiments in the order of the paper's Table 6."""
TABLE = "severe.json"
"""File of the experiments and their mean, in the benchmark's folder."""
SETTINGS_NOTE = (
    "The published settings are for R(2+1)D at 112 px; those for transformers are ours: the data "
    "sets' presets of `finetune --list-presets`. Few-sample subsets are drawn by --seed unless "
    "given in --subsets."
)


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
