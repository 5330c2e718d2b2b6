"""Pack a bank's pixels now, so that no later run has to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smile_motion.cli.app import Outcome

EXAMPLES = ("smile-motion bank pack object_banks/procedural",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank pack`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder."""
    force: bool = False
    """Pack again what is packed already."""


def run(options: Options) -> Outcome:
    """Pack, unless the packed pixels are current."""
    from smile_motion.bank.format import PACKED, read_card, read_metadata
    from smile_motion.bank.packing import is_packed, pack
    from smile_motion.io.output_folders import folder_lock
    from smile_motion.runtime.progress import progress_bar

    read_card(options.folder)
    count = len(read_metadata(options.folder))
    target = options.folder / PACKED
    current = is_packed(options.folder)
    if not current or options.force:
        with folder_lock(options.folder), progress_bar() as on_progress:
            pack(options.folder, lambda done, total: on_progress("packing pixels", done, total))
    size = sum(path.stat().st_size for path in target.iterdir())
    what = "already current" if current and not options.force else "packed"
    print(f"{target}: {what}, {count} objects, {size / 2**20:.1f} MiB")
    there_already = current and not options.force
    return Outcome({"out": target, "there_already": there_already, "objects": count, "bytes": size})
