"""Runs of evaluations, put into the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from smile_motion.errors import InputError

from smile_train.evaluation.results import RESULTS, Results, StoredRuns
from smile_train.evaluation.severe import EXPERIMENTS, severe_mean
from smile_train.evaluation.tables.match import OWN, Placement, place
from smile_train.evaluation.tables.published import TABLES
from smile_train.evaluation.tables.schema import MEAN, Column, Row, Table


@dataclass(frozen=True, kw_only=True)
class Run:
    """An evaluation that was made."""

    folder: Path
    """Where its results are."""
    results: Results
    """What was found."""
    placement: Placement
    """The rows that it belongs to."""

    @property
    def source(self) -> str:
        """The checkpoint, as it was given."""
        return str(self.results.checkpoint.get("source", self.folder))

    @property
    def data(self) -> str:
        """What was learned and tested on, as columns name it: the data set, or a subset's name."""
        config = self.results.config
        if config.get("subset"):
            return Path(config["subset"]).stem.lower()
        few = f"-{config['few']}" if config.get("few") else ""
        return f"{self.results.dataset.lower()}{few}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the number: what is partial, what is ours, what differs."""
        results, config = self.results, self.results.config
        found = []
        chosen = config.get("subset") or config.get("few")
        if results.missing or (results.partial and not chosen):
            found.append(f"partial data set: {results.samples:,} samples tested")
        if config.get("few") and not config.get("subset"):
            found.append(f"training samples drawn by seed {config.get('seed', 0)}")
        if results.ours:
            found.append(f"ours: {', '.join(results.ours)}")
        if self.placement.notes:
            found.append(f"pre-training: {', '.join(self.placement.notes)}")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number of ours in a table."""

    number: float
    """As measured, unrounded."""
    notes: tuple[str, ...]
    """What must be said with it."""
    run: Run | None
    """Where it is from; none of a mean."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of ours: one checkpoint in one row of a table."""

    source: str
    """The checkpoint."""
    cells: Mapping[str, tuple[Value, ...]]
    """Values by column; several where the same was measured more than once."""


@dataclass(frozen=True, kw_only=True)
class FilledRow:
    """A row of the paper with our lines."""

    row: Row
    """What the paper has."""
    lines: tuple[Line, ...]
    """What we have, a line a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class FilledTable:
    """A table of the paper with our lines."""

    table: Table
    """What the paper has."""
    rows: tuple[FilledRow, ...]
    """Those with a number of either."""


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """All tables, and what fits none."""

    tables: tuple[FilledTable, ...]
    """Tables in the paper's order."""
    others: tuple[Run, ...]
    """Runs that are in no table."""
    runs: tuple[Run, ...]
    """All runs."""


def find_runs(
    paths: Sequence[Path], given: Mapping[Path, str]
) -> tuple[list[Run], tuple[Path, ...]]:
    """Read the results in some folders and below them, each once.

    Args:
        paths: Folders, or the results.json in them, or files with several runs (`StoredRuns`).
        given: Rows by hand: of a run, or of all runs below a folder; the nearest folder counts.

    Returns:
        The runs, and the folders that have no results: evaluations that are not finished, and, as
        `runs/*` gives them, pre-training and cached features.

    Raises:
        InputError: No path has results, or a row is given to something else.
    """
    if not paths:
        raise InputError("no runs; give folders of finished evaluations before --out")
    rows = {path.resolve(): row for path, row in given.items()}
    used: set[Path] = set()
    found: dict[Path, Run] = {}
    without = []
    for given_path in paths:
        if given_path.is_file() and given_path.name != RESULTS:
            found |= _stored(given_path, rows)
            used |= {given_path.resolve()} & rows.keys()
            continue
        path = given_path.parent if given_path.name == RESULTS else given_path
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; give folders of finished evaluations")
        files = sorted(path.rglob(RESULTS))
        without += find_unfinished(path) if files else [path]
        for file in files:
            folder = file.parent
            own = folder.resolve()
            above = next((p for p in (own, *own.parents) if p in rows), None)
            used |= {p for p in (own, *own.parents) if p in rows}
            if own not in found:
                results = Results.read(folder)
                placement = place(results, rows[above] if above else None)
                found[own] = Run(folder=folder, results=results, placement=placement)
    if without and not found:
        raise InputError(f"{without[0]}: no {RESULTS} in it; give folders of finished evaluations")
    unused = [path for path in given if path.resolve() not in used]
    if unused:
        raise InputError(f"--row {unused[0]}: not among the runs; give it as a run as well")
    return list(found.values()), tuple(without)


def _stored(file: Path, rows: Mapping[Path, str]) -> dict[Path, Run]:
    """The runs of a file, by its path with their number."""
    found = {}
    row = rows.get(file.resolve())
    for number, stored in enumerate(StoredRuns.read(file).runs):
        for results in stored.evaluations:
            folder = file / f"{number}-{results.protocol}"
            placement = place(results, row or stored.row)
            found[folder.resolve()] = Run(folder=folder, results=results, placement=placement)
    return found


def find_unfinished(path: Path) -> list[Path]:
    """Folders of evaluations, at or below a path, that were begun and have no results."""
    found = []
    for folder in sorted(below.parent for below in path.rglob("checkpoints")):
        config = folder / "config.json"
        if not (folder / RESULTS).is_file() and config.is_file():
            # Pre-training has no protocol, and is no evaluation.
            found += [folder] if '"protocol":' in config.read_text(encoding="utf-8") else []
    return found


def build_report(runs: Sequence[Run]) -> ComparisonReport:
    """Put runs into the tables; those that fit none are listed apart."""
    tables, placed = [], set()
    for table in TABLES:
        filled, used = _fill(table, runs)
        if table.rows or filled.rows:  # Those of nothing published are there for runs alone.
            tables.append(filled)
        placed |= used
    return ComparisonReport(
        tables=tuple(tables),
        others=tuple(run for run in runs if run.folder not in placed),
        runs=tuple(runs),
    )


def _fill(table: Table, runs: Sequence[Run]) -> tuple[FilledTable, set[Path]]:
    rows, used = [], set()
    own = sorted({key for run in runs for key in run.placement.rows if key.startswith(OWN)})
    extra = [Row(key=key, label=key.removeprefix(OWN)) for key in own]
    for row in (*table.rows, *extra):
        fitting = [
            (run, column)
            for run in runs
            if row.key in run.placement.rows
            for column in table.columns
            if fits(run, column)
        ]
        used |= {run.folder for run, _ in fitting}
        lines = []
        for source in dict.fromkeys(run.source for run, _ in fitting):
            mine = [(run, column) for run, column in fitting if run.source == source]
            lines.append(_line(source, mine))
        if lines or row.published:
            rows.append(FilledRow(row=row, lines=tuple(lines)))
    return FilledTable(table=table, rows=tuple(rows)), used


def fits(run: Run, column: Column) -> bool:
    """Whether a run measured what a column shows."""
    results = run.results
    return (
        results.protocol in column.protocols
        and (not column.datasets or run.data in column.datasets)
        and column.metric in results.metrics
    )


def _line(source: str, fitting: Sequence[tuple[Run, Column]]) -> Line:
    cells: dict[str, tuple[Value, ...]] = {}
    hashes: dict[str, set[str]] = {}
    for run, _ in fitting:
        hashes.setdefault(run.results.protocol, set()).add(str(run.results.checkpoint["sha256"]))
    mixed = any(len(found) > 1 for found in hashes.values())
    for run, column in fitting:
        notes = list(run.notes)
        if len(column.datasets) > 1 and column.key not in EXPERIMENTS:
            notes.insert(0, run.data)
        if mixed:
            notes.append(f"weights {str(run.results.checkpoint['sha256'])[:8]} of several there")
        number = run.results.metrics[column.metric]
        value = Value(number=number, notes=tuple(notes), run=run)
        cells[column.key] = (*cells.get(column.key, ()), value)
    mean = severe_mean(
        {
            name: float(np.mean([value.number for value in cells[name]]))
            for name in EXPERIMENTS
            if name in cells
        }
    )
    if mean is not None:
        all_notes = [note for name in EXPERIMENTS for value in cells[name] for note in value.notes]
        cells[MEAN] = (Value(number=mean, notes=tuple(dict.fromkeys(all_notes)), run=None),)
    return Line(source=source, cells=cells)
