"""The report as Markdown, as CSV, and as one page of HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from smile_motion.io.files import write_atomically
from smile_motion.io.markup import Markdown, Markup, element, joined, page

from smile_train.evaluation.tables.collect import ComparisonReport, Run, Value
from smile_train.evaluation.tables.format import Cell, Sheet, letter, make_sheets
from smile_train.evaluation.tables.page import STYLE

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
        lines += [_said(sheet), ""]
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
    """One page that needs nothing else, for light and dark, wide and narrow screens."""
    anchors = {sheet.name: f"s{number}" for number, sheet in enumerate(sheets)}
    links = (
        element("a", sheet.name, href=f"#{anchors[sheet.name]}", class_=_has_ours(sheet))
        for sheet in sheets
    )
    body = (
        element("header", element("h1", TITLE), element("p", sum_up(report))),
        element("nav", links),
        *(_section(sheet, anchors[sheet.name]) for sheet in sheets),
    )
    return page(title=TITLE, style=STYLE, body=body)


def _has_ours(sheet: Sheet) -> str | None:
    return "has" if any(line.ours for line in sheet.lines) else None


def _section(sheet: Sheet, anchor: str) -> Markup:
    notes = [
        element("li", element("b", letter(n)), " ", note) for n, note in enumerate(sheet.notes)
    ]
    return element(
        "section",
        element("h2", sheet.name, " ", element("small", sheet.title)),
        _table(sheet) if sheet.lines else element("p", NOTHING),
        element("ul", notes) if notes else None,
        element("p", _said(sheet)),
        id=anchor,
    )


def _table(sheet: Sheet) -> Markup:
    columns = [[line.cells[n] for line in sheet.lines] for n in range(len(sheet.heads))]
    rooms = [_room(cells) for cells in columns]
    # Words are set from the left, numbers from the right.
    kinds = ["plain" if all(cell.plain for cell in cells) else None for cells in columns]
    heads = (
        element("th", head, _aside(room), scope="col", class_=kind)
        for head, room, kind in zip(sheet.heads, rooms, kinds, strict=True)
    )
    rows = []
    for line in sheet.lines:
        label = joined(line.label.split("_"), "_" + element("wbr"))
        cells = (
            element("td", cell.text, _beside(cell, room), class_="plain" if cell.plain else None)
            for cell, room in zip(line.cells, rooms, strict=True)
        )
        head = element("th", element("span", label), scope="row", title=line.detail or None)
        rows.append(element("tr", head, cells, class_="ours" if line.ours else None))
    table = element(
        "table",
        element("thead", element("tr", element("td"), heads)),
        element("tbody", rows),
    )
    return element(
        "div", table, class_="scroll", tabindex="0", role="region", aria_label=sheet.name
    )


def _room(cells: Sequence[Cell]) -> str | None:
    """Room beside the numbers of a column, the same in all lines, so that they stay aligned."""
    if any(cell.difference for cell in cells):
        return "aside"
    return "aside narrow" if any(cell.marks for cell in cells) else None


def _aside(room: str | None, *content: Markup) -> Markup | None:
    return element("span", content, class_=room) if room else None


def _beside(cell: Cell, room: str | None) -> Markup | None:
    marks = [element("sup", cell.marks)] if cell.marks else []
    if cell.difference:
        kinds = {True: "up", False: "down", None: None}
        marks.append(element("i", cell.difference, class_=kinds[cell.better]))
    return _aside(room, *marks)


def _said(sheet: Sheet) -> str:
    source = f"Published numbers: {sheet.source}." if sheet.source else ""
    return " ".join(part for part in (sheet.about, source) if part)


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
