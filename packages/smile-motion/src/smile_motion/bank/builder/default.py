"""Banks made on first use, once for all projects: the embedded one, and those of baselines.

```
$SMILE_OBJECT_BANKS/<name>                 where that is set; else
object_banks/<name>                        where a project has its own; else
<user's cache>/banks/<name>-<version>      made on first use
```
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from smile_motion.bank.builder.build import build
from smile_motion.bank.builder.procedural import VERSION, ProceduralSource
from smile_motion.bank.builder.sources import ObjectSource
from smile_motion.bank.format import CARD
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.packing import is_packed
from smile_motion.io.folders import cache_folders, writable_cache
from smile_motion.runtime.progress import progress_bar

OBJECTS = 600
"""Objects of the embedded bank; ours."""
FOLDER_VARIABLE = "SMILE_OBJECT_BANKS"
"""Environment variable naming the folder that banks lie in; `object_banks` by default."""
CACHED = "banks"
"""Folder of the user's cache that banks lie in."""


def banks_folder() -> Path:
    """Folder that banks lie in by default."""
    return Path(os.environ.get(FOLDER_VARIABLE, "object_banks"))


def embedded_bank() -> ObjectBank:
    """Open the embedded bank, making it first where it is missing (some seconds)."""
    source = ProceduralSource(count=OBJECTS)
    return bank_on_first_use("embedded", source, version=f"{VERSION}-{OBJECTS}")


def bank_on_first_use(name: str, source: ObjectSource, *, version: str) -> ObjectBank:
    """Open a bank of this name, making it first where there is none.

    Args:
        version: What tells it in the cache from banks of other objects under the same name. Of
            processes that start together one makes it and the others wait; what a killed one had
            finished is kept. Raises InputError as `build` does.
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
    """Make a bank, or wait for the process that does."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that makes the bank {path}", file=sys.stderr)
        lock.acquire()
    try:
        if not (path / CARD).is_file():
            print(f"making a bank of {source.count} objects on first use: {path}", file=sys.stderr)
        with progress_bar() as on_progress:
            # In this process alone: a script without a __main__ guard cannot start others.
            return build(source, path, workers=0, on_progress=on_progress)
    finally:
        lock.release()


def _sweep(path: Path) -> None:
    """Remove unfinished banks of the cache beside this one that nobody is making any more."""
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
