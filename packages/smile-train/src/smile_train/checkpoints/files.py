"""Checkpoints: written atomically, with the hashes of their files, and read back."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Interval, Len
from safetensors.torch import save_file
from smile_motion.errors import InputError
from smile_motion.io.files import hash_file, remove_leftovers, replacing
from smile_motion.io.options import Count, Positive
from smile_motion.io.schema import parse_line, read, read_record

from smile_train.checkpoints.weight_files import read_own_state, read_weights
from smile_train.config.run import RunOptions
from smile_train.config.settings import into_sections, out_of_sections

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
TRAINING = "training.pt"
CONFIG = "config.json"
_OLDER = "use an older checkpoint"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `manifest.json` says: the step, and the hash of every other file."""

    step: Annotated[int, Interval(ge=0, lt=1 << 63)]
    sha256: dict[str, Annotated[str, Len(64, 64)]]


@dataclass(frozen=True, kw_only=True)
class StoredConfig(RunOptions):
    """What is read of every run's `config.json`; the run's own options and its model come on top:
    `OwnSizes` reads the sizes, `RunOptions.differing` compares all options."""

    student_config: dict[str, Any] | None = None
    grid: dict[str, Any] | None = None
    trained_grid: dict[str, Any] | None = None
    steps: Count | None = None
    minutes: Positive | None = None
    steps_total: Count | None = None
    model: str | None = None
    classes: list[str] | None = None
    pretraining: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    weights: dict[str, torch.Tensor],
    training: dict[str, Any],
    config: dict[str, Any],
    keep: int,
) -> Path:
    """Write `step_00000000` into a folder: under another name first, forced to disk, then renamed.

    Args:
        weights: The model's state dict.
        training: State of the optimizer, random generators and the like; tensors and plain values
            only.
        keep: Older checkpoints than the last `keep` are deleted afterwards.

    Returns:
        The checkpoint's folder.
    """
    remove_leftovers(folder)
    target = folder / f"step_{step:08d}"
    write_checkpoint(target, step, weights=weights, training=training, config=config)
    numbered = _numbered(folder)
    # What is called later is torn: the run has gone on from an earlier one.
    at = numbered.index(target) + 1
    for old in (*numbered[: max(0, at - keep)], *numbered[at:]):
        shutil.rmtree(old)
    return target


def write_checkpoint(
    target: Path,
    step: int,
    *,
    weights: dict[str, torch.Tensor],
    training: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """Write a checkpoint where one may be already, which stays until the new one is whole."""
    with replacing(target) as temporary:
        temporary.mkdir()
        save_file({name: w.contiguous() for name, w in weights.items()}, temporary / WEIGHTS)
        torch.save(training, temporary / TRAINING)
        text = json.dumps(into_sections(config), indent=2) + "\n"
        (temporary / CONFIG).write_text(text, encoding="utf-8")
        names = (WEIGHTS, TRAINING, CONFIG)
        sums = {name: hash_file(temporary / name) for name in names}
        manifest = {"step": step, "sha256": sums}
        (temporary / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
        for path in (*(temporary / name for name in (*names, MANIFEST)), temporary):
            _force(path)
    _force(target.parent)


def newest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint whose files are all as they were written.

    Returns:
        Its folder, or None, and a line for each torn one that was passed over.
    """
    passed = []
    for path in reversed(_numbered(folder)):
        fault = find_fault(path)
        if fault is None:
            return path, passed
        passed.append(f"{path}: {fault}; passed over")
    return None, passed


def find_fault(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, if anything."""
    try:
        manifest = read_manifest(path)
        for name in (WEIGHTS, TRAINING, CONFIG):
            if hash_file(path / name) != manifest.sha256.get(name):
                return f"{name} is torn"
    except InputError:
        return f"incomplete ({MANIFEST} is torn)"
    except OSError as error:
        return f"incomplete ({type(error).__name__})"
    return None


def read_manifest(checkpoint: Path) -> Manifest:
    """Read what a checkpoint's files were when they were written.

    Raises:
        InputError: It is torn; FileNotFoundError without one.
    """
    return read(checkpoint / MANIFEST, Manifest, remedy=_OLDER)


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    """Read a checkpoint: weights, training state, configuration.

    Raises:
        InputError: It is torn or no checkpoint.
    """
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: no checkpoint; expected runs/…/checkpoints/step_…")
    if (fault := find_fault(path)) is not None:
        raise InputError(f"{path}: {fault}; {_OLDER}")
    config = read_run_config(path / CONFIG)
    return read_weights(path / WEIGHTS), read_own_state(path / TRAINING), config


def read_run_config(path: Path) -> dict[str, Any]:
    """Read a run's or a checkpoint's `config.json`.

    Returns:
        Options and what they were resolved to, by name, without sections.

    Raises:
        InputError: A value is refused; the message names the first.
    """
    stored = out_of_sections(read_record(path, dict[str, Any], remedy=_OLDER))
    return parse_line(json.dumps(stored), StoredConfig, source=str(path), remedy=_OLDER)


def stored_settings(*runs: Path) -> dict[str, Any]:
    """Read the settings that a run began with; empty where none has begun.

    Args:
        *runs: The run's folder, or those of its stages; the first that has begun is read.
    """
    for run in runs:
        for folder in (*reversed(_numbered(run / "checkpoints")), run):
            try:
                return read_run_config(folder / CONFIG)
            except (OSError, InputError):
                continue
    return {}


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step_*") if path.is_dir())


def _force(path: Path) -> None:
    """Have the system write a file or a folder's entries to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds_a_run(out: Path) -> bool:
    """Whether a folder has a finished checkpoint of any stage."""
    return any(
        next((folder / "checkpoints").glob("step_*"), None) for folder in (out, out / "stage-1")
    )


def last_folder(run: Path) -> Path:
    """The folder of a run's newest stage that has a sound checkpoint; the run's own else."""
    for folder in (run / "stage-2", run / "stage-1"):
        if (folder / "checkpoints").is_dir() and newest_checkpoint(folder / "checkpoints")[0]:
            return folder
    return run
