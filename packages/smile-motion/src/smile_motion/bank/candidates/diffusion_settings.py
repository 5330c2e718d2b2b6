"""What a text-to-image pipeline runs with where nothing was asked for."""

from __future__ import annotations

import inspect
import re
from typing import Any

from smile_motion.errors import InputError

DISTILLED = re.compile(r"turbo|schnell|lightning", re.IGNORECASE)
"""Names of models that need few steps and no guidance."""
DISTILLED_STEPS = 4
"""Steps of such a model where none are asked for (SDXL-Turbo's and FLUX.1-schnell's cards)."""


def is_distilled(name: str) -> bool:
    """Whether a model's name says that it needs few steps and no guidance."""
    return bool(DISTILLED.search(name))


def use_fast_scheduler(pipeline: Any) -> None:
    """Give Stable Diffusion the solver that X-Paste used; leave other models their own."""
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    own = type(pipeline.scheduler).__name__
    if type(pipeline).__name__ == "StableDiffusionPipeline" and own in (
        "DDIMScheduler",
        "PNDMScheduler",
    ):
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)


def choose_steps_and_guidance(
    pipeline: Any, steps: int | None, guidance: float | None, *, distilled: bool
) -> tuple[int | None, float | None]:
    """What was asked for, else what suits a distilled model, else the pipeline's own.

    returns None for what the pipeline does not take.
    """
    takes = inspect.signature(pipeline.__call__).parameters

    def choose(name: str, asked: Any, of_distilled: Any) -> Any:
        if name not in takes:
            return None
        if asked is not None:
            return asked
        return of_distilled if distilled else takes[name].default

    return (
        choose("num_inference_steps", steps, DISTILLED_STEPS),
        choose("guidance_scale", guidance, 0.0),
    )


def choose_size(pipeline: Any, asked: int | None) -> int:
    """The images' height and width, pixels: what was asked for, else what the model was trained on.

    Raises InputError for a size that the model cannot make.
    """
    scale = getattr(pipeline, "vae_scale_factor", 8)
    trained = getattr(pipeline, "default_sample_size", None)
    if trained is None and getattr(pipeline, "unet", None) is not None:
        trained = pipeline.unet.config.sample_size
    size = asked if asked is not None else (trained or 64) * scale
    step = scale if getattr(pipeline, "unet", None) is not None else 2 * scale
    if size < step or size % step:
        raise InputError(f"--size {size}: this model makes images of a multiple of {step} px")
    return size
