"""What goes on a contact sheet: which objects, or which refused candidates, of each category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from smile_motion.bank.contact_sheet import Section, Tile
from smile_motion.bank.format import read_metadata
from smile_motion.bank.statistics import object_score
from smile_motion.bank.stored_candidates import candidate_image, read_candidates
from smile_motion.errors import InputError

Order = Literal["score", "id"]
"""Best score first, or by id; objects without a score come by id, last."""


def object_sections(
    folder: Path, *, per_category: int = 8, categories: Sequence[str] = (), order: Order = "score"
) -> list[Section]:
    """Choose objects of a bank.

    categories  only these; all where there are none.
    Raises InputError when the bank cannot be read or has no such category.
    """
    entries = [
        (
            record["category"],
            record["id"],
            Tile(
                image=folder / record["file_name"],
                label=record["id"].rpartition("/")[2],
                score=object_score(record),
            ),
        )
        for record in read_metadata(folder)
    ]
    return _sections(folder, entries, per_category, categories, order)


def refused_sections(
    folder: Path, *, per_category: int = 8, categories: Sequence[str] = (), order: Order = "score"
) -> list[Section]:
    """Choose candidates that a build refused, with the reason; their bank may be unfinished.

    Raises InputError when none are stored, or none was refused.
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
    """Take so many sections, evenly from the first to the last."""
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
