"""What was found, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smile_train.evaluation.figures.gallery import COLORS, save_figure, shorten
from smile_train.motion_probe.factors import FACTORS
from smile_train.motion_probe.run import Finding
from smile_train.motion_probe.table import factors_of, rows_of

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
