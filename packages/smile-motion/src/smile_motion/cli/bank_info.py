"""Print a bank's card, its categories and what it takes on disk."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank info`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""
    json: bool = False
    """Print JSON for machines instead."""


def run(options: Options) -> None:
    """Print what the bank says of itself."""
    from smile_motion.bank.layout import read_card, read_metadata
    from smile_motion.bank.pack import is_packed

    card = read_card(options.folder)
    records = read_metadata(options.folder)
    counts = Counter(record["category"] for record in records)
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    packed = is_packed(options.folder)
    if options.json:
        summary = {"card": card, "categories": counts, "bytes": size, "packed": packed}
        print(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    facts = Table(title=str(options.folder), show_header=False)
    for name, value in card.items():
        facts.add_row(name, "-" if value is None else str(value))
    facts.add_row("on disk", f"{size / 2**20:.1f} MiB")
    facts.add_row("packed pixels", "current" if packed else "to be made when the bank is opened")
    console.print(facts)
    table = Table("category", "objects")
    table.columns[1].justify = "right"
    for category, count in sorted(counts.items()):
        table.add_row(category, str(count))
    console.print(table)
