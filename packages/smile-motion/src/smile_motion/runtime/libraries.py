"""The model libraries: whether they are installed, and their progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from smile_motion.runtime.extras import require_extra

_WITH_BARS = ("transformers.utils.logging", "diffusers.utils.logging")


def require_libraries(*names: str) -> None:
    """Raise InputError when one of these modules is not installed."""
    require_extra("a bank's model", *names, extra="diffusion")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence the bars of transformers and diffusers, as far as imported, then restore them."""
    with ExitStack() as after:
        for name in _WITH_BARS:
            bars = sys.modules.get(name)
            if bars is not None and bars.is_progress_bar_enabled():
                bars.disable_progress_bar()
                after.callback(bars.enable_progress_bar)
        yield
