"""Which classes one run gets right more often than another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from smile_motion.errors import InputError
from smile_motion.io.files import encode_json, write_atomically
from smile_motion.io.schema import read

from smile_train.evaluation.figures.gallery import COLORS, save_figure, shorten
from smile_train.evaluation.results import Results

CLASSES = "classes.json"
"""File of a run's scores by class."""
SCORES = {"top1": "top-1", "average_precision": "average precision"}
"""What that file may hold, and how it is called in figures."""


@dataclass(frozen=True, kw_only=True)
class _Classes:
    """What is read of classes.json."""

    classes: tuple[str, ...]
    samples: tuple[Annotated[int, Ge(0)], ...]
    top1: tuple[float | None, ...] | None = None
    average_precision: tuple[float | None, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Scores of one run by class."""

    run: str
    """Folder of the run."""
    score: str
    """Which: a key of `SCORES`."""
    classes: tuple[str, ...]
    """Names."""
    values: tuple[float | None, ...]
    """Percent; none of a class that the split has no sample of."""
    samples: tuple[int, ...]
    """Samples of each."""
    results: Results
    """The run's results."""

    @classmethod
    def read(cls, folder: Path) -> ClassScores:
        """Read classes.json and results.json of a run.

        Raises:
            InputError: There is none, or it is damaged.
        """
        results = Results.read(folder)
        path = folder / CLASSES
        if not path.is_file():
            raise InputError(
                f"{path}: no scores by class; give folders of fine-tunings or probes with classes"
            )
        remedy = "evaluate again"
        stored = read(path, _Classes, remedy=remedy, unknown="ignore")
        values = {name: getattr(stored, name) for name in SCORES}
        score = next((name for name, there in values.items() if there is not None), None)
        if score is None:
            raise InputError(f"{path}: damaged: none of {', '.join(SCORES)} in it; {remedy}")
        found = cls(
            run=str(folder),
            score=score,
            classes=stored.classes,
            values=values[score],
            samples=stored.samples,
            results=results,
        )
        if not len(found.classes) == len(found.values) == len(found.samples):
            raise InputError(
                f"{path}: {len(found.classes)} classes, {len(found.values)} scores, "
                f"{len(found.samples)} counts; evaluate again"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What a class gained from the first run to the second."""

    name: str
    """The class."""
    first: float
    """Score of the class in the first run, percent."""
    second: float
    """Score of the class in the second run, percent."""
    gain: float
    """Their difference, points."""
    error: float | None
    """Standard error of the difference if the runs erred independently, points; of top-1 alone."""
    samples: int
    """Samples of the class."""


def class_gains(first: ClassScores, second: ClassScores) -> list[Gain]:
    """Gains of all classes that the split has, the largest first; equal ones by name.

    Raises:
        InputError: The runs were not tested on the same classes and samples.
    """
    if first.score != second.score or first.classes != second.classes:
        raise InputError(
            f"{first.run} has {len(first.classes)} classes ({SCORES[first.score]}), {second.run} "
            f"{len(second.classes)} ({SCORES[second.score]}); compare runs on one data set"
        )
    hashes = [run.results.dataset_sha256.get(run.results.split) for run in (first, second)]
    if first.samples != second.samples or hashes[0] != hashes[1]:
        raise InputError(
            f"{first.run} and {second.run} were tested on different samples "
            f"({sum(first.samples)} and {sum(second.samples)}); test both on the same split"
        )
    found = []
    rows = zip(first.classes, first.values, second.values, first.samples, strict=True)
    for name, before, after, samples in rows:
        if before is None or after is None:
            continue
        error = None
        if first.score == "top1":
            variance = sum(p * (100 - p) for p in (before, after)) / samples
            error = float(np.sqrt(variance))
        found.append(
            Gain(
                name=name,
                first=before,
                second=after,
                gain=after - before,
                error=error,
                samples=samples,
            )
        )
    return sorted(found, key=lambda gain: (-gain.gain, gain.name))


def sum_up(gains: Sequence[Gain]) -> dict[str, Any]:
    """How many classes gained, lost and stayed, and the mean gain over classes."""
    values = [gain.gain for gain in gains]
    return {
        "mean": float(np.mean(values)),
        "gained": sum(value > 0 for value in values),
        "lost": sum(value < 0 for value in values),
        "equal": sum(value == 0 for value in values),
    }


def draw_gains(
    gains: Sequence[Gain], path: Path, *, first: str, second: str, score: str, count: int = 15
) -> None:
    """Draw the largest gains and the largest losses as bars, with all classes as a curve beside.

    Args:
        gains: Result of `class_gains`.
        first: Name of the first run, `second` of the second; `score` a key of `SCORES`.
        count: Bars at either end.
    """
    from matplotlib.figure import Figure

    shown = list(gains) if len(gains) <= 2 * count else [*gains[:count], *gains[-count:]]
    height = 0.24 * len(shown) + 1.4
    figure = Figure(figsize=(10, max(height, 3.2)), layout="constrained")
    axes, overview = figure.subplots(1, 2, width_ratios=(3.4, 1))
    places = np.arange(len(shown), dtype=float)
    if len(shown) < len(gains):
        places[count:] += 1
        axes.text(0, count, f"… {len(gains) - len(shown)} more classes …", ha="center",
                  va="center", fontsize=8, color="#666666",
                  bbox={"color": "white", "pad": 1})  # fmt: skip
    values = [gain.gain for gain in shown]
    colors = [COLORS[0] if value >= 0 else COLORS[1] for value in values]
    errors = [gain.error or 0 for gain in shown]
    axes.barh(
        places,
        values,
        color=colors,
        height=0.75,
        xerr=errors if any(errors) else None,
        error_kw={"ecolor": "#00000066", "lw": 1},
    )
    names = [f"{shorten(gain.name, 56)}  ({gain.samples})" for gain in shown]
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.axvline(0, color="black", lw=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    gained, lost = shorten(second, 50), shorten(first, 50)
    between = "\n" if len(gained) + len(lost) > 40 else " "
    axes.set_xlabel(f"{SCORES[score]} of {gained}{between}minus that of {lost}, points")
    if any(errors):
        axes.set_title("class (samples); whiskers: standard error", fontsize=9)
    everything = [gain.gain for gain in gains]
    overview.bar(range(len(everything)), everything, width=1, color="#bbbbbb", lw=0)
    overview.axhline(0, color="black", lw=0.8)
    total = sum_up(gains)
    overview.set_title(
        f"all {len(gains)} classes\n{total['gained']} gained, {total['lost']} lost\n"
        f"{total['equal']} equal\nmean {total['mean']:+.2f}",
        fontsize=9,
    )
    overview.set_xlabel("classes, sorted")
    overview.set_xticks([])
    overview.grid(axis="y", alpha=0.3)
    save_figure(figure, path)


def write_gains(path: Path, gains: Sequence[Gain], first: ClassScores, second: ClassScores) -> None:
    """Write all gains and what they are between."""
    content = {
        "score": first.score,
        "first": _describe(first),
        "second": _describe(second),
        **sum_up(gains),
        "classes": [asdict(gain) for gain in gains],
    }
    write_atomically(path, encode_json(json.dumps(content, indent=1, ensure_ascii=False) + "\n"))


def _describe(scores: ClassScores) -> dict[str, Any]:
    results = scores.results
    return {
        "run": scores.run,
        "protocol": results.protocol,
        "dataset": results.dataset,
        "split": results.split,
        "checkpoint": results.checkpoint,
        results.main_metric: results.metrics[results.main_metric],
    }
