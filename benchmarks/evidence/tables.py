"""Results as the tables of docs/evidence.md.

    python -m benchmarks.evidence.tables          # write them anew between the page's marks

Means over seeds with 95 % intervals (Student's t), the paper's figures beside them, and what became
of each ordering of the paper: differences are taken seed by seed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from smile_motion.io.files import write_atomically

from benchmarks.evidence.arms import PAIRS, TABLES, TableName

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence.md"
RESULTS = Path(__file__).parent / "results"
MARKED = re.compile(r"(<!-- from (\S+?)(?: table (\S+))? -->\n).*?(<!-- end -->)", re.S)
"""A part of the page that is written from a file of results."""
Measure = Literal["finetune", "strict"]
MEASURES: dict[Measure, str] = {"finetune": "fine-tuned", "strict": "strict probe"}


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
    def of(cls, values: Sequence[float]) -> Interval:
        """Measure values, one for each seed."""
        from scipy.stats import t

        count = len(values)
        half = None
        if count > 1:
            deviation = float(np.std(values, ddof=1))
            half = float(t.ppf(0.975, count - 1)) * deviation / count**0.5
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


def scores_of(runs: Sequence[dict[str, Any]], measure: Measure) -> dict[str, dict[int, float]]:
    """Top-1, per cent, by arm and seed; all runs must be of one size."""
    sizes = {json.dumps(run["size"], sort_keys=True) for run in runs}
    if len(sizes) > 1:
        raise ValueError(f"runs of {len(sizes)} sizes in one file of results")
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        found.setdefault(run["arm"], {})[run["seed"]] = run[measure]["top1"]
    return found


def write_table(runs: Sequence[dict[str, Any]], table: TableName) -> str:
    """A table of the paper and its orderings, as Markdown."""
    scores = {measure: scores_of(runs, measure) for measure in MEASURES}
    lines = [
        f"| | {' | '.join(MEASURES.values())} | seeds | paper K400m / SSv2m |",
        "|---|---|---|---|---|",
    ]
    for row in TABLES[table]:
        found = [scores[measure].get(row.arm, {}) for measure in MEASURES]
        shown = [str(Interval.of([*own.values()])) if own else "not run" for own in found]
        paper = " / ".join(f"{value:.1f}" for value in row.paper)
        lines.append(f"| {row.label} | {' | '.join(shown)} | {len(found[0])} | {paper} |")
    labels = {row.arm: row.label for name in TABLES for row in TABLES[name]}
    labels |= {row.arm: row.label for row in TABLES[table]}
    lines += ["", f"| the paper's ordering | {' | '.join(MEASURES.values())} |", "|---|---|---|"]
    for better, worse in PAIRS[table]:
        shown = []
        for measure in MEASURES:
            one, other = scores[measure].get(better, {}), scores[measure].get(worse, {})
            both = sorted(set(one) & set(other))
            if both:
                difference = Interval.of([one[seed] - other[seed] for seed in both])
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


def fill_page(text: str, results: Path = RESULTS) -> str:
    """The page with all its tables written from the results."""

    def filled(match: re.Match[str]) -> str:
        begin, name, table, end = match.groups()
        data = json.loads((results / name).read_text(encoding="utf-8"))
        body = write_controls(data) if table is None else write_table(data["runs"], table)
        return f"{begin}\n{body}\n{end}"

    return MARKED.sub(filled, text)


if __name__ == "__main__":
    write_atomically(PAGE, fill_page(PAGE.read_text(encoding="utf-8")).encode())
