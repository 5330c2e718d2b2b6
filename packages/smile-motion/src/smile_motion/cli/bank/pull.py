"""Download a bank from the Hugging Face hub, check every file, and pack it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import Outcome

MAKES = "an object bank"

EXAMPLES = ("smile-motion bank pull OWNER/objects --out object_banks/objects",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank pull`."""

    repo_id: Annotated[str, tyro.conf.Positional]
    """The data set repository, OWNER/NAME."""
    out: Path | None = None
    """The bank's folder. Default: object_banks/NAME."""
    revision: str | None = None
    """Branch, tag or commit. Default: the main branch."""


def run(options: Options) -> Outcome:
    """Download the bank and report it."""
    from smile_motion.bank import banks_folder
    from smile_motion.bank.hub import pull
    from smile_motion.runtime.progress import stage_bars

    out = options.out or banks_folder() / options.repo_id.rpartition("/")[2]
    with stage_bars() as on_progress:
        bank = pull(options.repo_id, out, revision=options.revision, on_progress=on_progress)
    print(f"{out}: {len(bank)} objects in {len(bank.categories)} categories, all as recorded")
    return Outcome({"out": out, "objects": len(bank), "categories": len(bank.categories)})
