"""The report as Markdown, as CSV, and as one page of HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path

from smile_motion.files import write_atomically

from smile_train.evaluate.report_page import PAGE
from smile_train.evaluate.sheets import Cell, Sheet, letter, make_sheets
from smile_train.evaluate.tables import Report, Run, Value

FIELDS = (
    *("table", "row", "column", "published", "source", "ours", "notes", "run", "checkpoint"),
    *("sha256", "dataset", "split", "protocol", "metric", "samples"),
)
"""Columns of report.csv; a line for each published number, and for each of ours."""


NOTHING = "No run of it, and no published number."
"""Instead of an empty table."""


def write_report(report: Report, out: Path) -> list[Path]:
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


def as_markdown(sheets: Sequence[Sheet], report: Report) -> str:
    """Tables of GitHub's Markdown, one below the other."""
    lines = ["# Runs beside the paper's tables", "", sum_up(report), ""]
    for sheet in sheets:
        lines += [f"## {sheet.name}. {sheet.title}", ""]
        if sheet.lines:
            lines.append("| | " + " | ".join(sheet.heads) + " |")
            lines.append("|---" + "|--:" * len(sheet.heads) + "|")
        for line in sheet.lines:
            label = f"↳ ours: {_plain(line.label)}" if line.ours else _plain(line.label)
            cells = [_markdown_cell(cell, bold=line.ours) for cell in line.cells]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        lines += [""] if sheet.lines else [NOTHING, ""]
        if sheet.notes:
            lines += [f"<sup>{letter(n)}</sup> {note}  " for n, note in enumerate(sheet.notes)]
            lines.append("")
        lines += [_said(sheet), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _markdown_cell(cell: Cell, *, bold: bool) -> str:
    text = (
        f"**{_plain(cell.text)}**" if bold and cell.text and not cell.plain else _plain(cell.text)
    )
    difference = f" ({cell.difference})" if cell.difference else ""
    return text + difference + (f" <sup>{cell.marks}</sup>" if cell.marks else "")


def as_html(sheets: Sequence[Sheet], report: Report) -> str:
    """One page that needs nothing else, for light and dark, wide and narrow screens."""
    anchors = {sheet.name: f"s{number}" for number, sheet in enumerate(sheets)}
    links = "".join(
        f'<a href="#{anchors[sheet.name]}"{_has_ours(sheet)}>{html.escape(sheet.name)}</a>'
        for sheet in sheets
    )
    sections = "\n".join(_section(sheet, anchors[sheet.name]) for sheet in sheets)
    return PAGE.format(summary=html.escape(sum_up(report)), links=links, sections=sections)


def _has_ours(sheet: Sheet) -> str:
    return ' class="has"' if any(line.ours for line in sheet.lines) else ""


def _section(sheet: Sheet, anchor: str) -> str:
    rooms = [_room([line.cells[n] for line in sheet.lines]) for n in range(len(sheet.heads))]
    heads = "".join(
        f"<th scope=col{_kind(sheet, n)}>{html.escape(head)}{rooms[n].format('')}</th>"
        for n, head in enumerate(sheet.heads)
    )
    rows = []
    for line in sheet.lines:
        detail = f' title="{html.escape(line.detail)}"' if line.detail else ""
        kind = ' class="ours"' if line.ours else ""
        cells = "".join(
            f"<td{' class=plain' if cell.plain else ''}>{_html_cell(cell, room)}</td>"
            for cell, room in zip(line.cells, rooms, strict=True)
        )
        label = html.escape(line.label).replace("_", "_<wbr>")
        rows.append(f"<tr{kind}><th scope=row{detail}><span>{label}</span></th>{cells}</tr>")
    notes = "".join(
        f"<li><b>{letter(n)}</b> {html.escape(note)}</li>" for n, note in enumerate(sheet.notes)
    )
    name = html.escape(sheet.name)
    table = f"""<div class="scroll" tabindex="0" role="region" aria-label="{name}">
<table><thead><tr><td></td>{heads}</tr></thead><tbody>
{"".join(rows)}
</tbody></table></div>"""
    return f"""<section id="{anchor}">
<h2>{name} <small>{html.escape(sheet.title)}</small></h2>
{table if sheet.lines else f"<p>{NOTHING}</p>"}
{f"<ul>{notes}</ul>" if notes else ""}<p>{html.escape(_said(sheet))}</p>
</section>"""


def _kind(sheet: Sheet, column: int) -> str:
    """Words are set from the left, numbers from the right."""
    words = sheet.lines and all(line.cells[column].plain for line in sheet.lines)
    return " class=plain" if words else ""


def _room(cells: Sequence[Cell]) -> str:
    """Room beside the numbers of a column, the same in all lines, so that they stay aligned."""
    if any(cell.difference for cell in cells):
        return '<span class="aside">{}</span>'
    return '<span class="aside narrow">{}</span>' if any(cell.marks for cell in cells) else "{}"


def _html_cell(cell: Cell, room: str) -> str:
    beside = f"<sup>{cell.marks}</sup>" if cell.marks else ""
    if cell.difference:
        kinds = {True: ' class="up"', False: ' class="down"', None: ""}
        beside += f"<i{kinds[cell.better]}>{cell.difference}</i>"
    return html.escape(cell.text) + room.format(beside)


def _said(sheet: Sheet) -> str:
    source = f"Published numbers: {sheet.source}." if sheet.source else ""
    return " ".join(part for part in (sheet.about, source) if part)


def sum_up(report: Report) -> str:
    """How many runs there are, and where they went."""
    total, others = len(report.runs), len(report.others)
    encoders = len({run.source for run in report.runs})
    return (
        f"{total} run{'s' if total != 1 else ''} of {encoders} "
        f"checkpoint{'s' if encoders != 1 else ''}: {total - others} in the paper's tables, "
        f"{others} in a table of their own. Lines without an arrow are published; of what was "
        f"measured more than once, all is shown, and the difference is that of the mean."
    )


def as_csv(report: Report) -> str:
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
