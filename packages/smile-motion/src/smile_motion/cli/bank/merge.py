"""Unite the shards of a bank to what one job would have built, or finished banks to a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError

MAKES = "an object bank"

EXAMPLES = (
    "smile-motion bank merge object_banks/array/shards/* --out object_banks/array",
    "smile-motion bank merge object_banks/procedural object_banks/own --out object_banks/both",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank merge`."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of all shards of a bank, such as `bank/shards/*`, or of finished banks."""
    out: Path
    """Folder of the bank; it may be the one whose `shards` hold them."""
    remove_shards: bool = False
    """Delete the shards once the bank is finished. Its images are hard links where the file system
    allows it, so that shards take little room."""


def run(options: Options) -> Outcome:
    """Merge and report the bank."""
    from smile_motion.bank.builder.shards import merge
    from smile_motion.bank.format import CARD
    from smile_motion.bank.union import unite
    from smile_motion.runtime.progress import progress_bar
    from smile_motion.runtime.signals import stopped_by_signals

    finished = [folder for folder in options.folders if (folder / CARD).is_file()]
    if finished and (others := [path for path in options.folders if path not in finished]):
        raise InputError(
            f"{finished[0]} is a finished bank and {others[0]} is none; give finished banks, or "
            f"shards of one"
        )
    if finished and options.remove_shards:
        raise InputError(f"--remove-shards: {finished[0]} is a finished bank; leave it out")
    with stopped_by_signals(), progress_bar() as on_progress:
        if finished:
            bank = unite(options.folders, options.out, on_progress=on_progress)
        else:
            bank = merge(
                options.folders, options.out, remove=options.remove_shards, on_progress=on_progress
            )
    duplicates = bank.card.get("duplicates", 0) if finished else 0
    same = f"; {duplicates} that two banks have are kept once" if duplicates else ""
    print(f"{options.out}: {len(bank)} objects in {len(bank.categories)} categories{same}")
    return Outcome(
        {
            "out": options.out,
            "objects": len(bank),
            "categories": len(bank.categories),
            "duplicates": duplicates,
        }
    )
