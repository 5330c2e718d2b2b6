"""Check every file of a bank against its recorded hash; exit with 1 if any is wrong."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import EXIT_FAULTY, Outcome

EXAMPLES = ("smile-motion bank verify object_banks/procedural",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank verify`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""


def run(options: Options) -> Outcome:
    """Check the files and report every fault."""
    from smile_motion.bank import verify
    from smile_motion.bank.format import read_card
    from smile_motion.bank.integrity import count_files
    from smile_motion.runtime.progress import progress_bar

    read_card(options.folder)
    total = count_files(options.folder)
    checked, faults = 0, {}
    with progress_bar() as on_progress:
        for name, fault in verify(options.folder):
            checked += 1
            if fault is not None:
                faults[name] = fault
            on_progress("checking files", checked, max(total, checked))
    for name, fault in faults.items():
        print(f"{options.folder / name}: {fault}", file=sys.stderr)
    if faults:
        print(f"{options.folder}: {len(faults)} of {checked} files are wrong", file=sys.stderr)
    else:
        print(f"{options.folder}: all {checked} files are as recorded")
    return Outcome({"files": checked, "faults": faults}, EXIT_FAULTY if faults else 0)
