"""Make a bank without the near-duplicates of another, by perceptual hash within categories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.io.options import Bits

LISTED = 20
"""Copies that are listed unless all are asked for."""
MAKES = "an object bank"

EXAMPLES = (
    "smile-motion bank dedup object_banks/procedural --dry-run",
    "smile-motion bank dedup object_banks/procedural --max-distance 6 --out object_banks/distinct",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank dedup`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder; it is not changed."""
    out: Path | None = None
    """Folder of the new bank. Its images are hard links where the file system allows it."""
    max_distance: Bits = 4
    """Objects whose hashes differ in at most so many of 64 bits look alike, 0 to 32."""
    dry_run: bool = False
    """Only say which objects are copies of which."""
    all: bool = False
    """List every copy, not only the first 20."""


def run(options: Options) -> Outcome:
    """Find the copies, report them, and write the bank without them."""
    from smile_motion.bank.dedup import find_copies
    from smile_motion.bank.format import read_card, read_metadata
    from smile_motion.bank.subset import CHOICE, subset
    from smile_motion.io.output_folders import require_free
    from smile_motion.runtime.progress import progress_bar

    if not options.dry_run:
        if options.out is None:
            raise InputError("a new bank needs a folder: add --out NEW, or --dry-run to look first")
        require_free(options.out)
    read_card(options.folder)
    records = read_metadata(options.folder)
    with progress_bar() as on_progress:
        copies = find_copies(options.folder, options.max_distance, on_progress=on_progress)
        if options.out is not None and not options.dry_run:
            chosen = {
                "by": "bank dedup",
                "hash": "64-bit perceptual hash",
                "max_distance": options.max_distance,
                "removed": len(copies),
            }
            keep = (number for number in range(len(records)) if number not in copies)
            subset(options.folder, keep, options.out, {CHOICE: chosen}, on_progress=on_progress)
    pairs = [(records[copy]["id"], records[kept]["id"]) for copy, kept in copies.items()]
    remaining = len(records) - len(copies)
    out = None if options.dry_run else options.out
    shown = pairs if options.all else pairs[:LISTED]
    for one, other in shown:
        print(f"{one} looks like {other}")
    if len(shown) < len(pairs):
        print(f"… and {len(pairs) - len(shown)} more; --all lists them")
    print(f"{options.folder}: {len(pairs)} of {len(records)} objects are near-duplicates")
    if out is not None:
        print(f"{out}: the {remaining} others")
    return Outcome(
        {
            "objects": len(records),
            "kept": remaining,
            "max_distance": options.max_distance,
            "copies": [{"id": one, "copy_of": other} for one, other in pairs],
            "out": out,
        }
    )
