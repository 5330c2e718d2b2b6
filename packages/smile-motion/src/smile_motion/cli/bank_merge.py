"""Unite the shards of a bank that several jobs built to the bank that one job would have built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.outcome import Outcome

MAKES = "an object bank"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank merge`."""

    shards: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of all shards, such as `bank/shards/*`."""
    out: Path
    """Folder of the bank; it may be the one whose `shards` hold them."""
    remove_shards: bool = False
    """Delete the shards once the bank is finished. Its images are hard links where the file system
    allows it, so that shards take little room."""


def run(options: Options) -> Outcome:
    """Merge, and say where the bank is."""
    from smile_motion.bank.progress import progress_bar
    from smile_motion.bank.shards import merge
    from smile_motion.cli.building import stopped_by_signals

    with stopped_by_signals(), progress_bar() as on_progress:
        bank = merge(
            options.shards, options.out, remove=options.remove_shards, on_progress=on_progress
        )
    print(f"{options.out}: {len(bank)} objects in {len(bank.categories)} categories")
    return Outcome({"out": options.out, "objects": len(bank), "categories": len(bank.categories)})
