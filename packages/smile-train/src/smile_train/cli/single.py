"""What one process does for all, however many were launched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def is_first_process() -> bool:
    """Whether this process is the one that works; the others have nothing to do."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def results_folder(out: Path) -> Iterator[None]:
    """Make a folder and hold it, in the first process for all; see `folder_lock.output_folder`."""
    from smile_motion.io.output_folders import output_folder

    if not is_first_process():
        yield
        return
    with output_folder(out):
        yield
