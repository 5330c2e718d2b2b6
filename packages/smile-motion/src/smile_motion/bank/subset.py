"""Write a new bank with some of the objects of another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from smile_motion.bank.format import CARD, METADATA, read_bank
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.packing import pack
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, dump_lines, sha256, write_atomically
from smile_motion.io.output_folders import new_folder, place_file
from smile_motion.runtime.progress import OnProgress

CHOICE = "choice"
"""Entry of a derived bank's card: how its objects were chosen."""
ORIGIN = "derived_from"
"""Entry of a derived bank's card: the bank that it was derived from."""
_OF_ORIGIN = (
    CHOICE, ORIGIN, "counts", "fell_short", "candidates_sha256", "candidates_kept", "timings",
)  # fmt: skip
"""Entries that apply to the old bank only: they move below `derived_from`."""


def subset(
    bank_folder: Path,
    keep: Iterable[int],
    out: Path,
    card_changes: dict[str, Any],
    *,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> ObjectBank:
    """Write a bank with some of another's objects, pack it and open it.

    Images are hard links where the file system allows it. The card's `derived_from` names the old
    bank, with the entries that apply to it only, such as counts.

    Args:
        bank_folder: Folder of the old bank.
        keep: Numbers of the objects to keep, in any order; their order stays that of the old bank.
        out: Folder of the new bank.
        card_changes: Entries to add to the card; by convention `choice`, how the objects were
            chosen.
        on_progress: Called with (stage, done, total).

    Returns:
        The new bank.

    Raises:
        InputError: Nothing is kept, `out` exists, or a file of the bank is missing or has changed.
    """
    card, records = read_bank(bank_folder)
    numbers = sorted({int(number) for number in keep})
    if not numbers:
        raise InputError(
            f"{bank_folder}: none of {len(records)} objects would be left; loosen the choice"
        )
    if numbers[0] < 0 or numbers[-1] >= len(records):
        wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise InputError(f"{bank_folder}: no object {wrong} among {len(records)}")
    kept = [records[number] for number in numbers]
    origin = {"bank": bank_folder.resolve().name, "count": len(records)}
    origin |= {name: card[name] for name in ("metadata_sha256", *_OF_ORIGIN) if name in card}
    inherited = {name: value for name, value in card.items() if name not in _OF_ORIGIN}
    with new_folder(out) as folder:
        for done, record in enumerate(kept, start=1):
            place_file(bank_folder / record["file_name"], folder / record["file_name"])
            on_progress("placing images", done, len(kept))
        lines = dump_lines(kept)
        write_atomically(folder / METADATA, lines)
        changed = {
            **inherited,
            **card_changes,
            ORIGIN: origin,
            "count": len(kept),
            "categories": len({record["category"] for record in kept}),
            "metadata_sha256": sha256(lines),
        }
        write_atomically(folder / CARD, dump_json(changed))
        pack(folder, lambda done, total: on_progress("packing pixels", done, total))
    return ObjectBank(out)
