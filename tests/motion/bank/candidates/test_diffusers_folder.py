import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from smile_motion.bank.candidates.diffusers_folder import parameter_count
from smile_motion.errors import InputError
from support.no_network import no_network
from support.tiny_pipelines import (
    PROMPTS,
    SEEDS,
    open_tiny,
)

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("model_index.json", r"no model_index.json, so no diffusion model; give --model"),
        ("unet", r"lacks its unet \(its folder is missing\); download or save"),
        ("safety_checker", r"lacks its safety_checker \(its folder is missing\)"),
        ("unet/config.json", r"lacks its unet \(config.json is missing\)"),
        (f"unet/{WEIGHTS}", r"lacks its unet \(a .safetensors file of weights is missing\)"),
        (f"vae/{WEIGHTS}", r"lacks its vae \(a .safetensors file"),
        ("text_encoder/model.safetensors", r"lacks its text_encoder \(a .safetensors file"),
        ("tokenizer/tokenizer.json", r"lacks its tokenizer \(tokenizer.json or vocab.json or"),
        ("scheduler/scheduler_config.json", r"lacks its scheduler \(scheduler_config.json is"),
        ("feature_extractor/preprocessor_config.json", r"lacks its feature_extractor \(pre"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_by_its_name(
    sd_copy: Path, part: str, message: str
) -> None:
    path = sd_copy / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=message) as refusal:
        open_tiny(sd_copy)
    assert str(refusal.value).startswith(str(sd_copy))
    assert "\n" not in str(refusal.value)


def test_torn_or_pickled_weights_are_refused(sd_copy: Path) -> None:
    weights = sd_copy / "unet" / WEIGHTS
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"sd_copy: cannot be opened as a text-to-image .*again"):
        open_tiny(sd_copy)
    with pytest.raises(InputError, match=r"not a whole safetensors file \(.*download it again"):
        parameter_count(sd_copy)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match=r"unet \(a .safetensors file of weights is missing"):
        open_tiny(sd_copy)


def test_a_shard_that_is_missing_is_named(sd_copy: Path) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(sd_copy / "unet")
    (sd_copy / "unet" / WEIGHTS).unlink()
    unet.save_pretrained(sd_copy / "unet", max_shard_size="100KB")
    shards = sorted((sd_copy / "unet").glob("*.safetensors"))
    assert len(shards) > 2
    assert parameter_count(sd_copy) == unet.num_parameters()
    assert open_tiny(sd_copy).generate(PROMPTS, SEEDS).images.shape == (4, 64, 64, 3)
    shards[1].unlink()
    with pytest.raises(InputError, match=rf"lacks its unet \({shards[1].name} is missing\)"):
        open_tiny(sd_copy)


def test_a_model_in_half_precision_files_only_is_opened(tiny_sd: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_sd, requires_safety_checker=False)
    wanted = sum(part.numel() for part in pipeline.unet.parameters())
    pipeline.to(dtype=torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    half = open_tiny(tmp_path / "half")
    assert half.card()["dtype"] == "float32"
    assert parameter_count(tmp_path / "half") == wanted
    near = half.generate(PROMPTS, SEEDS).images.astype(int)
    assert np.abs(near - open_tiny(tiny_sd).generate(PROMPTS, SEEDS).images).mean() < 2


def test_what_is_no_model_is_refused(tiny_sd: Path, sd_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such folder, and no name on the hub; give"):
        open_tiny(tmp_path / "absent")
    with pytest.raises(InputError, match=r"model_index.json: no such folder"):
        open_tiny(tiny_sd / "model_index.json")
    (sd_copy / "model_index.json").write_text("{")
    with pytest.raises(InputError, match=r"model_index.json: .*; download or save the model again"):
        open_tiny(sd_copy)
    (sd_copy / "model_index.json").write_text('{"_class_name": "X", "vae": ["diffusers", "Y"]}')
    with pytest.raises(InputError, match=r"names neither a unet nor a transformer"):
        open_tiny(sd_copy)
    index = {"_class_name": "AudioPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (sd_copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"cannot be opened as a text-to-image model \(.*Audio"):
        open_tiny(sd_copy)
    with pytest.raises(ValueError, match="4 prompts and 2 seeds"):
        open_tiny(tiny_sd).generate(PROMPTS, SEEDS[:2])


def test_a_name_on_the_hub_is_found_in_the_cache_or_refused(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--somebody--tiny"
    shutil.copytree(tiny_sd, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with no_network():
        diffusion = open_tiny(Path("somebody/tiny"))
        card = diffusion.card()
        assert (card["model"], card["revision"]) == ("somebody/tiny", commit)
        wanted = open_tiny(tiny_sd).generate(PROMPTS, SEEDS).images
        assert (diffusion.generate(PROMPTS, SEEDS).images == wanted).all()
        with pytest.raises(
            InputError, match=r"nobody/none: not in the hub's cache, and the hub is"
        ):
            open_tiny(Path("nobody/none"))
