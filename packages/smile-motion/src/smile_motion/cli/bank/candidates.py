"""Plans of `bank build` from its options, and progress of `bank build` and `bank filter`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.bank.candidates.build import CandidatePlan, Models
from smile_motion.bank.candidates.categories import deny, quotas, read_categories
from smile_motion.bank.candidates.diffusion import Diffusion, refuse_silent_cpu
from smile_motion.bank.candidates.images import DiffusionSource, PhotographSource
from smile_motion.bank.candidates.pipeline import Progress
from smile_motion.bank.candidates.presets import PRESETS
from smile_motion.bank.candidates.schedule import default_max_tries
from smile_motion.bank.candidates.types import Category, Goal
from smile_motion.cli.bank.options import CategoryOptions, DiffusionOptions, ScoringOptions
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, sha256
from smile_motion.runtime.progress import OnProgress

PHOTOGRAPH_PX = 512
"""Default longest side of photographs that objects are cut out of, pixels."""

Opened = tuple[CandidatePlan, Callable[[], Models], str]
"""A plan, a function that opens the models, and the name of the first stage."""


def plan_diffusion(
    count: int,
    seed: int,
    made: DiffusionOptions,
    chosen: CategoryOptions,
    scoring: ScoringOptions,
    device: str,
) -> Opened:
    """Plan a bank of generated objects; no model is loaded yet.

    Args:
        count: Number of objects.
        seed: Seed of the bank.
        made: Options of the diffusion model.
        chosen: Options of the categories.
        scoring: Options of the selection.
        device: Device of the models: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: Options do not fit each other or this machine.
    """
    preset = PRESETS[made.preset]
    model = made.model or preset.model
    if model is None:
        raise InputError(f"--preset {preset.name} names no model; add --model FOLDER or a hub name")
    prompt = made.prompt or preset.prompt
    if "{name}" not in prompt:
        raise InputError(f"--prompt {prompt!r} has no {{name}} where the category goes")
    listed = read_categories(chosen.categories)
    kept, denied = deny(listed, chosen.deny)
    goals = _goals(kept, count, chosen, chosen.categories)
    refuse_silent_cpu(model, device=device)
    licence = preset.licence
    if made.model is not None and made.model != preset.model:
        licence = f"as the licence of {Path(model).name} says of its images"
    plan = CandidatePlan(
        goals=goals,
        batch=made.batch,
        thresholds=scoring.thresholds(preset.thresholds),
        fill_holes=preset.fill_holes if scoring.fill_holes is None else scoring.fill_holes,
        keep_candidates=not chosen.drop_candidates,
        card={
            "source": "stable-diffusion",
            "profile": preset.name,
            "licence": licence,
            "category_list": _listed(chosen.categories, listed),
            "denied": [category.folder for category in denied],
            "judge_batch": scoring.judge_batch,
            **scoring.fix_threads(device),
        },
    )

    def open_models() -> Models:
        diffusion = Diffusion.open(
            model,
            device=device,
            dtype=made.dtype,
            steps=made.steps or preset.steps,
            guidance=preset.guidance if made.guidance is None else made.guidance,
            size_px=made.size or preset.size_px,
            safety_checker=made.safety_checker,
            revision=made.revision,
        )
        segmenters, scorer = scoring.open(
            preset.segmenters, preset.scorer, preset.scorer_text, device
        )
        source = DiffusionSource(diffusion=diffusion, prompt=prompt, seed=seed)
        return Models(source=source, segmenters=segmenters, scorer=scorer)

    return plan, open_models, "diffusion"


def plan_photographs(
    root: Path,
    count: int | None,
    seed: int,
    made: DiffusionOptions,
    chosen: CategoryOptions,
    scoring: ScoringOptions,
    device: str,
) -> Opened:
    """Plan a bank of objects cut out of photographs; no model is loaded yet.

    Args:
        root: Folder with a folder of photographs per category.
        count: Number of objects; as many as there are photographs by default.
        seed: Seed of the order of the photographs.
        made: Options of size and batch.
        chosen: Options of the categories.
        scoring: Options of the selection.
        device: Device of the models: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: There are no photographs, or an option does not fit.
    """
    preset = PRESETS[made.preset]
    size = made.size or PHOTOGRAPH_PX
    if size < 32:
        raise InputError(f"--size {size}: expected at least 32 pixels")
    source, found = PhotographSource.open(root, seed=seed, largest_px=size)
    kept, denied = deny(found, chosen.deny)
    if not kept:
        raise InputError(f"{root}: every category in it is denied; give another list with --deny")
    wanted = quotas(count, len(kept)) if count is not None else (None,) * len(kept)
    goals = []
    for category, one in zip(kept, wanted, strict=True):
        there = len(source.files[category.folder])
        tries = there if chosen.max_tries is None else min(there, chosen.max_tries)
        if one != 0:
            goals.append(Goal(category, there if one is None else one, tries))
    plan = CandidatePlan(
        goals=tuple(goals),
        batch=made.batch,
        thresholds=scoring.thresholds(preset.thresholds),
        fill_holes=preset.fill_holes if scoring.fill_holes is None else scoring.fill_holes,
        keep_candidates=not chosen.drop_candidates,
        card={
            "source": "images",
            "seed": seed,
            "licence": "that of the original photographs",
            "safety": "no safety checker ran; look through the images before sharing",
            "denied": [category.folder for category in denied],
            "judge_batch": scoring.judge_batch,
            **scoring.fix_threads(device),
        },
    )

    def open_models() -> Models:
        segmenters, scorer = scoring.open(
            preset.segmenters, preset.scorer, preset.scorer_text, device
        )
        return Models(source=source, segmenters=segmenters, scorer=scorer)

    return plan, open_models, "reading"


def why_no_diffusion(made: DiffusionOptions) -> str | None:
    """Why Stable Diffusion cannot run on this machine; None where it can."""
    from importlib.util import find_spec

    for name in ("diffusers", "transformers", "torch", "open_clip"):
        if find_spec(name) is None:
            return f"{name} is not installed"
    model = made.model or PRESETS[made.preset].model
    if model is None:
        return f"--preset {made.preset} names no model"
    if not Path(model).is_dir():
        from huggingface_hub import try_to_load_from_cache

        try:
            cached = try_to_load_from_cache(model, "model_index.json", revision=made.revision)
        except ValueError:
            cached = None
        if not isinstance(cached, str):
            return f"{model} is neither a folder nor in the hub's cache"
    if made.device == "cpu":
        return None
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def _goals(
    kept: tuple[Category, ...], count: int, chosen: CategoryOptions, source: str
) -> tuple[Goal, ...]:
    if not kept:
        raise InputError(f"{source}: every category in it is denied; change it, or --deny")
    if chosen.max_tries is not None and chosen.max_tries < 1:
        raise InputError(f"--max-tries {chosen.max_tries}: expected at least 1")
    return tuple(
        Goal(category, wanted, chosen.max_tries or default_max_tries(wanted))
        for category, wanted in zip(kept, quotas(count, len(kept)), strict=True)
        if wanted
    )


def _listed(spec: str, categories: tuple[Category, ...]) -> dict[str, Any]:
    lines = dump_lines(
        {"name": one.name, "definition": one.definition, "sense": one.sense} for one in categories
    )
    return {"list": Path(spec).name, "count": len(categories), "sha256": sha256(lines)}


LINE_EVERY_S = 60.0
"""Seconds between lines of progress where there is no terminal."""


@contextmanager
def candidate_bars(stage: str) -> Iterator[tuple[Callable[[Progress], None], OnProgress]]:
    """Show progress on standard error: a bar per stage on a terminal, otherwise lines.

    Args:
        stage: Name of the first stage.

    Yields:
        Callbacks for the progress of candidates, and for that of other stages.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(stage), lambda name, done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        names = (stage, "masks and scores", "writing", "objects accepted")
        tasks = [bars.add_task(name, total=None, rate="") for name in names]

        def show(progress: Progress) -> None:
            count, seconds = progress.count, max(progress.seconds, 1e-6)
            before = count.finished - progress.written
            done = (progress.made, progress.scored, progress.written)
            for task, number in zip(tasks, done, strict=False):
                rate = f"{number / seconds:.1f}/s"
                if task == tasks[0]:
                    rate += f", {progress.busy_share:.0%} busy"
                bars.update(
                    task, completed=min(before + number, count.planned), total=count.planned,
                    rate=rate,
                )  # fmt: skip
            bars.update(
                tasks[-1], completed=count.accepted, total=count.wanted,
                rate=f"of {count.finished} tries",
            )  # fmt: skip

        others: dict[str, TaskID] = {}

        def show_other(name: str, done: int, total: int) -> None:
            if name not in others:
                others[name] = bars.add_task(name, total=total, rate="")
            bars.update(others[name], completed=done)

        yield show, show_other


def progress_line(progress: Progress, stage: str) -> str:
    """Describe the progress of a run in one line."""
    count, seconds = progress.count, max(progress.seconds, 1e-6)
    rate = progress.written / seconds
    text = (
        f"{count.accepted} of {count.wanted} objects accepted, {count.finished} tries of "
        f"{count.planned} planned, {rate:.2f}/s, {stage} busy {progress.busy_share:.0%}"
    )
    if rate and count.planned > count.finished:
        text += f", about {(count.planned - count.finished) / rate / 60:.0f} min left"
    return text


def _lines(stage: str) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            print(progress_line(progress, stage), file=sys.stderr, flush=True)

    return show
