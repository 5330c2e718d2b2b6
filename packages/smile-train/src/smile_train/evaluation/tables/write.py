"""The report as Markdown, as CSV, and as one page of HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from smile_motion.io.files import write_atomically
from smile_motion.io.markup import Markdown, render_html

from smile_train.evaluation.tables.collect import ComparisonReport, Run, Value
from smile_train.evaluation.tables.format import Cell, Sheet, letter, make_sheets

FIELDS = (
    *("table", "row", "column", "published", "source", "ours", "notes", "run", "checkpoint"),
    *("sha256", "dataset", "split", "protocol", "metric", "samples"),
)
"""Columns of report.csv; a line for each published number, and for each of ours."""


TITLE = "Runs beside the paper's tables"
NOTHING = "No run of it, and no published number."
"""Instead of an empty table."""


def write_report(report: ComparisonReport, out: Path) -> list[Path]:
    """Write report.md, report.html and report.csv into a folder, each whole or not at all."""
    sheets = make_sheets(report)
    out.mkdir(parents=True, exist_ok=True)
    contents = {
        "report.md": as_markdown(sheets, report),
        "report.html": as_html(sheets, report),
        "report.csv": as_csv(report),
    }
    for name, text in contents.items():
        write_atomically(out / name, text.encode())
    return [out / name for name in contents]


def as_markdown(sheets: Sequence[Sheet], report: ComparisonReport) -> Markdown:
    """Tables of GitHub's Markdown, one below the other."""
    lines = [Markdown("# {}").format(TITLE), "", sum_up(report), ""]
    for sheet in sheets:
        lines += [Markdown("## {}. {}").format(sheet.name, sheet.title), ""]
        if sheet.lines:
            lines.append(Markdown("| | {} |").format(Markdown(" | ").join(sheet.heads)))
            lines.append(Markdown("|---" + "|--:" * len(sheet.heads) + "|"))
        for line in sheet.lines:
            label = Markdown("↳ ours: {}" if line.ours else "{}").format(line.label)
            cells = [_markdown_cell(cell, bold=line.ours) for cell in line.cells]
            lines.append(_markdown_row(label, cells))
        lines += [""] if sheet.lines else [NOTHING, ""]
        if sheet.notes:
            lines += [
                Markdown("<sup>{}</sup> {}  ").format(letter(n), note)
                for n, note in enumerate(sheet.notes)
            ]
            lines.append("")
        lines += [sheet.sources, ""]
    return Markdown("\n").join(lines)


def _markdown_row(label: str, cells: Iterable[str]) -> Markdown:
    return Markdown("| {} | {} |").format(label, Markdown(" | ").join(cells))


def _markdown_cell(cell: Cell, *, bold: bool) -> Markdown:
    bold = bold and bool(cell.text) and not cell.plain
    text = Markdown("**{}**" if bold else "{}").format(cell.text)
    if cell.difference:
        text += Markdown(" ({})").format(cell.difference)
    return text + Markdown(" <sup>{}</sup>").format(cell.marks) if cell.marks else text


def as_html(sheets: Sequence[Sheet], report: ComparisonReport) -> str:
    """One page that needs no other file, in which every value is shown as text."""
    return render_html(
        Path(__file__).with_name("report.html"),
        title=TITLE,
        summary=sum_up(report),
        nothing=NOTHING,
        sheets=sheets,
        letter=letter,
    )


def sum_up(report: ComparisonReport) -> str:
    """How many runs there are, and where they went."""
    total, others = len(report.runs), len(report.others)
    encoders = len({run.source for run in report.runs})
    return (
        f"{total} run{'s' if total != 1 else ''} of {encoders} "
        f"checkpoint{'s' if encoders != 1 else ''}: {total - others} in the paper's tables, "
        f"{others} in a table of their own. Lines without an arrow are published; of what was "
        f"measured more than once, all is shown, and the difference is that of the mean."
    )


def as_csv(report: ComparisonReport) -> str:
    """A line for every number, published or ours, with what it is of."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    for filled in report.tables:
        table = filled.table
        for entry in filled.rows:
            for column in table.columns:
                published = entry.row.published.get(column.key)
                shared = {"table": table.name, "row": entry.row.label, "column": column.title}
                if published is not None:
                    shared |= {"published": published, "source": entry.row.source or table.source}
                    if not any(column.key in line.cells for line in entry.lines):
                        writer.writerow(shared)
                for line in entry.lines:
                    for value in line.cells.get(column.key, ()):
                        writer.writerow(shared | _ours(value, line.source, column.metric))
    for run in report.others:
        results = run.results
        number = results.metrics[results.main_metric]
        value = Value(number=number, notes=run.notes, run=run)
        writer.writerow({"table": "", **_ours(value, run.source, results.main_metric)})
    return stream.getvalue()


def _ours(value: Value, source: str, metric: str) -> dict[str, object]:
    found: dict[str, object] = {
        "ours": f"{value.number:.6g}",
        "notes": "; ".join(value.notes),
        "checkpoint": source,
    }
    return found | (_of_run(value.run, metric) if value.run else {"metric": "mean"})


def _of_run(run: Run, metric: str) -> dict[str, object]:
    results = run.results
    return {
        "run": str(run.folder),
        "sha256": results.checkpoint.get("sha256", ""),
        "dataset": run.data,
        "split": results.split,
        "protocol": results.protocol,
        "metric": metric,
        "samples": results.samples,
    }
