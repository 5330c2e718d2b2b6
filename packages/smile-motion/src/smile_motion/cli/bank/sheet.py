"""Draw contact sheets of a bank: PNG pages of objects by category, on a checkerboard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.io.options import Cell, Columns, Count

EXAMPLES = (
    "smile-motion bank sheet object_banks/procedural --out sheet.png",
    "smile-motion bank sheet object_banks/procedural --category heart star --force",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank sheet`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""
    out: Path = Path("sheet.png")
    """The picture; several pages become sheet-01.png, sheet-02.png and so on."""
    per_category: Count = 8
    """Objects of each category, at most."""
    category: tuple[str, ...] = ()
    """Only these categories, such as --category cat fire_engine. Default: all."""
    sort: Literal["score", "id"] = "score"
    """Which objects of a category come first: those with the best score, or by id."""
    refused: bool = False
    """Show the candidates that did not become objects, and why, instead."""
    cell: Cell = 96
    """Side of a picture, pixels, 48 to 512."""
    columns: Columns | None = None
    """Categories side by side. Default: what fits into 1800 pixels."""
    force: bool = False
    """Replace pages that are there."""


def run(options: Options) -> Outcome:
    """Choose what to show, draw the pages and write them."""
    from smile_motion.bank.contact_sheet import SheetLayout
    from smile_motion.bank.contact_sheet_pages import (
        object_sections,
        refused_sections,
        require_no_pages,
        write_pages,
    )
    from smile_motion.bank.format import read_card
    from smile_motion.runtime.progress import progress_bar

    if options.out.suffix.lower() != ".png":
        raise InputError(f"{options.out}: sheets are PNG; give --out a name such as sheet.png")
    if not options.force:
        require_no_pages(options.out)
    if not options.refused:
        read_card(options.folder)
    choose = refused_sections if options.refused else object_sections
    sections = choose(
        options.folder,
        per_category=options.per_category,
        categories=options.category,
        order=options.sort,
    )
    layout = SheetLayout.fit(sections, cell=options.cell, columns=options.columns)
    what = "refused candidates" if options.refused else "objects"
    categories = "1 category" if len(sections) == 1 else f"{len(sections)} categories"
    scored = any(tile.score is not None for section in sections for tile in section.tiles)
    order = "best score first" if scored and options.sort == "score" else "by id"
    total = sum(section.total for section in sections)
    with progress_bar() as on_progress:
        pages = write_pages(
            options.out,
            sections,
            layout,
            title=options.folder.resolve().name,
            subtitle=(
                f"{total} {what} · {categories} · at most {options.per_category} of each, {order}"
            ),
            on_page=lambda done, total: on_progress("drawing pages", done, total),
        )
    shown = sum(len(section.tiles) for section in sections)
    where = str(pages[0]) if len(pages) == 1 else f"{pages[0]} to {pages[-1].name}"
    print(f"{where}: {shown} of {total} {what}, {categories}")
    return Outcome({"pages": pages, "shown": shown, "total": total, "categories": len(sections)})
