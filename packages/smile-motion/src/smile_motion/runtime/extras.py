"""Optional dependencies: checks that name the extra to install, and silent loading."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from smile_motion.errors import MissingExtra


def require_extra(
    purpose: str, *modules: str, extra: str, distribution: str = "smile-motion"
) -> None:
    """Check that modules of an optional dependency are installed, without importing them.

    Args:
        purpose: Feature that needs the modules, with which the message begins.
        *modules: Names of the modules.
        extra: Name of the extra under `optional-dependencies`.
        distribution: Distribution that has the extra.

    Raises:
        MissingExtra: A module is not installed; the message names the first.
    """
    for module in modules:
        if module not in sys.modules and find_spec(module) is None:
            raise MissingExtra(
                f"{purpose} needs {module}, which is not installed: in a clone put "
                f"`uv run --extra {extra}` before the command, elsewhere "
                f"pip install '{distribution}[{extra}]'"
            )


_WITH_BARS = ("transformers.utils.logging", "diffusers.utils.logging")


def require_libraries(*names: str) -> None:
    """Raise MissingExtra when one of these modules is not installed."""
    require_extra("a bank's model", *names, extra="diffusion")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Turn off the progress bars of transformers and diffusers, if imported, in the block."""
    with ExitStack() as after:
        for name in _WITH_BARS:
            bars = sys.modules.get(name)
            if bars is not None and bars.is_progress_bar_enabled():
                bars.disable_progress_bar()
                after.callback(bars.enable_progress_bar)
        yield
