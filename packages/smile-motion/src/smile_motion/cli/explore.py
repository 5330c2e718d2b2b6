"""Open a page on this machine to tune a recipe and see what it does.

It plays a clip with its truth drawn, beside a preset or a baseline if asked, and hands it on as a
command, as Python, as a plan, or as a picture. It needs no network and listens on 127.0.0.1 only.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from smile_motion.clips.options import BANK_FIELDS, BankOptions
from smile_motion.io.options import ONE_FOLDER, Groups, Port, Positive

EXAMPLES = (
    "smile-motion explore --open",
    "smile-motion explore --videos VIDEOS --bank object_banks/procedural",
)


@dataclass(frozen=True, kw_only=True)
class Options(BankOptions):
    """Options of `smile-motion explore`."""

    GROUPS: ClassVar[Groups] = {
        "where from": (*BANK_FIELDS, "videos", "images"),
        "the page": ("port", "open", "uploads", "max_upload_mb", "max_upload_seconds"),
    }

    videos: Annotated[Path | None, ONE_FOLDER] = None
    """Video, folder or list (`path label` lines) to move objects over."""
    images: Annotated[Path | None, ONE_FOLDER] = None
    """Folder of photographs to move objects over."""
    uploads: Annotated[Path | None, ONE_FOLDER] = None
    """Folder that keeps uploaded videos, so that copied commands name them. Default: they are
    deleted at the end, and commands say what to replace."""
    port: Port = 7860
    """Where the page is: http://127.0.0.1:PORT/. 0 takes a free one."""
    open: bool = False
    """Open the page in a browser."""
    max_upload_mb: Positive = 64.0
    """Largest video that can be uploaded, MB."""
    max_upload_seconds: Positive = 120.0
    """Longest video that can be uploaded, seconds."""


def run(options: Options) -> None:
    """Serve the page until Ctrl-C."""
    from smile_motion.backgrounds import make_background
    from smile_motion.bank import embedded_bank
    from smile_motion.explore.guard import UploadLimits
    from smile_motion.explore.page import explorer_routes
    from smile_motion.explore.server import serve
    from smile_motion.explore.state import ExplorerInputs

    if options.videos:
        make_background("natural", videos=options.videos)
    if options.images:
        make_background("places", images=options.images)
    bank = options.open_bank(embedded_bank)
    names = (*BANK_FIELDS, "videos", "images", "uploads")
    inputs = ExplorerInputs(**{name: getattr(options, name) for name in names})
    with ended_by_signals(), upload_folder(options.uploads) as folder:
        limits = UploadLimits(
            bytes=int(options.max_upload_mb * 1e6),
            seconds=options.max_upload_seconds,
            folder=folder,
        )
        serve(
            explorer_routes(bank, inputs, limits),
            port=options.port,
            on_ready=lambda address: greet(address, options.open),
        )


@contextmanager
def upload_folder(kept: Path | None) -> Iterator[Path]:
    """Give the folder of uploads: the user's own, or one that is deleted at the end."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="smile-motion-explore-") as folder:
        yield Path(folder)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End quietly on Ctrl-C and SIGTERM, with uploads removed."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        print("the page is closed")
    finally:
        signal.signal(signal.SIGTERM, former)


def greet(address: str, wanted: bool) -> None:
    """Say where the page is, and open it if that is wanted."""
    print(f"{address}  (Ctrl-C ends it)", flush=True)
    if wanted:
        import webbrowser

        webbrowser.open(address)
