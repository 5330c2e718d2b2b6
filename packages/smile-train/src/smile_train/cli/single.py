"""Commands that one process does alone, however many were launched."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this process is the one that works; the others have nothing to do."""
    return os.environ.get("RANK", "0") == "0"
