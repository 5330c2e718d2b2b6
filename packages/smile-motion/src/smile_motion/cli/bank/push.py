"""Upload a bank to the Hugging Face hub as a data set repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import Outcome

EXAMPLES = ("smile-motion bank push object_banks/procedural OWNER/objects --private",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank push`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""
    repo_id: Annotated[str, tyro.conf.Positional]
    """The repository, OWNER/NAME; it is made where it is not there yet."""
    private: bool = False
    """Make the repository private."""
    revision: str | None = None
    """Branch to upload to. Default: the main one."""


def run(options: Options) -> Outcome:
    """Upload the bank and report its address."""
    from smile_motion.bank.hub import push
    from smile_motion.runtime.progress import stage_bars

    with stage_bars() as on_progress:
        address = push(
            options.folder,
            options.repo_id,
            private=options.private,
            revision=options.revision,
            on_progress=on_progress,
        )
    print(f"{options.folder}: uploaded, {address}")
    return Outcome({"folder": options.folder, "address": address})
