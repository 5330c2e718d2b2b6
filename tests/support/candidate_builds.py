"""Builds from candidates with small models, in this process or in others that can be killed."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smile_motion.bank.candidates.build import CandidatePlan, Models
from smile_motion.bank.candidates.diffusion import Diffusion
from smile_motion.bank.candidates.images import DiffusionSource
from smile_motion.bank.candidates.schedule import default_max_tries
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.bank.candidates.types import Category, Goal, Thresholds

from support import forked
from support.tiny_clip import write_tiny_clip
from support.tiny_pipelines import write_tiny_stable_diffusion
from support.tiny_segmenters import write_tiny_clipseg, write_tiny_onnx_segmenter

NAMES = ("cat", "fire engine", "flower", "rocket", "teapot")
# Random models give low scores and weak masks.
LOOSE = Thresholds(margin=100.0, max_area=1.0, min_raw=0.3, max_distance=2)
PROMPT = "a photo of a single {name}"


@dataclass(frozen=True)
class TinyModels:
    """Folders and files of small models."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> TinyModels:
        write_tiny_stable_diffusion(folder / "sd", safety_checker="flags some")
        write_tiny_clipseg(folder / "clipseg")
        write_tiny_clip(folder / "clip")
        write_tiny_onnx_segmenter(folder / "isnet.onnx")
        return cls(folder)

    def open(self, *, seed: int = 0, device: str = "cpu") -> Models:
        diffusion = Diffusion.open(
            str(self.folder / "sd"), device=device, steps=2, guidance=7.5, size_px=64
        )
        return Models(
            source=DiffusionSource(diffusion=diffusion, prompt=PROMPT, seed=seed),
            segmenters=[
                open_segmenter(str(self.folder / "isnet.onnx"), threads=1),
                open_segmenter(f"clipseg={self.folder / 'clipseg'}", device=device),
            ],
            scorer=ClipScorer.open(str(self.folder / "clip"), device=device),
        )

    def arguments(self, out: Path, categories: Path, *, n: int = 20) -> list[str]:
        """The command that builds what `plan` and `open` describe."""
        categories.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
        return [
            "build-bank", "--source=stable-diffusion", f"--model={self.folder / 'sd'}",
            "--steps=2", "--size=64", "--batch=4", f"--n={n}", f"--categories={categories}",
            "--segmenter", str(self.folder / "isnet.onnx"),
            "--segmenter", f"clipseg={self.folder / 'clipseg'}",
            f"--scorer={self.folder / 'clip'}", "--margin=100", "--max-area=1", "--min-raw=0.3",
            "--max-distance=2", "--device=cpu", "--cpu-threads=1", f"--out={out}",
        ]  # fmt: skip


def plan(
    *, each: int = 4, names: Sequence[str] = NAMES, thresholds: Thresholds = LOOSE, **changes: Any
) -> CandidatePlan:
    """A plan for a few objects of each category."""
    goals = tuple(Goal(Category(name), each, default_max_tries(each)) for name in names)
    settings = CandidatePlan(
        goals=goals,
        batch=4,
        thresholds=thresholds,
        fill_holes=True,
        card={"source": "stable-diffusion"},
    )
    return replace(settings, **changes)


def files(folder: Path) -> dict[str, Any]:
    """Every file of a bank but the lock, by name; the card as JSON without its timings."""
    found: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if "bank.json" in found:
        card = json.loads(found["bank.json"])
        card.pop("timings")
        found["bank.json"] = json.dumps(card)
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file with one on each line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def launch(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    largest_file: int | None = None,
    dies_at: tuple[str, str, int] | None = None,
    log: Path | None = None,
) -> forked.ForkedProgram:
    """Start a command in a process of its own.

    Args:
        largest_file: Bytes that it can write to one file, as on a full disk.
        dies_at: (audit event, part of a path, n): it is killed with SIGKILL just before it does
            that to such a path for the n-th time.
    """
    return forked.start(
        "smile_motion",
        arguments,
        environment=environment,
        said=log,
        prepare=("support.candidate_builds:prepare", (largest_file, dies_at)),
    )


def prepare(largest_file: int | None, dies_at: tuple[str, str, int] | None) -> None:
    """What `launch` asks of the process."""
    if largest_file is not None:
        # Python writes what fits of a module's bytecode, and later processes fail to read it.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    if dies_at is not None:
        _die_at(*dies_at)


def _die_at(event: str, part: str, count: int) -> None:
    seen: list[str] = []

    def look(name: str, arguments: tuple[object, ...]) -> None:
        if name == event and any(part in str(argument) for argument in arguments):
            seen.append(name)
            if len(seen) == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
