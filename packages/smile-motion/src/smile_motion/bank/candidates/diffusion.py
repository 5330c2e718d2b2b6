"""Generate images from prompts with a diffusion model, one seed per image."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.bank.candidates.diffusers_folder import (
    FULL_SIZE,
    model_name,
    only_variant,
    parameter_count,
    require_parts,
    snapshot_commit,
)
from smile_motion.errors import InputError, in_one_line
from smile_motion.io.hub import hub_or_cache
from smile_motion.runtime.devices import Precision, choose_device, choose_dtype
from smile_motion.runtime.extras import quiet_loading, require_libraries
from smile_motion.runtime.model_configs import require_plain_configs

LIBRARIES = ("diffusers", "transformers", "torch")
"""Libraries whose versions the card records."""


@dataclass(frozen=True, eq=False)
class GeneratedImages:
    """A batch of generated images."""

    images: np.ndarray
    """(N, H, W, 3) uint8 RGB; black where `unsafe`."""
    unsafe: tuple[bool | None, ...]
    """Whether the safety checker marked each image; None where none ran."""


def refuse_silent_cpu(model: str, *, device: str) -> None:
    """Refuse to run a full-size model on the CPU unless `device` is `cpu`.

    A model on the hub counts as full-size; a folder does where the headers of its weights have more
    than 100 million parameters.

    Args:
        model: Folder or hub name.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: The model is full-size and `auto` means the CPU, or the folder is incomplete.
    """
    if device != "auto" or choose_device("auto").type != "cpu":
        return
    folder = Path(model)
    if folder.is_dir():
        require_parts(folder, safety_checker=False)
        count = parameter_count(folder)
        if count <= FULL_SIZE:
            return
        size = f"a model of {count / 1e6:.0f} million parameters"
    else:
        size = "a full-size model"
    raise InputError(
        f"{model}: {size}, and torch sees no CUDA device; on a CPU an image takes minutes: "
        f"pass --device cpu if you mean it, or run on a machine with a GPU"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Diffusion:
    """A loaded text-to-image model.

    Example:

        diffusion = Diffusion.open("models/stable-diffusion-v1-5", steps=50, guidance=7.5)
        made = diffusion.generate(["a photo of a single fire engine"], seeds=[7])
        made.images                                             # (1, 512, 512, 3) uint8
    """

    pipeline: Any
    """The open diffusers pipeline."""
    model: str
    """Name on the hub, or name of the folder."""
    revision: str | None
    """Commit on the hub, where known."""
    steps: int | None
    """Denoising steps; None where the pipeline has no such argument."""
    guidance: float | None
    """Guidance scale; None where the pipeline has no such argument."""
    size_px: int
    """Height and width of the images, pixels."""
    dtype: str
    """Data type of the weights."""
    safety_checker: bool | None
    """Whether the safety checker runs; None where the model has none."""

    @classmethod
    def open(
        cls,
        model: str,
        *,
        device: str = "auto",
        dtype: Precision = "auto",
        steps: int | None = None,
        guidance: float | None = None,
        size_px: int | None = None,
        safety_checker: bool = True,
        revision: str | None = None,
    ) -> Diffusion:
        """Load any model that `AutoPipelineForText2Image` supports.

        Stable Diffusion published with the scheduler DDIM or PNDM runs DPM-Solver++ multistep
        instead (X-Paste); every other model runs its own scheduler.

        Args:
            model: Folder as `save_pretrained` writes it, loaded without network access; or a name
                on the hub, whose snapshot is fetched first.
            device: `auto`, `cpu`, `cuda` or `cuda:1`; see `refuse_silent_cpu`.
            dtype: Data type of the weights. `auto` is float32 on the CPU; on CUDA float16 for a
                U-Net and bfloat16 for a transformer.
            steps: Denoising steps; by default the pipeline's, or 4 for models named turbo, schnell
                or lightning.
            guidance: Guidance scale; by default the pipeline's, or 0 for those models.
            size_px: Height and width of the images, pixels; by default those of training.
            safety_checker: Whether to run the model's safety checker.
            revision: Commit, tag or branch of a model on the hub.

        Raises:
            InputError: A part is missing or cannot be read, or an option does not fit.
        """
        require_libraries(*LIBRARIES)
        import torch
        from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image

        if steps is not None and steps < 1:
            raise InputError(f"--steps {steps}: expected at least 1")
        refuse_silent_cpu(model, device=device)
        chosen = choose_device(device)
        folder = _snapshot(model, revision)
        index = require_parts(folder, safety_checker=safety_checker)
        require_plain_configs(folder)
        precision = choose_dtype(
            dtype, chosen, half="bfloat16" if "transformer" in index else "float16"
        )
        has_checker = None not in (index.get("safety_checker") or [None])
        left_out: dict[str, Any] = {}
        if has_checker and not safety_checker:
            left_out = {"safety_checker": None, "requires_safety_checker": False}
        try:
            with quiet_loading():
                pipeline = AutoPipelineForText2Image.from_pretrained(
                    str(folder),
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=precision,
                    variant=only_variant(folder),
                    **left_out,
                ).to(chosen)
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                f"{model}: does not fit into the memory of {chosen}; use a smaller model"
            ) from error
        except Exception as error:  # diffusers, transformers and the formats raise many kinds
            raise InputError(
                f"{model}: cannot be opened as a text-to-image model ({in_one_line(error)}); "
                f"download or save it again, or choose another"
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        # The flag of each image is recorded; a warning per image would bury all other output.
        checker_log = "diffusers.pipelines.stable_diffusion.safety_checker"
        logging.getLogger(checker_log).setLevel(logging.ERROR)
        use_fast_scheduler(pipeline)
        name = model_name(folder)
        saved_from = Path(str(index.get("_name_or_path", ""))).name
        chosen_steps, chosen_guidance = choose_steps_and_guidance(
            pipeline, steps, guidance, distilled=is_distilled(name) or is_distilled(saved_from)
        )
        return cls(
            pipeline=pipeline,
            model=name if Path(model).is_dir() else model,
            revision=snapshot_commit(folder),
            steps=chosen_steps,
            guidance=chosen_guidance,
            size_px=choose_size(pipeline, size_px),
            dtype=str(precision).removeprefix("torch."),
            safety_checker=safety_checker if has_checker else None,
        )

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> GeneratedImages:
        """Generate one image per prompt, in one batch.

        The same model, prompts and seeds give the same bytes on the same machine.

        Args:
            prompts: A prompt per image.
            seeds: A seed per image, 0 to 2^63 - 1.

        Raises:
            InputError: The batch does not fit into the device's memory.
        """
        import torch

        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds; expected as many")
        options = {"num_inference_steps": self.steps, "guidance_scale": self.guidance}
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
                result = self.pipeline(
                    prompt=list(prompts),
                    # On the CPU a seed draws the same noise for every device.
                    generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                    height=self.size_px,
                    width=self.size_px,
                    output_type="np",
                    **{name: value for name, value in options.items() if value is not None},
                )
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                f"{self.model}: {len(prompts)} images of {self.size_px} px at a time do not fit "
                f"into the device's memory; use a smaller --batch"
            ) from error
        if not np.isfinite(result.images).all():
            raise InputError(
                f"{self.model}: images with non-finite values, in {self.dtype}; "
                f"pass --dtype bfloat16 or float32"
            )
        flags = getattr(result, "nsfw_content_detected", None)
        images = np.rint(np.clip(result.images, 0, 1) * 255).astype(np.uint8)
        return GeneratedImages(
            images,
            tuple(map(bool, flags)) if flags is not None else (None,) * len(prompts),
        )

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card: all that determines an image besides prompt and seed."""
        return {
            "model": self.model,
            "revision": self.revision,
            "pipeline": type(self.pipeline).__name__,
            "scheduler": type(self.pipeline.scheduler).__name__,
            "steps": self.steps,
            "guidance": self.guidance,
            "size_px": self.size_px,
            "dtype": self.dtype,
            "safety_checker": self.safety_checker,
            "versions": {name: version(name) for name in LIBRARIES},
        }


def _snapshot(model: str, revision: str | None) -> Path:
    """Folder of the model; a model on the hub is fetched, or found in the cache."""
    folder = Path(model)
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"{model}: a folder has no revision {revision}; drop --revision")
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or folder.exists() or model.startswith("."):
        raise InputError(
            f"{model}: no such folder, and no name on the hub; give --model a folder with "
            f"model_index.json, or a name such as stable-diffusion-v1-5/stable-diffusion-v1-5"
        )
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    try:
        with hub_or_cache(model, instead="give --model a folder"):
            return Path(DiffusionPipeline.download(model, revision=revision, use_safetensors=True))
    except InputError:
        raise
    except Exception as error:  # diffusers passes on errors of many libraries
        raise InputError(
            f"{model}: could not be fetched ({in_one_line(error)}); check the name, or give "
            f"--model a folder"
        ) from error


DISTILLED = re.compile(r"turbo|schnell|lightning", re.IGNORECASE)
"""Pattern of the names of distilled models, which need few steps and no guidance."""
DISTILLED_STEPS = 4
"""Default steps of a distilled model (cards of SDXL-Turbo and FLUX.1-schnell)."""


def is_distilled(name: str) -> bool:
    """Whether a model's name tells that it is distilled."""
    return bool(DISTILLED.search(name))


def use_fast_scheduler(pipeline: Any) -> None:
    """Replace DDIM or PNDM of Stable Diffusion by DPM-Solver++ multistep, as X-Paste does."""
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
    """Choose steps and guidance: as given, else those of distilled models, else the pipeline's.

    Args:
        pipeline: The diffusers pipeline.
        steps: Given denoising steps.
        guidance: Given guidance scale.
        distilled: Whether the model is distilled.

    Returns:
        Steps and guidance, None for an argument that the pipeline does not have.
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
    """Choose the height and width of the images, pixels: `asked`, else that of training.

    Raises:
        InputError: The model cannot make images of this size.
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
