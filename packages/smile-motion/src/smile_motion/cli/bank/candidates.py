"""Sources of candidates from the options of `bank build`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smile_motion.bank.candidates.build import CandidatePlan, Models
from smile_motion.bank.candidates.categories import deny, quotas, read_categories
from smile_motion.bank.candidates.diffusion import Diffusion, refuse_silent_cpu
from smile_motion.bank.candidates.images import DiffusionMaker, PhotographMaker
from smile_motion.bank.candidates.presets import PROFILES
from smile_motion.bank.candidates.schedule import default_max_tries
from smile_motion.bank.candidates.types import Category, Goal
from smile_motion.cli.bank.options import CategoryOptions, DiffusionOptions, ScoringOptions
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, sha256

PHOTOGRAPH_PX = 512
"""Longest side of photographs that objects are cut out of, by default."""

Opened = tuple[CandidatePlan, Callable[[], Models], str]
"""What to make, how to open the models, and the name of the first stage."""


def plan_diffusion(
    count: int,
    seed: int,
    made: DiffusionOptions,
    chosen: CategoryOptions,
    scoring: ScoringOptions,
    device: str,
) -> Opened:
    """Plan a bank by a diffusion model; nothing is loaded yet.

    Raises:
        InputError: An option does not fit.
    """
    profile = PROFILES[made.profile]
    model = made.model or profile.model
    if model is None:
        raise InputError(
            f"--profile {profile.name} names no model; add --model FOLDER or a hub name"
        )
    prompt = made.prompt or profile.prompt
    if "{name}" not in prompt:
        raise InputError(f"--prompt {prompt!r} has no {{name}} where the category goes")
    listed = read_categories(chosen.categories)
    kept, denied = deny(listed, chosen.deny)
    goals = _goals(kept, count, chosen, chosen.categories)
    refuse_silent_cpu(model, device=device)
    licence = profile.licence
    if made.model is not None and made.model != profile.model:
        licence = f"as the licence of {Path(model).name} says of its images"
    plan = CandidatePlan(
        goals=goals,
        batch=made.batch,
        thresholds=scoring.thresholds(profile.thresholds),
        fill_holes=profile.fill_holes if scoring.fill_holes is None else scoring.fill_holes,
        keep_candidates=not chosen.drop_candidates,
        card={
            "source": "stable-diffusion",
            "profile": profile.name,
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
            steps=made.steps or profile.steps,
            guidance=profile.guidance if made.guidance is None else made.guidance,
            size_px=made.size or profile.size_px,
            safety_checker=made.safety_checker,
            revision=made.revision,
        )
        segmenters, scorer = scoring.open(
            profile.segmenters, profile.scorer, profile.scorer_text, device
        )
        maker = DiffusionMaker(diffusion=diffusion, prompt=prompt, seed=seed)
        return Models(maker=maker, segmenters=segmenters, scorer=scorer)

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
    """Plan a bank of objects cut out of photographs.

    Raises:
        InputError: There are none, fewer than `count`, or an option does not fit.
    """
    profile = PROFILES[made.profile]
    size = made.size or PHOTOGRAPH_PX
    if size < 32:
        raise InputError(f"--size {size}: expected at least 32 pixels")
    maker, found = PhotographMaker.open(root, seed=seed, largest_px=size)
    kept, denied = deny(found, chosen.deny)
    if not kept:
        raise InputError(f"{root}: every category in it is denied; give another list with --deny")
    wanted = quotas(count, len(kept)) if count is not None else (None,) * len(kept)
    goals = []
    for category, one in zip(kept, wanted, strict=True):
        there = len(maker.files[category.folder])
        tries = there if chosen.max_tries is None else min(there, chosen.max_tries)
        if one != 0:
            goals.append(Goal(category, there if one is None else one, tries))
    plan = CandidatePlan(
        goals=tuple(goals),
        batch=made.batch,
        thresholds=scoring.thresholds(profile.thresholds),
        fill_holes=profile.fill_holes if scoring.fill_holes is None else scoring.fill_holes,
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
            profile.segmenters, profile.scorer, profile.scorer_text, device
        )
        return Models(maker=maker, segmenters=segmenters, scorer=scorer)

    return plan, open_models, "reading"


def why_no_diffusion(made: DiffusionOptions) -> str | None:
    """Why Stable Diffusion cannot run here; None where it can."""
    from importlib.util import find_spec

    for name in ("diffusers", "transformers", "torch", "open_clip"):
        if find_spec(name) is None:
            return f"{name} is not installed"
    model = made.model or PROFILES[made.profile].model
    if model is None:
        return f"--profile {made.profile} names no model"
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
