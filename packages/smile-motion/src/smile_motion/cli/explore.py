"""Open a page on this machine to tune a recipe and see what it does.

It plays a clip with its truth drawn, beside a preset or a baseline if asked, and hands it on as a
command, as Python, as a plan, or as a picture. It needs no network and listens on 127.0.0.1 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from smile_motion.clips.options import BANK_FIELDS, BankOptions
from smile_motion.explore.options import PAGE_FIELDS, PageOptions
from smile_motion.io.options import ONE_FOLDER, Groups

EXAMPLES = (
    "smile-motion explore --open",
    "smile-motion explore --videos VIDEOS --bank object_banks/procedural",
)


@dataclass(frozen=True, kw_only=True)
class Options(PageOptions, BankOptions):
    """Options of `smile-motion explore`."""

    GROUPS: ClassVar[Groups] = {
        "where from": (*BANK_FIELDS, "videos", "images"),
        "the page": (*PAGE_FIELDS, "uploads"),
    }

    videos: Annotated[Path | None, ONE_FOLDER] = None
    """Video, folder or list (`path label` lines) to move objects over."""
    images: Annotated[Path | None, ONE_FOLDER] = None
    """Folder of photographs to move objects over."""
    uploads: Annotated[Path | None, ONE_FOLDER] = None
    """Folder that keeps uploaded videos, so that copied commands name them. Default: they are
    deleted at the end, and commands say what to replace."""


def run(options: Options) -> None:
    """Serve the page until Ctrl-C."""
    from smile_motion.backgrounds import make_background
    from smile_motion.bank import embedded_bank
    from smile_motion.explore.page import explorer_routes
    from smile_motion.explore.state import ExplorerInputs

    if options.videos:
        make_background("natural", videos=options.videos)
    if options.images:
        make_background("places", images=options.images)
    bank = options.open_bank(embedded_bank)
    names = (*BANK_FIELDS, "videos", "images", "uploads")
    inputs = ExplorerInputs(**{name: getattr(options, name) for name in names})
    options.serve(lambda limits: explorer_routes(bank, inputs, limits), kept=options.uploads)
