"""Tables as text, whatever they are then written as: lines of cells, and notes below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from smile_train.evaluation.figures.clips import short_names
from smile_train.evaluation.tables.collect import ComparisonReport, FilledTable, Line, Run, Value
from smile_train.evaluation.tables.schema import Column


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a place of a table."""

    text: str = ""
    """The number, or several."""
    marks: str = ""
    """Letters of the notes that belong to it."""
    difference: str = ""
    """Ours minus the paper's, with its sign."""
    better: bool | None = None
    """Whether that is for the better; none where there is no difference."""
    plain: bool = False
    """Words about a number, not a number."""


@dataclass(frozen=True, kw_only=True)
class SheetLine:
    """A line of a table."""

    label: str
    """Head of the line."""
    ours: bool = False
    """Measured by us, not published."""
    detail: str = ""
    """More on its head: the whole path of a checkpoint."""
    cells: tuple[Cell, ...]
    """One for each head."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table, ready to be written."""

    name: str
    """Such as `Table 4b`."""
    title: str
    """What it shows."""
    heads: tuple[str, ...]
    """Heads of the columns."""
    lines: tuple[SheetLine, ...]
    """The paper's and ours, ours below what they belong to."""
    about: str = ""
    """What must be known to read it."""
    source: str = ""
    """Where published numbers come from."""
    notes: tuple[str, ...] = ()
    """Notes in the order of their letters: a, b, …"""

    @property
    def has_ours(self) -> bool:
        """Whether a run of ours is in it."""
        return any(line.ours for line in self.lines)

    @property
    def sources(self) -> str:
        """What must be known to read it, and where published numbers come from."""
        source = f"Published numbers: {self.source}." if self.source else ""
        return " ".join(part for part in (self.about, source) if part)

    def is_plain(self, column: int) -> bool:
        """Whether a column holds words, which are set from the left; numbers from the right."""
        return all(line.cells[column].plain for line in self.lines)

    def room(self, column: int) -> str:
        """Class of the room beside the numbers of a column; empty where nothing is beside them."""
        cells = [line.cells[column] for line in self.lines]
        if any(cell.difference for cell in cells):
            return "aside"
        return "aside narrow" if any(cell.marks for cell in cells) else ""


@dataclass
class _Notes:
    """Letters for notes, the same letter for the same words."""

    known: list[str] = field(default_factory=list)

    def mark(self, notes: Sequence[str]) -> str:
        for note in notes:
            if note not in self.known:
                self.known.append(note)
        return ",".join(letter(self.known.index(note)) for note in dict.fromkeys(notes))


def letter(number: int) -> str:
    """a, b, … z, aa, ab, …"""
    rest = number // 26
    return (letter(rest - 1) if rest else "") + chr(ord("a") + number % 26)


def make_sheets(report: ComparisonReport) -> list[Sheet]:
    """Lay out all tables, and one of the runs that are in none, where there are any."""
    sources = list(dict.fromkeys(run.source for run in report.runs))
    names = dict(zip(sources, short_names(sources) if sources else [], strict=True))
    sheets = [_sheet(table, names) for table in report.tables]
    if report.others:
        sheets.append(_others(report.others, names))
    return sheets


def _sheet(filled: FilledTable, names: dict[str, str]) -> Sheet:
    table, notes, lines = filled.table, _Notes(), []
    for entry in filled.rows:
        row = entry.row
        if row.published or not entry.lines:
            marks = notes.mark([f"published: {row.source}"] if row.source else [])
            cells = tuple(
                Cell(
                    text=_number(row.published.get(column.key), column),
                    marks=marks if column.key in row.published else "",
                )
                for column in table.columns
            )
            lines.append(SheetLine(label=row.label, cells=cells))
        else:
            blank = tuple(Cell() for _ in table.columns)
            lines.append(SheetLine(label=row.label, cells=blank))
        for line in entry.lines:
            cells = tuple(
                _cell(line, column, row.published.get(column.key), notes)
                for column in table.columns
            )
            lines.append(
                SheetLine(label=names[line.source], detail=line.source, ours=True, cells=cells)
            )
    return Sheet(
        name=table.name,
        title=table.title,
        heads=tuple(column.title for column in table.columns),
        lines=tuple(lines),
        about=table.note,
        source=table.source,
        notes=tuple(notes.known),
    )


def _cell(line: Line, column: Column, published: float | None, notes: _Notes) -> Cell:
    values: tuple[Value, ...] = line.cells.get(column.key, ())
    if not values:
        return Cell()
    marks = notes.mark([note for value in values for note in value.notes])
    text = ", ".join(_number(value.number, column) for value in values)
    if published is None:
        return Cell(text=text, marks=marks)
    gap = float(np.mean([value.number for value in values])) - published
    return Cell(
        text=text,
        marks=marks,
        difference=signed(gap, column.decimals),
        better=None if column.lower_is_better is None else (gap < 0) == column.lower_is_better,
    )


def _others(runs: Sequence[Run], names: dict[str, str]) -> Sheet:
    notes, lines = _Notes(), []
    for run in runs:
        results = run.results
        value = f"{results.metrics[results.main_metric]:.3g}"
        texts = (run.data, results.split, results.protocol, results.main_metric)
        lines.append(
            SheetLine(
                label=names[run.source],
                detail=run.source,
                ours=True,
                cells=(
                    *(Cell(text=text, plain=True) for text in texts),
                    Cell(text=value, marks=notes.mark(run.notes)),
                    Cell(text=f"{results.samples:,}", plain=True),
                    Cell(text=str(run.folder), plain=True),
                ),
            )
        )
    return Sheet(
        name="Other runs",
        title="In none of the paper's tables",
        heads=("data", "split", "protocol", "metric", "value", "samples", "run"),
        lines=tuple(lines),
        about="Their data, protocol or pre-training is in no row and column above; --row RUN=ROW "
        "says by hand where a run belongs.",
        notes=tuple(notes.known),
    )


def signed(value: float, decimals: int) -> str:
    """A number with its sign, with a true minus."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def _number(value: float | None, column: Column) -> str:
    return "" if value is None else f"{value:.{column.decimals}f}"
