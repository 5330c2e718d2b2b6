"""Findings of a motion probe as Markdown, JSON and bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from smile_train.evaluation.figures.gallery import COLORS, save_figure, shorten
from smile_train.motion_probe.config import FACTORS, FactorName, PoolingName
from smile_train.motion_probe.run import Finding

_POOLINGS: dict[PoolingName, str] = {
    "slices": "Linear read-outs of the mean token of each time slice",
    "mean": "Linear read-outs of the mean of all tokens",
    "attentive": "Attentive read-outs of 4 x 4 places of each time slice",
}


def rows_of(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Encoders and what they were shown, as they came, controls last."""
    rows = list(dict.fromkeys((own.encoder, own.shown) for own in findings))
    return sorted(rows, key=lambda row: row[1] != "clip")


def factors_of(findings: Sequence[Finding]) -> list[FactorName]:
    """Factors, in the order of `FACTORS`."""
    there = {own.factor for own in findings}
    return [name for name in FACTORS if name in there]


def write_table(findings: Sequence[Finding], said: Sequence[str]) -> str:
    """A Markdown table for each pooling.

    Args:
        said: Lines about encoders and clips, put below.
    """
    names = factors_of(findings)
    found = {(own.encoder, own.shown, own.pooling, own.factor): own for own in findings}
    lines = ["# What frozen encoders know about motion", ""]
    poolings: dict[PoolingName, None] = dict.fromkeys(own.pooling for own in findings)
    for pooling in poolings:
        lines += [
            f"{_POOLINGS[pooling]}; percent right, R2 in percent for "
            f"speed, rate and hidden place; 95 % intervals over clips and draws.",
            "",
            "| encoder | shown | " + " | ".join(map(heading, names)) + " |",
            "|" + "---|" * (len(names) + 2),
            "| guessing | | " + " | ".join(f"{FACTORS[name].chance:g}" for name in names) + " |",
        ]
        for encoder, shown in rows_of(findings):
            cells = [found.get((encoder, shown, pooling, name)) for name in names]  # type: ignore[arg-type]
            shown_cells = " | ".join("" if own is None else _cell(own) for own in cells)
            lines.append(f"| {encoder} | {shown} | {shown_cells} |")
        lines.append("")
    lines += [f"* {line}" for line in (*said, *leaks(findings))]
    return "\n".join(lines).rstrip() + "\n"


def heading(name: FactorName) -> str:
    """A factor's column."""
    factor = FACTORS[name]
    return f"{name.replace('_', ' ')} ({factor.score})"


def _cell(finding: Finding) -> str:
    score = finding.score
    mark = " **leaks**" if finding.leaks else ""
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]{mark}"


def leaks(findings: Sequence[Finding]) -> list[str]:
    """A line for each control that did better than guessing."""
    return [
        f"the probe leaks: {own.encoder}, shown {own.shown}, reaches {own.score.value:.1f} "
        f"[{own.score.low:.1f}, {own.score.high:.1f}] in {own.factor} ({own.pooling}), where "
        f"guessing reaches {FACTORS[own.factor].chance:g}: its answers come from something else "
        f"than motion"
        for own in findings
        if own.leaks
    ]


def facts(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """All findings as JSON values."""
    return [
        asdict(own)
        | {"question": FACTORS[own.factor].question, "chance": FACTORS[own.factor].chance}
        | {"measure": FACTORS[own.factor].score, "leaks": own.leaks}
        for own in findings
    ]


COLUMNS = 5
"""Factors beside each other."""


def draw_findings(findings: Sequence[Finding], path: Path) -> None:
    """Draw a bar for each encoder in each factor, of the first pooling, with its interval; what was
    shown in another way is hatched, and guessing is a line."""
    from matplotlib.figure import Figure

    pooling = findings[0].pooling
    own = [finding for finding in findings if finding.pooling == pooling]
    names, rows = factors_of(own), rows_of(own)
    found = {(entry.encoder, entry.shown, entry.factor): entry for entry in own}
    encoders = list(dict.fromkeys(encoder for encoder, _ in rows))
    colors = {name: COLORS[k % len(COLORS)] for k, name in enumerate(encoders)}
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    height = 0.26 * len(rows) + 1.1
    figure = Figure(figsize=(2.5 * columns + 2.6, height * lines + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for number, (name, axes) in enumerate(zip(names, grid.flat, strict=False)):
        factor = FACTORS[name]
        for place, (encoder, shown) in enumerate(rows):
            entry = found.get((encoder, shown, name))
            if entry is None:
                continue
            score = entry.score
            reach = np.array(
                [[max(0, score.value - score.low)], [max(0, score.high - score.value)]]
            )
            axes.barh(
                place,
                score.value,
                color=colors[encoder],
                alpha=1 if shown == "clip" else 0.45,
                hatch=None if shown == "clip" else "//",
                xerr=reach,
                error_kw={"ecolor": "#000000aa", "lw": 1, "capsize": 2},
            )
        axes.axvline(factor.chance, color="black", lw=1, ls="--")
        axes.set_xlim(min(0, axes.get_xlim()[0]), 100)
        labels = [
            shorten(encoder if shown == "clip" else f"{encoder}: {shown}", 34)
            for encoder, shown in rows
        ]
        axes.set_yticks(range(len(rows)), labels if number % columns == 0 else [], fontsize=7)
        axes.invert_yaxis()
        axes.set_title(f"{name.replace('_', ' ')} ({factor.score})", fontsize=9)
        axes.tick_params(axis="x", labelsize=7)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.suptitle("percent; dashed: guessing; whiskers: 95 % over clips and draws", fontsize=9)
    save_figure(figure, path)
