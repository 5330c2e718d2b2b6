import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from smile_motion.bank.candidates.diffusion import Diffusion
from smile_motion.errors import InputError
from support.no_network import no_network
from support.tiny_pipelines import (
    PROMPTS,
    SEEDS,
    open_tiny,
    write_tiny_flux,
    write_tiny_sdxl,
    write_tiny_stable_diffusion,
)

WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_the_same_prompts_and_seeds_give_the_same_bytes(tiny_sd: Path) -> None:
    diffusion = open_tiny(tiny_sd)
    made = diffusion.generate(PROMPTS, SEEDS)
    assert made.images.shape == (4, 64, 64, 3)
    assert made.images.dtype == np.uint8
    assert made.images.std(axis=(1, 2, 3)).min() > 10
    assert (diffusion.generate(PROMPTS, SEEDS).images == made.images).all()
    assert (open_tiny(tiny_sd).generate(PROMPTS, SEEDS).images == made.images).all()
    other = diffusion.generate(PROMPTS, [11, 12, 13, 99]).images
    assert (other[:3] == made.images[:3]).all()
    assert (other[3] != made.images[3]).any()
    prompted = diffusion.generate([*PROMPTS[:3], "a photo of a single teapot"], SEEDS).images
    assert (prompted[:3] == made.images[:3]).all()
    assert (prompted[3] != made.images[3]).any()


def test_the_rest_of_the_batch_changes_rounding_at_most(tiny_sd: Path) -> None:
    diffusion = open_tiny(tiny_sd)
    whole = diffusion.generate(PROMPTS, SEEDS).images.astype(int)
    for number in range(4):
        alone = diffusion.generate([PROMPTS[number]], [SEEDS[number]]).images[0]
        assert np.abs(alone - whole[number]).max() <= 1
        assert (alone != whole[number]).mean() < 0.01


def test_images_are_those_of_diffusers_with_the_solver_of_x_paste(tiny_sd: Path) -> None:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_sd, requires_safety_checker=False)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    wanted = pipeline(PROMPTS, num_inference_steps=3, guidance_scale=7.5, generator=generators)
    made = open_tiny(tiny_sd).generate(PROMPTS, SEEDS)
    assert (made.images == np.stack([np.asarray(image) for image in wanted.images])).all()
    unguided = open_tiny(tiny_sd, guidance=0.0).generate(PROMPTS, SEEDS)
    assert (unguided.images != made.images).any(axis=(1, 2, 3)).all()


def test_no_random_state_but_its_own_is_touched(tiny_sd: Path) -> None:
    diffusion = open_tiny(tiny_sd)
    before, numpys = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    made = diffusion.generate(PROMPTS, SEEDS)
    assert (torch.get_rng_state() == before).all()
    assert str(np.random.get_state()) == numpys  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(77)
        assert (diffusion.generate(PROMPTS, SEEDS).images == made.images).all()


def test_a_folder_is_opened_and_run_without_network(checked_sd: Path) -> None:
    assert os.environ.get("HF_HUB_OFFLINE") is None
    with no_network() as tried:
        open_tiny(checked_sd).generate(PROMPTS, SEEDS)
    assert tried == []


def test_flagged_images_are_black_and_recorded(
    tiny_sd: Path, checked_sd: Path, tmp_path: Path
) -> None:
    prompts, seeds = PROMPTS * 2, list(range(8))
    diffusion = open_tiny(checked_sd)
    made = diffusion.generate(prompts, seeds)
    assert {True, False} == set(made.unsafe)
    free = open_tiny(checked_sd, safety_checker=False)
    unchecked = free.generate(prompts, seeds)
    assert unchecked.unsafe == (None,) * 8
    for image, original, unsafe in zip(made.images, unchecked.images, made.unsafe, strict=True):
        assert original.any()
        assert (image == 0).all() if unsafe else (image == original).all()
    without = open_tiny(tiny_sd)
    assert without.generate(PROMPTS, SEEDS).unsafe == (None,) * 4
    ran = [one.card()["safety_checker"] for one in (diffusion, free, without)]
    assert ran == [True, False, None]
    strict = write_tiny_stable_diffusion(tmp_path / "strict", safety_checker="flags all")
    made = open_tiny(strict).generate(PROMPTS, SEEDS)
    assert made.unsafe == (True,) * 4
    assert not made.images.any()


def test_a_checker_that_is_switched_off_need_not_be_there(sd_copy: Path) -> None:
    shutil.rmtree(sd_copy / "safety_checker")
    made = open_tiny(sd_copy, safety_checker=False).generate(PROMPTS, SEEDS)
    assert made.unsafe == (None,) * 4


def test_the_card_says_what_decides_over_an_image(tiny_sd: Path, tmp_path: Path) -> None:
    import diffusers
    import transformers

    card = open_tiny(tiny_sd).card()
    assert card == {
        "model": "sd",
        "revision": None,
        "pipeline": "StableDiffusionPipeline",
        "scheduler": "DPMSolverMultistepScheduler",
        "steps": 3,
        "guidance": 7.5,
        "size_px": 64,
        "dtype": "float32",
        "safety_checker": None,
        "versions": {
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__.partition("+")[0],
        },
    }
    assert json.loads(json.dumps(card)) == card
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--somebody--tiny-turbo" / "snapshots" / commit
    shutil.copytree(tiny_sd, snapshot)
    fetched = Diffusion.open(str(snapshot), device="cpu").card()
    assert (fetched["model"], fetched["revision"]) == ("somebody/tiny-turbo", commit)
    assert (fetched["steps"], fetched["guidance"]) == (4, 0.0)
    misleading = shutil.copytree(tiny_sd, tmp_path / "turbo" / "sd")
    assert Diffusion.open(str(misleading), device="cpu").guidance == 7.5
    rough = open_tiny(tiny_sd, dtype="bfloat16", size_px=96)
    assert rough.card()["dtype"] == "bfloat16"
    assert rough.generate(PROMPTS[:1], SEEDS[:1]).images.shape == (1, 96, 96, 3)


def test_settings_left_open_are_the_pipelines_own(tiny_sd: Path) -> None:
    diffusion = Diffusion.open(str(tiny_sd))
    assert (diffusion.steps, diffusion.guidance, diffusion.size_px) == (50, 7.5, 64)


def test_a_scheduler_chosen_by_the_models_author_stays(sd_copy: Path) -> None:
    from diffusers import EulerDiscreteScheduler, PNDMScheduler

    EulerDiscreteScheduler(steps_offset=1).save_pretrained(sd_copy / "scheduler")
    index = json.loads((sd_copy / "model_index.json").read_text())
    for name, kept in (
        ("EulerDiscreteScheduler", "EulerDiscreteScheduler"),
        ("PNDMScheduler", "DPMSolverMultistepScheduler"),
    ):
        if name == "PNDMScheduler":
            PNDMScheduler(skip_prk_steps=True, steps_offset=1).save_pretrained(
                sd_copy / "scheduler"
            )
        index["scheduler"] = ["diffusers", name]
        (sd_copy / "model_index.json").write_text(json.dumps(index))
        assert open_tiny(sd_copy).card()["scheduler"] == kept


@pytest.mark.parametrize(
    ("write", "name", "scheduler", "steps", "guidance"),
    [
        (write_tiny_sdxl, "sdxl-turbo", "EulerAncestralDiscreteScheduler", 4, 0.0),
        (write_tiny_sdxl, "sdxl-base", "EulerAncestralDiscreteScheduler", 50, 5.0),
        (write_tiny_flux, "FLUX.1-schnell", "FlowMatchEulerDiscreteScheduler", 4, 0.0),
        (write_tiny_flux, "FLUX.1-dev", "FlowMatchEulerDiscreteScheduler", 28, 3.5),
    ],
)
def test_other_families_run_their_own_way(
    tmp_path: Path,
    write: Callable[[Path], Path],
    name: str,
    scheduler: str,
    steps: int,
    guidance: float,
) -> None:
    folder = write(tmp_path / name)
    diffusion = Diffusion.open(str(folder), size_px=64)
    card = diffusion.card()
    assert (card["scheduler"], card["steps"], card["guidance"]) == (scheduler, steps, guidance)
    assert card["safety_checker"] is None
    with no_network() as tried:
        short = Diffusion.open(str(folder), size_px=64, steps=2, guidance=1.5)
        made = short.generate(PROMPTS, SEEDS)
    assert tried == []
    assert (short.card()["steps"], short.card()["guidance"]) == (2, 1.5)
    assert made.images.shape == (4, 64, 64, 3)
    assert (short.generate(PROMPTS, SEEDS).images == made.images).all()
    assert made.unsafe == (None,) * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_px": 60}, r"--size 60: this model makes images of a multiple of 8 px"),
        ({"size_px": 0}, r"--size 0: this model"),
        ({"steps": 0}, r"--steps 0: expected at least 1"),
        ({"dtype": "float16"}, r"dtype float16 runs on CUDA only"),
        ({"dtype": "half"}, r"dtype half: expected auto, float32"),
        ({"device": "tpu"}, r"--device tpu: expected auto, cpu, cuda"),
        ({"revision": "main"}, r"sd: a folder has no revision main; drop --revision"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tiny_sd: Path, options: dict[str, int | str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_tiny(tiny_sd, **options)


def test_flux_needs_a_multiple_of_sixteen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--size 72: this model makes .* a multiple of 16 px"):
        Diffusion.open(str(write_tiny_flux(tmp_path / "flux")), size_px=72)


def test_values_that_are_no_numbers_are_not_painted_black(sd_copy: Path) -> None:
    path = sd_copy / "vae" / WEIGHTS
    weights = load_file(path)
    weights["decoder.conv_out.bias"][1] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"non-finite values, in float32; pass --dtype"):
        open_tiny(sd_copy, safety_checker=False).generate(PROMPTS, SEEDS)
