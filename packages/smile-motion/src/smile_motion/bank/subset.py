"""Some of the objects of a bank: to draw from, or as a new bank."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from smile_motion.bank.format import CARD, METADATA, read_bank
from smile_motion.bank.object_bank import ObjectBank, ObjectDraws
from smile_motion.bank.packing import pack
from smile_motion.errors import InputError, shortened
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


AnyBank = TypeVar("AnyBank", bound=ObjectBank)


def draw_from(
    bank: AnyBank,
    *,
    categories: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> AnyBank:
    """Open a bank again, of which `sample` draws some objects alone, or some banks more often.

    All objects keep their numbers and can be found, so that plans are the same with the bank
    itself. An earlier choice is replaced. Nothing is written, and no pixel is copied.

    Args:
        bank: Open bank, or several as one.
        categories: Names of the categories to draw from; all by default.
        exclude: Names of categories that are left out.
        weights: Sampling probability of each of the united banks, up to a common factor: a bank is
            drawn by weight, one of its categories uniformly, an object of that uniformly. By
            default a category of all banks together is drawn uniformly. An image that several
            banks have belongs to the first.

    Returns:
        The bank with its draws changed; `bank` itself is not.

    Raises:
        InputError: A category is not in the bank, no object is left, or weights are not one
            positive number for each of several banks.
    """
    origins, banks = bank.origins, len(bank.folders)
    if weights is not None:
        if banks < 2 or len(weights) != banks:
            raise InputError(
                f"{bank.name}: {len(weights)} weights for {banks} bank{'s' * (banks > 1)}; give "
                f"one for each of several banks"
            )
        if not (np.isfinite(weights).all() and min(weights) > 0):
            raise InputError(
                f"{bank.name}: weights are {', '.join(f'{one:g}' for one in weights)}; each is "
                f"more than 0; leave a bank out to draw nothing from it"
            )
    kept = np.ones(len(bank.categories), bool)
    if categories is not None:
        kept[:] = False
        kept[_numbers(bank, categories)] = True
    kept[_numbers(bank, exclude or ())] = False
    numbers = np.flatnonzero(kept[bank.category])
    if not len(numbers):
        raise InputError(
            f"{bank.name}: no category is left to draw from; of {len(bank.categories)} there are "
            f"{_named(bank.categories)}"
        )
    part = origins[numbers] if weights is not None else np.zeros(len(numbers), np.int64)
    group = part * len(bank.categories) + bank.category[numbers]
    order = np.argsort(group, kind="stable")
    groups, start = np.unique(group[order], return_index=True)
    of_bank = groups // len(bank.categories)
    share = np.ones(len(groups))
    if weights is not None:
        categories_of = np.bincount(of_bank, minlength=banks)
        if not categories_of.all():
            raise InputError(
                f"{bank.folders[int(categories_of.argmin())]}: has a weight, and no object of the "
                f"chosen categories; leave the bank out"
            )
        share = np.asarray(weights, np.float64)[of_bank] / categories_of[of_bank]
    edges = np.cumsum(share) / share.sum()
    edges[-1] = 1.0
    chosen = {"categories": categories, "exclude": exclude, "weights": weights}
    return bank.with_draws(
        ObjectDraws(
            chosen={name: list(value) for name, value in chosen.items() if value is not None},
            members=numbers[order],
            start=start,
            count=np.diff([*start, len(numbers)]),
            edges=edges,
        )
    )


def _numbers(bank: ObjectBank, names: Sequence[str]) -> list[int]:
    """Numbers of categories by name."""
    place = {name: number for number, name in enumerate(bank.categories)}
    for name in names:
        if name not in place:
            near = difflib.get_close_matches(name, bank.categories, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {_named(bank.categories)}"
            raise InputError(f"{bank.name}: no category {shortened(name, 60)}; {hint}")
    return [place[name] for name in names]


def _named(categories: Sequence[str], most: int = 8) -> str:
    more = f" and {len(categories) - most} more" if len(categories) > most else ""
    return ", ".join(categories[:most]) + more


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
