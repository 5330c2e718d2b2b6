"""How loops are compiled: by numba, and kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core import config

from smile_motion.io.folders import writable_cache

_SETTINGS: Any = config


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a compiled function, as `numba.njit` does; it runs without Python's lock.

    Its machine code is kept where numba keeps it: in `NUMBA_CACHE_DIR`, beside the module, or in
    the user's cache. Containers often have none of these that can be written, which numba takes
    for an error; ours is then in `writable_cache`, where nobody else can have put any, or is made
    anew by each process.
    """

    def declare(function: Callable[..., Any]) -> Any:
        with suppress(RuntimeError):  # no place that can be written
            return numba.njit(cache=True, nogil=True, **options)(function)
        chosen = _SETTINGS.CACHE_DIR
        try:
            _SETTINGS.CACHE_DIR = str(writable_cache() / "numba")
            return numba.njit(cache=True, nogil=True, **options)(function)
        except (OSError, RuntimeError):
            return numba.njit(nogil=True, **options)(function)
        finally:
            _SETTINGS.CACHE_DIR = chosen

    return declare
