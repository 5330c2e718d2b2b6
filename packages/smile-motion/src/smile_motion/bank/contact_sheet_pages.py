"""Choose what a contact sheet shows, and write its pages as PNG files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from smile_motion.bank.contact_sheet import Section, SheetLayout, Tile, draw_pages
from smile_motion.bank.format import candidate_image, read_candidates, read_metadata
from smile_motion.bank.statistics import object_score
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically
from smile_motion.io.images import encode_png


def existing_pages(out: Path) -> list[Path]:
    """Existing pages of a sheet named `out`: the file itself or its numbered pages."""
    numbered = re.compile(re.escape(out.stem) + r"-\d{2,}" + re.escape(out.suffix))
    beside = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    return [path for path in beside if path == out or numbered.fullmatch(path.name)]


def require_no_pages(out: Path) -> None:
    """Raise InputError where pages of a sheet named `out` exist."""
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give --out a file name such as sheet.png")
    if there := existing_pages(out):
        raise InputError(
            f"{there[0]}: already there; add --force to replace it, or choose another --out"
        )


def write_pages(
    out: Path,
    sections: Sequence[Section],
    layout: SheetLayout,
    *,
    title: str,
    subtitle: str,
    on_page: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Draw a sheet and write its pages, all of them or none, replacing earlier ones.

    Args:
        out: PNG file; several pages are numbered, as in `sheet-01.png`.
        sections: Categories to show.
        layout: Geometry; see `SheetLayout.fit`.
        title: First line of every page.
        subtitle: Second line of every page.
        on_page: Called with (done, total) after each page.

    Returns:
        The files written.
    """
    count = len(layout.pages(sections))
    digits = max(2, len(str(count)))
    names = (
        [out]
        if count == 1
        else [
            out.with_name(f"{out.stem}-{number:0{digits}d}{out.suffix}")
            for number in range(1, count + 1)
        ]
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    try:
        pages = draw_pages(sections, layout, title=title, subtitle=subtitle, on_page=on_page)
        for name, page in zip(names, pages, strict=True):
            drawn.append(name.with_name(f".{name.name}.drawn"))
            write_atomically(drawn[-1], encode_png(page))
        for path in existing_pages(out):
            if path not in names:
                path.unlink()
        for path, name in zip(drawn, names, strict=True):
            path.replace(name)
    finally:
        for path in drawn:
            path.unlink(missing_ok=True)
    return names


Order = Literal["score", "id"]
"""Best score first, or by id; objects without a score come last, by id."""


def object_sections(
    folder: Path, *, per_category: int = 8, categories: Sequence[str] = (), order: Order = "score"
) -> list[Section]:
    """Choose the objects of a bank to show.

    Args:
        folder: Folder of the bank.
        per_category: Largest number of objects of each category.
        categories: Categories to show; all where empty.
        order: Order of the objects within a category.

    Raises:
        InputError: The bank cannot be read or lacks one of the categories.
    """
    entries = [
        (
            record["category"],
            record["id"],
            Tile(
                image=folder / record["file_name"],
                label=record["id"].rpartition("/")[2]
                + (f" x{record['poses']}" if "poses" in record else ""),
                score=object_score(record),
            ),
        )
        for record in read_metadata(folder)
    ]
    return _sections(folder, entries, per_category, categories, order)


def refused_sections(
    folder: Path, *, per_category: int = 8, categories: Sequence[str] = (), order: Order = "score"
) -> list[Section]:
    """Choose refused candidates of a bank, finished or not, with the reasons.

    Args:
        folder: Folder of the bank.
        per_category: Largest number of candidates of each category.
        categories: Categories to show; all where empty.
        order: Order of the candidates within a category.

    Raises:
        InputError: No candidates are stored, or none was refused.
    """
    records = read_candidates(folder)
    refused = [record for record in records if not record["accepted"]]
    if not refused:
        raise InputError(
            f"{folder}: none of {len(records)} candidates was refused; leave out --refused"
        )
    entries = [
        (record["category"], f"{record['attempt']:06d}", _refused_tile(folder, record))
        for record in refused
    ]
    return _sections(folder, entries, per_category, categories, order)


def spread_sections(sections: Sequence[Section], count: int) -> list[Section]:
    """Take `count` sections, evenly spaced from the first to the last."""
    if len(sections) <= count:
        return list(sections)
    step = (len(sections) - 1) / max(1, count - 1)
    return [sections[round(place * step)] for place in range(count)]


def _refused_tile(folder: Path, record: dict[str, Any]) -> Tile:
    score = object_score(record)
    return Tile(
        image=candidate_image(folder, record),
        label=f"{record['attempt']:06d}",
        score=None if score is None or score < 0 else score,
        note=str(record.get("reason") or "no reason given"),
    )


def _sections(
    folder: Path,
    entries: Iterable[tuple[str, str, Tile]],
    per_category: int,
    categories: Sequence[str],
    order: Order,
) -> list[Section]:
    groups: dict[str, list[tuple[float, str, Tile]]] = defaultdict(list)
    for category, name, tile in entries:
        score = float("-inf") if tile.score is None else tile.score
        groups[category].append((-score if order == "score" else 0.0, name, tile))
    for category in categories:
        if category not in groups:
            raise InputError(
                f"{folder}: nothing of category {category!r} to show; "
                f"smile-motion bank info {folder} --all lists the categories"
            )
    sections = []
    for category in sorted(set(categories) or groups):
        first = sorted(groups[category], key=lambda entry: entry[:2])[:per_category]
        tiles = tuple(tile for _, _, tile in first)
        sections.append(Section(name=category, total=len(groups[category]), tiles=tiles))
    return sections
