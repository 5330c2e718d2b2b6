"""Results of an evaluation, with all that identifies what was evaluated."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically
from smile_motion.io.schema import read

RESULTS = "results.json"
"""File of a run's results, in its folder."""
PACKAGES = ("smile-motion", "smile-train", "torch", "timm", "accelerate", "numpy", "av")
"""Packages whose versions results depend on."""

Protocol = Literal[
    "finetune", "linear-sigma", "linear-strict", "attentive", "knn", "severe", "similarity"
]


@dataclass(frozen=True, kw_only=True)
class Results:
    """One protocol on one data set."""

    protocol: Protocol
    """How it was measured."""
    dataset: str
    """Name of the data set or experiment, such as `ssv2`, `gym-1000`."""
    split: str
    """Split measured on."""
    samples: Annotated[int, Ge(0)]
    """Samples measured, each once."""
    metrics: dict[str, float]
    """Scores by name; accuracies and precision in percent: `top1`, `top5`, means over classes
    `mean_class_top1`, `mean_class_top5`; `map`; of counting `mae` (relative mean absolute error),
    `off_by_one` (percent)."""
    main_metric: str
    """The one that tables show."""
    checkpoint: dict[str, Any]
    """`source` as given, `sha256` of its weights."""
    pretraining: dict[str, Any] = field(default_factory=dict)
    """Configuration that the checkpoint was trained with, where it is known."""
    dataset_sha256: dict[str, str] = field(default_factory=dict)
    """Hash of what was asked of which samples, by split."""
    partial: bool = False
    """Whether samples of an official split were left out, on purpose or not."""
    missing: bool = False
    """Whether videos were not there or could not be read."""
    config: dict[str, Any] = field(default_factory=dict)
    """All options."""
    ours: tuple[str, ...] = ()
    """Options whose values no publication gives."""
    versions: dict[str, str] = field(default_factory=lambda: package_versions())
    """Versions of the packages it was computed with."""

    def write(self, folder: Path) -> Path:
        """Write results.json into a folder, whole or not at all."""
        path = folder / RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(asdict(self), indent=2) + "\n").encode())
        return path

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read results from a file, or from the folder that holds one.

        Raises:
            InputError: There are none, or they are damaged.
        """
        file = path / RESULTS if path.is_dir() else path
        if not file.is_file():
            raise InputError(f"{file}: no results; give folders of finished evaluations")
        return read(file, cls, remedy="evaluate again")

    def __post_init__(self) -> None:
        if self.main_metric not in self.metrics:
            raise InputError(f"no {self.main_metric!r} among its metrics")
        if not {"source", "sha256"} <= self.checkpoint.keys():
            raise InputError("its checkpoint has no source or sha256")


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One of several models in a file: its row among tables, and its evaluations."""

    row: Annotated[str, Len(1, 200)]
    """As `--row` takes it, such as `own:NAME`."""
    evaluations: Annotated[tuple[Results, ...], Len(0, 1000)]
    """What was measured of it."""


@dataclass(frozen=True, kw_only=True)
class StoredRuns:
    """Evaluations of several models in one file, such as those of `benchmarks/evidence`."""

    runs: Annotated[tuple[StoredRun, ...], Len(0, 100_000)]
    """In any order."""

    @classmethod
    def read(cls, path: Path) -> StoredRuns:
        """Read a file; other entries that it has are passed over.

        Raises:
            InputError: It is of another kind, or damaged.
        """
        remedy = "give folders of finished evaluations, or a file with rows and evaluations"
        return read(path, cls, remedy=remedy, unknown="ignore")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
