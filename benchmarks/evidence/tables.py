"""Results as the tables of docs/evidence.md.

    python -m benchmarks.evidence.tables          # write them anew between the page's marks
    python -m benchmarks.evidence.tables --motion runs/*-motion/motion.json    # take these up first

Means over seeds with 95 % intervals, the paper's figures beside them, and what became of each
ordering: differences are taken seed by seed. Intervals are over seeds (Student's t) and over test
clips, which all seeds share, as if arms were wrong about clips independently. What motion probes
found is kept without the controls that every table of theirs has.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from smile_motion.io.files import dump_json, write_atomically

from benchmarks.evidence.arms import OURS, PAIRS, TABLES, TableName

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence.md"
RESULTS = Path(__file__).parent / "results"
MOTION = "motion.json"
"""File of what motion probes found."""
CONTROLS = {"random weights": "the same, random weights", "raw pixels": "raw pixels"}
"""Ends of the names that a motion probe gives its controls, as the table says them."""
MARKED = re.compile(r"(<!-- from (\S+?)(?: table (\S+))? -->\n).*?(<!-- end -->)", re.S)
"""A part of the page that is written from a file of results."""
Measure = Literal["finetune", "strict", "growth", "direction"]
MEASURES: dict[Measure, str] = {
    "finetune": "fine-tuned",
    "strict": "strict probe",
    "growth": "growth",
    "direction": "direction",
}
"""What arms are judged by, as tables say it; the last two are motion probes."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, per cent, with its 95 % interval."""

    mean: float
    """Of all seeds."""
    half: float | None
    """Half the interval's width; none for one seed."""
    seeds: int
    """How many."""

    @classmethod
    def of(cls, values: Sequence[float], clips: float = 0.0) -> Interval:
        """Measure values, one for each seed.

        Args:
            clips: Standard error that comes from the choice of test clips.
        """
        from scipy.stats import t

        count = len(values)
        half = None
        if count > 1:
            deviation = float(np.std(values, ddof=1))
            half = math.hypot(t.ppf(0.975, count - 1) * deviation / count**0.5, 1.96 * clips)
        return cls(float(np.mean(values)), half, count)

    def __str__(self) -> str:
        """As tables show it."""
        return f"{self.mean:.1f}" if self.half is None else f"{self.mean:.1f} ± {self.half:.1f}"

    @property
    def verdict(self) -> str:
        """What a difference says about an ordering."""
        if self.half is None:
            return "one seed"
        if abs(self.mean) <= self.half:
            return "open"
        return "holds" if self.mean > 0 else "reversed"


@dataclass(frozen=True)
class Reached:
    """What an arm reached with one seed."""

    value: float
    """Right answers, per cent."""
    error: float
    """Standard error that comes from the choice of test clips; 0 where their number is unknown."""


def scores_of(runs: Sequence[dict[str, Any]], measure: Measure) -> dict[str, dict[int, Reached]]:
    """What was reached, by arm and seed; all runs must be of one size."""
    sizes = {json.dumps(run["size"], sort_keys=True) for run in runs}
    if len(sizes) > 1:
        raise ValueError(f"runs of {len(sizes)} sizes in one file of results")
    counts = [found["samples"] for run in runs for found in run.get("evaluations", ())]
    clips = min(counts, default=0)
    found: dict[str, dict[int, Reached]] = {}
    for run in runs:
        reached = _reached(run, measure, clips)
        if reached is not None:
            found.setdefault(run["arm"], {})[run["seed"]] = reached
    return found


def _reached(run: dict[str, Any], measure: Measure, clips: int) -> Reached | None:
    if measure in ("growth", "direction"):
        motion = run.get("motion")
        return None if motion is None else Reached(**motion[measure])
    if run[measure] is None:
        return None
    value = run[measure]["top1"]
    share = value / 100
    return Reached(value, 100 * (share * (1 - share) / clips) ** 0.5 if clips else 0.0)


def _error(reached: Iterable[Reached]) -> float:
    """Standard error, from the choice of test clips, of a mean over seeds, which share them."""
    return math.sqrt(np.mean([own.error**2 for own in reached]))


def write_table(runs: Sequence[dict[str, Any]], table: TableName) -> str:
    """A table of the paper and its orderings, as Markdown."""
    scores = {measure: scores_of(runs, measure) for measure in MEASURES}
    judged = {
        measure: own
        for measure, own in scores.items()
        if own or measure == "strict" or (measure == "finetune" and not runs)
    }
    names = " | ".join(MEASURES[measure] for measure in judged)
    lines = [f"| | {names} | seeds | paper K400m / SSv2m |", f"|---|{'---|' * len(judged)}---|---|"]
    for row in TABLES[table]:
        found = [own.get(row.arm, {}).values() for own in judged.values()]
        shown = [
            str(Interval.of([one.value for one in own], _error(own))) if own else "not run"
            for own in found
        ]
        paper = " / ".join(f"{value:.1f}" for value in row.paper) if row.paper else "none"
        lines.append(f"| {row.label} | {' | '.join(shown)} | {len(found[0])} | {paper} |")
    labels = {row.arm: row.label for name in TABLES for row in TABLES[name]}
    labels |= {row.arm: row.label for row in TABLES[table]}
    ordering = "our expectation" if table in OURS else "the paper's ordering"
    lines += ["", f"| {ordering} | {names} |", f"|---|{'---|' * len(judged)}"]
    for better, worse in PAIRS[table]:
        shown = []
        for own in judged.values():
            one, other = own.get(better, {}), own.get(worse, {})
            both = sorted(set(one) & set(other))
            if both:
                errors = [_error(arm[seed] for seed in both) for arm in (one, other)]
                difference = Interval.of(
                    [one[seed].value - other[seed].value for seed in both], math.hypot(*errors)
                )
                shown.append(f"{difference}: {difference.verdict}")
            else:
                shown.append("not run")
        lines.append(f"| {labels[better]} over {labels[worse]} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def write_controls(found: dict[str, float]) -> str:
    """What movements can be told by without an encoder, as Markdown."""
    lines = ["| seen by a logistic regression | accuracy, % |", "|---|---|"]
    lines += [f"| {name} | {value:.1f} |" for name, value in found.items()]
    return "\n".join(lines) + "\n"


def keep_motion(files: Sequence[Path]) -> dict[str, Any]:
    """Collect what `smile_train probe motion` found of clips as they are.

    Args:
        files: Its motion.json of one background and set of factors each, of the same encoders.

    Returns:
        `findings`: encoder, background, pooling, factor, value, ends of its interval and what
        guessing reaches; `controls`: of clips without motion, how many there were, and which did
        better than guessing.
    """
    findings: dict[tuple[str, ...], dict[str, Any]] = {}
    controls, leaks = 0, []
    for file in files:
        stored = json.loads(file.read_text(encoding="utf-8"))
        background = stored["config"]["background"] or "texture"
        for found in stored["findings"]:
            name = found["encoder"]
            # All students are of one architecture, and so of one control.
            name = next((CONTROLS[end] for end in CONTROLS if name.endswith(end)), name)
            key = (background, found["pooling"], found["factor"], name)
            if found["shown"] != "clip":
                controls += 1
                leaks += [[*key, found["shown"]]] * found["leaks"]
                continue
            score = {end: round(found["score"][end], 2) for end in ("value", "low", "high")}
            findings[key] = {
                **dict(zip(("background", "pooling", "factor", "encoder"), key, strict=True)),
                **score,
                "chance": found["chance"],
            }
    return {"findings": [*findings.values()], "controls": {"asked": controls, "leaks": leaks}}


def write_motion(findings: Sequence[dict[str, Any]], background: str, pooling: str) -> str:
    """What encoders know about motion over one background, as Markdown."""
    chosen = [
        found
        for found in findings
        if (found["background"], found["pooling"]) == (background, pooling)
    ]
    factors = {found["factor"]: found["chance"] for found in chosen}
    lines = [
        f"| | {' | '.join(name.replace('_', ' ') for name in factors)} |",
        f"|---|{'---|' * len(factors)}",
        f"| guessing | {' | '.join(f'{chance:g}' for chance in factors.values())} |",
    ]
    for encoder in dict.fromkeys(found["encoder"] for found in chosen):
        own = {found["factor"]: found for found in chosen if found["encoder"] == encoder}
        lines.append(f"| {encoder} | {' | '.join(_shown(own[name]) for name in factors)} |")
    return "\n".join(lines) + "\n"


def _shown(found: dict[str, Any]) -> str:
    """A value, in bold where its interval lies above guessing."""
    value = f"{found['value']:.1f}"
    return f"**{value}**" if found["low"] > found["chance"] else value


def fill_page(text: str, results: Path = RESULTS) -> str:
    """The page with all its tables written from the results."""

    def filled(match: re.Match[str]) -> str:
        begin, name, table, end = match.groups()
        data = json.loads((results / name).read_text(encoding="utf-8"))
        if name == MOTION:
            body = write_motion(data["findings"], *table.split("/"))
        else:
            body = write_controls(data) if table is None else write_table(data["runs"], table)
        return f"{begin}\n{body}\n{end}"

    return MARKED.sub(filled, text)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is written."""

    motion: tuple[Path, ...] = ()
    """Results of motion probes to be kept with the others first."""


def main(options: Options) -> None:
    """Keep what is given, and write the page's tables anew."""
    if options.motion:
        write_atomically(RESULTS / MOTION, dump_json(keep_motion(options.motion)))
    write_atomically(PAGE, fill_page(PAGE.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, description=__doc__))
