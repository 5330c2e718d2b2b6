"""Print what a bank says of itself: its card, scores, categories, and what it takes on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from smile_motion.cli.app import Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ENDS = 8
"""Number of smallest and of largest categories to show, unless all are."""
TOLD_APART = ("counts", "fell_short")
"""Entries of a card that have their own table."""

EXAMPLES = (
    "smile-motion bank info object_banks/procedural",
    "smile-motion bank info object_banks/procedural --all --json",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank info`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""
    all: bool = False
    """List every category, not only the smallest and largest."""


def run(options: Options) -> Outcome:
    """Gather the facts and print them."""
    from smile_motion.bank.format import read_card, read_metadata
    from smile_motion.bank.packing import is_packed
    from smile_motion.bank.statistics import pose_counts, score_summary, segmenter_counts

    folder = options.folder
    card = read_card(folder)
    records = read_metadata(folder)
    counts = Counter(record["category"] for record in records)
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    facts = {
        "card": card,
        "objects": len(records),
        "categories": dict(sorted(counts.items())),
        "animated": pose_counts(records),
        "scores": score_summary(records),
        "segmenters": segmenter_counts(records),
        "candidates": _candidates(folder),
        "bytes": sum(files),
        "packed": is_packed(folder),
    }
    from rich.console import Console

    console = Console()
    _print_facts(console, folder, facts)
    if facts["scores"]:
        _print_scores(console, facts["scores"])
    _print_counts(console, facts)
    _print_categories(console, counts, options.all)
    return Outcome(facts)


def _candidates(folder: Path) -> dict[str, Any] | None:
    from smile_motion.bank.format import CANDIDATES, read_candidates
    from smile_motion.bank.statistics import refusal_counts

    if not (folder / CANDIDATES).is_file():
        return None
    records = read_candidates(folder)
    accepted = sum(record["accepted"] for record in records)
    refused = refusal_counts(records)
    return {"made": len(records), "accepted": accepted, "refused": refused}


def _print_facts(console: Console, folder: Path, facts: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(str(folder)), show_header=False)
    for name, value in facts["card"].items():
        if name not in TOLD_APART:
            table.add_row(Text(name), Text(_said(value)))
    if animated := facts["animated"]:
        table.add_row("animated", f"{animated['objects']} objects, {animated['poses']} poses")
    if facts["segmenters"]:
        parts = (f"{name} {count}" for name, count in facts["segmenters"].items())
        table.add_row("cut out by", Text(", ".join(parts)))
    table.add_row("on disk", f"{facts['bytes'] / 2**20:.1f} MiB")
    packed = "current" if facts["packed"] else "to be made when the bank is opened"
    table.add_row("packed pixels", packed)
    console.print(table)


def _print_scores(console: Console, scores: Mapping[str, Any]) -> None:
    from rich.table import Table

    quantiles = scores["quantiles"]
    table = Table()
    for share in quantiles:
        name = {"0": "least", "1": "most", "0.5": "median"}.get(share, f"{float(share):.0%}")
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:.1f}" for value in quantiles.values()))
    title = f"CLIP scores of {scores['count']} objects, mean {scores['mean']:.1f}"
    _print_table(console, title, table)
    most = max(scores["counts"])
    for start, count in zip(scores["edges"], scores["counts"], strict=False):
        bar = "█" * round(40 * count / most) or ("▏" if count else "")
        console.print(f"  {start:6.1f}  {bar:<40} {count}", highlight=False)


def _print_counts(console: Console, facts: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    stages = facts["card"].get("counts") or facts["candidates"]
    if isinstance(stages, Mapping):
        table = Table("stage", "count")
        table.columns[1].justify = "right"
        for name, count in stages.items():
            parts = count if isinstance(count, Mapping) else {"": count}
            for part, number in parts.items():
                words = f"{name} {part}".replace("_", " ").strip()
                table.add_row(Text(words), Text(_said(number)))
        _print_table(console, "stages", table)
    short = facts["card"].get("fell_short") or []
    if short:
        table = Table("category", "wanted", "tries", "accepted")
        for line in short[: 2 * ENDS]:
            cells = (line.get("category"), line.get("wanted"), line.get("tries"))
            table.add_row(*(Text(_said(cell)) for cell in (*cells, line.get("accepted"))))
        if len(short) > 2 * ENDS:
            table.add_row("…")
        more = f"; the first {2 * ENDS}, --json lists all" if len(short) > 2 * ENDS else ""
        _print_table(console, f"categories that fell short: {len(short)}{more}", table)


def _print_categories(console: Console, counts: Counter[str], every: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    by_size = sorted(counts.items(), key=lambda entry: (entry[1], entry[0]))
    sizes = [count for _, count in by_size]
    spread = f"{sizes[0]} to {sizes[-1]}" if sizes[0] < sizes[-1] else str(sizes[0])
    title = f"categories: {len(counts)}, of {spread} objects, median {sizes[len(sizes) // 2]}"
    table = Table("category", "objects")
    table.columns[1].justify = "right"
    if every or len(by_size) <= 2 * ENDS:
        rows = sorted(counts.items())
    else:
        rows = [*by_size[:ENDS], ("…", None), *by_size[-ENDS:]]
        title += f"; the {ENDS} smallest and largest, --all lists every one"
    for name, count in rows:
        table.add_row(Text(name), "" if count is None else str(count))
    _print_table(console, title, table)


def _print_table(console: Console, title: str, table: Table) -> None:
    """Print a title above a table; rich would wrap its own at the table's width."""
    console.print(f"\n{title}", style="bold", markup=False, highlight=False)
    console.print(table)


def _said(value: Any) -> str:
    """Format a value of a card."""
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_said(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(_said(inner).replace("\n", ", ") for inner in value)
    return str(value)
