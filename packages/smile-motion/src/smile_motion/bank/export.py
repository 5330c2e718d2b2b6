"""A bank as a data set that others can read: `datasets`, the Hugging Face hub, and this package."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from smile_motion.bank.contact_sheet import SheetLayout
from smile_motion.bank.contact_sheet_pages import object_sections, spread_sections
from smile_motion.bank.dataset_card import CARD_SHEET, README, write_dataset_card
from smile_motion.bank.format import CARD, METADATA, read_bank, require_unchanged
from smile_motion.bank.sheet_files import write_pages
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, dump_lines, sha256, write_atomically
from smile_motion.io.output_folders import new_folder, place_file
from smile_motion.runtime.progress import OnProgress

SHOWN_CATEGORIES = 28
"""Categories on the contact sheet of a data set's card: one page."""
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])"
    r"(train|training|validation|valid|dev|val|test|testing|eval|evaluation)"
    r"(?![^-._ 0-9])"
)


def export_bank(
    folder: Path,
    out: Path,
    *,
    name: str | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> None:
    """Write a bank as a folder that `datasets.load_dataset("imagefolder", data_dir=...)` reads.

    name  what the card calls it; the folder's name by default.
    The folder holds images by category, `metadata.jsonl`, `README.md` with a contact sheet, and
    `bank.json`: `ObjectBank.open` opens it too. Packed pixels and candidates stay behind. The
    bank's own README.md is taken where it has one. Images are hard links where that is possible.
    Raises InputError when `out` is taken, or a file of the bank is missing or has changed.
    """
    card, records = read_bank(folder)
    renamed = [{**record, "file_name": neutral_name(record["file_name"])} for record in records]
    twice, times = Counter(record["file_name"] for record in renamed).most_common(1)[0]
    if times > 1:
        raise InputError(f"{folder}: {times} images would be called {twice}; rename a category")
    with new_folder(out) as target:
        for done, (record, new) in enumerate(zip(records, renamed, strict=True), start=1):
            source = folder / record["file_name"]
            place_file(source, target / new["file_name"])
            require_unchanged(source, record["sha256"])
            on_progress("placing images", done, len(records))
        lines = dump_lines(renamed) if renamed != records else (folder / METADATA).read_bytes()
        write_atomically(target / METADATA, lines)
        card = {**card, "metadata_sha256": sha256(lines)}
        if card.pop("candidates_sha256", None) is not None:
            card["candidates_kept"] = False
        write_atomically(target / CARD, dump_json(card))
        _describe(folder, target, card, renamed, name or folder.resolve().name)


def neutral_name(file_name: str) -> str:
    """Keep `datasets` from taking a name such as `images/bullet_train/0.png` for one of a split.

    It takes files whose path has a part with `train`, `test` and so on, between anything that is
    no letter, for that split and leaves out all others; a `~` after the word prevents it.
    """
    return "/".join(_SPLIT_WORD.sub(r"\1~", part) for part in file_name.split("/"))


def _describe(
    folder: Path, target: Path, card: dict[str, Any], records: list[dict[str, Any]], name: str
) -> None:
    if (folder / README).is_file():
        write_atomically(target / README, (folder / README).read_bytes())
        if (folder / CARD_SHEET).is_file():
            write_atomically(target / CARD_SHEET, (folder / CARD_SHEET).read_bytes())
        return
    sections = spread_sections(object_sections(target), SHOWN_CATEGORIES)
    write_pages(
        target / CARD_SHEET,
        sections,
        SheetLayout.fit(sections),
        title=name,
        subtitle=f"{len(records)} objects · {len(sections)} of {card['categories']} categories",
    )
    write_dataset_card(target / README, card, records, name=name)
