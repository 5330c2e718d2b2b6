"""Optional dependencies: what needs them, and how they are added."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from smile_motion.errors import InputError


def require_extra(
    purpose: str, *modules: str, extra: str, distribution: str = "smile-motion"
) -> None:
    """Check that modules of an optional dependency are installed, without importing them.

    purpose  what needs them, as the message begins.
    extra    name under `optional-dependencies` of the distribution, and of the workspace.
    Raises InputError for the first that is missing.
    """
    for module in modules:
        if module not in sys.modules and find_spec(module) is None:
            raise InputError(
                f"{purpose} needs {module}, which is not installed: in a clone put "
                f"`uv run --extra {extra}` before the command, elsewhere "
                f"pip install '{distribution}[{extra}]'"
            )
