"""Default banks, built on first use and cached: the embedded bank and those of baselines.

```
$SMILE_OBJECT_BANKS/<name>                 where the variable is set; else
object_banks/<name>                        where the working folder has one; else
<user's cache>/banks/<name>-<version>      built on first use
```
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from smile_motion.bank.builder.build import build
from smile_motion.bank.builder.procedural import VERSION, ProceduralSource
from smile_motion.bank.builder.sources import ObjectSource
from smile_motion.bank.format import CARD
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.packing import is_packed
from smile_motion.io.folders import cache_folders, writable_cache
from smile_motion.runtime.progress import progress_bar

_LOGGER = logging.getLogger(__name__)
OBJECTS = 600
"""Number of objects of the embedded bank (ours)."""
FOLDER_VARIABLE = "SMILE_OBJECT_BANKS"
"""Environment variable with the folder of banks; `object_banks` by default."""
CACHED = "banks"
"""Folder of banks within the user's cache."""


def banks_folder() -> Path:
    """Default folder of banks."""
    return Path(os.environ.get(FOLDER_VARIABLE, "object_banks"))


def embedded_bank() -> ObjectBank:
    """Open the embedded bank, building it on first use (some seconds)."""
    source = ProceduralSource(count=OBJECTS)
    return bank_on_first_use("embedded", source, version=f"{VERSION}-{OBJECTS}")


def bank_on_first_use(name: str, source: ObjectSource, *, version: str) -> ObjectBank:
    """Open a default bank, building it on first use.

    Of processes that start together, one builds the bank and the others wait. A build that was
    killed is resumed.

    Args:
        name: Folder of the bank within `banks_folder()` or the cache.
        source: Makes the objects.
        version: Suffix in the cache that tells apart banks of other objects under the same name.

    Returns:
        The bank.

    Raises:
        InputError: As for `build`.
    """
    own = banks_folder() / name
    if (own / CARD).is_file():
        return ObjectBank.open(own)
    if os.environ.get(FOLDER_VARIABLE):
        return _make(source, own)
    name = f"{name}-{version}"
    for folder in cache_folders():
        if is_packed(folder / CACHED / name):
            return ObjectBank.open(folder / CACHED / name)
    path = writable_cache() / CACHED / name
    _sweep(path)
    return _make(source, path)


def _make(source: ObjectSource, path: Path) -> ObjectBank:
    """Build a bank, or wait for the process that does."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOGGER.warning("waiting for another process that makes the bank %s", path)
        lock.acquire()
    try:
        if not (path / CARD).is_file():
            _LOGGER.warning("making a bank of %d objects on first use: %s", source.count, path)
        with progress_bar() as on_progress:
            # In this process: a script without a __main__ guard cannot start others.
            return build(source, path, workers=0, on_progress=on_progress)
    finally:
        lock.release()


def _sweep(path: Path) -> None:
    """Remove other unfinished banks from the cache that no process is building."""
    from filelock import FileLock, Timeout

    for other in path.parent.glob("*/"):
        if other != path and not (other / CARD).is_file():
            try:
                with FileLock(_lock(other), timeout=0):
                    if not (other / CARD).is_file():
                        shutil.rmtree(other, ignore_errors=True)
            except Timeout:
                continue


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
