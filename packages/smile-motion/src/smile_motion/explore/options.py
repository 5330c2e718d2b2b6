"""Options of commands that serve a page, and how long it is served."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smile_motion.io.options import Port, Positive

if TYPE_CHECKING:
    from smile_motion.explore.guard import UploadLimits
    from smile_motion.explore.server import Route


PAGE_FIELDS = ("port", "open", "max_upload_mb", "max_upload_seconds")
"""Fields of `PageOptions`."""


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Where a page is, and what it takes."""

    port: Port = 7860
    """Where the page is: http://127.0.0.1:PORT/. 0 takes a free one."""
    open: bool = False
    """Open the page in a browser."""
    max_upload_mb: Positive = 64.0
    """Largest video that can be uploaded, MB."""
    max_upload_seconds: Positive = 120.0
    """Longest video that can be uploaded, seconds."""

    def serve(
        self,
        make_routes: Callable[[UploadLimits], Mapping[str, Route]],
        *,
        kept: Path | None = None,
    ) -> None:
        """Serve a page until Ctrl-C or SIGTERM.

        Args:
            make_routes: Makes the page's routes for the limits of uploads.
            kept: Folder that keeps uploads; by default they are deleted at the end.

        Raises:
            InputError: The port is in use.
        """
        from smile_motion.explore.guard import UploadLimits
        from smile_motion.explore.server import serve

        with _ended_by_signals(), _upload_folder(kept) as folder:
            limits = UploadLimits(
                bytes=int(self.max_upload_mb * 1e6), seconds=self.max_upload_seconds, folder=folder
            )
            serve(make_routes(limits), port=self.port, on_ready=self._greet)

    def _greet(self, address: str) -> None:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if self.open:
            import webbrowser

            webbrowser.open(address)


@contextmanager
def _upload_folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="smile-motion-explore-") as folder:
        yield Path(folder)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
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
