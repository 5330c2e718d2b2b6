"""Check every file of a bank against its recorded hash; exit with 2 if any is wrong."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import EXIT_INPUT


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank verify`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""


def run(options: Options) -> int:
    """Check the files and name every one that is wrong."""
    from rich.console import Console
    from rich.progress import track

    from smile_motion.bank import verify
    from smile_motion.bank.layout import read_card, read_metadata

    console = Console(stderr=True)
    read_card(options.folder)
    total = len(read_metadata(options.folder)) + 1
    faults = checked = 0
    results = track(
        verify(options.folder),
        "checking",
        total=total,
        console=console,
        disable=not console.is_terminal,
    )
    for name, fault in results:
        checked += 1
        if fault is not None:
            faults += 1
            print(f"{options.folder / name}: {fault}", file=sys.stderr)
    if faults:
        print(f"{options.folder}: {faults} of {checked} files are wrong", file=sys.stderr)
        return EXIT_INPUT
    print(f"{options.folder}: all {checked} files are as recorded")
    return 0
