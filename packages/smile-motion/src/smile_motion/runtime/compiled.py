"""Compilation of loops by numba, with a cache on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core import config

from smile_motion.io.folders import writable_cache

_SETTINGS: Any = config


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function with `numba.njit`; it runs without Python's global lock.

    Machine code is cached where numba caches it: in `NUMBA_CACHE_DIR`, beside the module, or in the
    user's cache. If none of these can be written, as in many containers, numba raises an error;
    then `writable_cache` is used, which no other user can write to, or each process compiles anew.

    Args:
        **options: Options of `numba.njit`.
    """

    def declare(function: Callable[..., Any]) -> Any:
        with suppress(RuntimeError):  # no cache can be written
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
