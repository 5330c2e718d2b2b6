"""Keep the model libraries' progress bars out of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_LIBRARIES = ("transformers.utils.logging", "diffusers.utils.logging")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence the bars of transformers and diffusers, as far as imported, then restore them."""
    with ExitStack() as after:
        for name in _LIBRARIES:
            bars = sys.modules.get(name)
            if bars is not None and bars.is_progress_bar_enabled():
                bars.disable_progress_bar()
                after.callback(bars.enable_progress_bar)
        yield
