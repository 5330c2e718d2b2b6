"""The bank that is there without asking: procedural objects, made on first use."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from smile_motion.bank.build import build
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.progress import progress_bar
from smile_motion.bank.sources.procedural import ProceduralSource

OBJECTS = 600
"""Objects of the embedded bank; ours."""
FOLDER_VARIABLE = "SMILE_OBJECT_BANKS"
"""Environment variable naming the folder that banks lie in; `object_banks` by default."""


def banks_folder() -> Path:
    """Folder that banks lie in by default."""
    return Path(os.environ.get(FOLDER_VARIABLE, "object_banks"))


def embedded_bank() -> ObjectBank:
    """Open the embedded bank, making it first where it is missing (some seconds).

    Processes that start together each make their own and the first to finish is kept.
    """
    path = banks_folder() / "embedded"
    if not (path / "bank.json").is_file():
        print(
            f"making the embedded bank of {OBJECTS} procedural objects in {path}", file=sys.stderr
        )
        temporary = path.with_name(f".embedded.{os.getpid()}.tmp")
        try:
            with progress_bar() as on_progress:
                # In this process alone: a script without a __main__ guard cannot start others.
                build(
                    ProceduralSource(count=OBJECTS), temporary, workers=0, on_progress=on_progress
                )
            try:
                temporary.rename(path)
            except OSError:
                if not (path / "bank.json").is_file():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return ObjectBank.open(path)
