"""Write a bank as a folder that others read: images by category, metadata, a data set card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from smile_motion.cli.app import Outcome

MAKES = "an object bank"

EXAMPLES = ("smile-motion bank export object_banks/procedural --out hub-folder",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank export`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""
    out: Path
    """Folder to write; it must not hold anything yet."""
    to: Literal["hub-folder"] = "hub-folder"
    """Form: `hub-folder` is what the Hugging Face hub and `datasets` read, and a bank as well."""
    name: str | None = None
    """Title of the data set card. Default: the bank folder's name."""


def run(options: Options) -> Outcome:
    """Export the bank and say how to read it."""
    from smile_motion.bank.format import read_metadata
    from smile_motion.bank.hub import export_bank
    from smile_motion.runtime.progress import progress_bar

    with progress_bar() as on_progress:
        export_bank(options.folder, options.out, name=options.name, on_progress=on_progress)
    print(f"{options.out}: {len(read_metadata(options.out))} objects with README.md")
    print(f'next: datasets.load_dataset("imagefolder", data_dir="{options.out}")')
    print(f"  or: smile-motion bank push {options.out} OWNER/NAME")
    return Outcome({"out": options.out, "objects": len(read_metadata(options.out))})
