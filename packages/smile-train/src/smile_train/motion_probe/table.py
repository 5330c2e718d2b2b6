"""What was found, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from smile_train.motion_probe.config import PoolingName
from smile_train.motion_probe.factors import FACTORS, FactorName
from smile_train.motion_probe.run import Finding

_POOLINGS: dict[PoolingName, str] = {
    "slices": "mean token of each time slice",
    "mean": "mean of all tokens",
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
            f"Linear read-outs of the {_POOLINGS[pooling]}; percent right, R2 in percent for "
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
