"""Folders of models: what leads to code, elsewhere, or to impossible sizes is refused unopened."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from smile_motion.bank.candidates.diffusion import Diffusion
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.errors import InputError
from smile_motion.runtime.model_configs import require_plain_configs
from smile_train.teachers import ClipTeacher, TimmTeacher
from support.no_network import no_network
from support.tiny_clip import write_tiny_clip
from support.tiny_segmenters import write_tiny_clipseg


@pytest.fixture(scope="module")
def folders(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import timm
    from timm.models import save_for_hf

    root = tmp_path_factory.mktemp("models")
    small = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
    model = timm.create_model("vit_base_patch16_224", num_classes=0, **small)
    save_for_hf(model, root / "timm", model_args=small, safe_serialization=True)
    return {
        "clipseg": write_tiny_clipseg(root / "clipseg"),
        "diffusion": tiny_sd,
        "clip": write_tiny_clip(root / "clip"),
        "timm": root / "timm",
    }


READERS: dict[str, Callable[[str], object]] = {
    "clipseg": lambda path: open_segmenter(f"clipseg={path}"),
    "diffusion": lambda path: Diffusion.open(path, device="cpu"),
    "clip": ClipScorer.open,
    "timm": TimmTeacher.open,
}

CHANGES: dict[str, tuple[str, str, str, Any, str]] = {
    "attention kernel": (
        "clipseg", "config.json", "_attn_implementation", "kernels-community/x", "other code",
    ),
    "attention kernel below": (
        "clipseg", "config.json", "text_config._attn_implementation", "a/b", "other code",
    ),
    "attention kernels": (
        "clipseg", "config.json", "attn_implementation", {"text_config": "a/b"}, "other code",
    ),
    "private": ("clipseg", "config.json", "_anything", 1, "other code"),
    "auto map": (
        "clipseg", "config.json", "auto_map", {"AutoModel": "code.Model"}, "other code",
    ),
    "tokenizer's auto map": (
        "clipseg", "tokenizer_config.json", "auto_map", {"AutoTokenizer": ["a.B", None]},
        "other code",
    ),
    "quantization": (
        "clipseg", "config.json", "quantization_config", {"quant_method": "x"}, "other code",
    ),
    "deep": ("clipseg", "config.json", "text_config.num_hidden_layers", 1e6, "1000000 layers"),
    "wide": ("clipseg", "config.json", "vision_config.hidden_size", 1 << 20, "beside files of"),
    "words": ("clipseg", "config.json", "text_config.vocab_size", 1 << 40, "at most"),
    "image": ("clipseg", "config.json", "vision_config.image_size", 1 << 20, "1048576 px"),
    "infinite": ("clipseg", "config.json", "logit_scale_init_value", float("inf"), "inf"),
    "module": ("diffusion", "model_index.json", "unet", ["antigravity", "UNet"], "of antigravity"),
    "submodule": (
        "diffusion", "model_index.json", "unet", ["torch.hub", "load"], "load of torch.hub",
    ),
    "class": ("diffusion", "model_index.json", "unet", ["diffusers", "a.b"], "a.b of diffusers"),
    "own code": (
        "diffusion", "model_index.json", "_class_name", ["pipeline", "Mine"],
        "expected a valid string",
    ),
    "part's kernel": (
        "diffusion", "text_encoder/config.json", "_attn_implementation", "a/b", "other code",
    ),
    "part's depth": (
        "diffusion", "text_encoder/config.json", "num_hidden_layers", 10**6, "1000000 layers",
    ),
    "clip's text model": (
        "clip", "open_clip_config.json", "model_cfg.text_cfg.hf_model_name", "a/b", "other code",
    ),
    "clip's tokenizer": (
        "clip", "open_clip_config.json", "model_cfg.text_cfg.tokenizer_kwargs",
        {"trust_remote_code": True}, "other code",
    ),
    "clip's tower": (
        "clip", "open_clip_config.json", "model_cfg.vision_cfg.timm_model_name", "hf-hub:a/b",
        "other code",
    ),
    "clip's depth": (
        "clip", "open_clip_config.json", "model_cfg.vision_cfg.layers", 1e6, "1000000 layers",
    ),
    "clip's width": (
        "clip", "open_clip_config.json", "model_cfg.vision_cfg.width", 1 << 20, "beside files of",
    ),
    "timm's depth": ("timm", "config.json", "model_args.depth", 10**6, "1000000 layers"),
    "timm's width": ("timm", "config.json", "model_args.embed_dim", 1 << 20, "beside files of"),
    "list": ("timm", "config.json", "", [1], "expected an object"),
}  # fmt: skip
"""Which folder, file and entry, what it becomes, and what is said."""


@pytest.mark.parametrize("name", CHANGES)
def test_what_leads_elsewhere_is_refused_unopened(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    kind, file, place, value, said = CHANGES[name]
    copy = tmp_path / "copy"
    shutil.copytree(folders[kind], copy, symlinks=False)
    config: Any = json.loads((copy / file).read_text())
    part = config
    *above, last = place.split(".")
    for step in above:
        part = part[step]
    if place:
        part[last] = value
    else:
        config = value
    (copy / file).write_text(json.dumps(config))
    with no_network() as tried, pytest.raises(InputError) as caught:
        READERS[kind](str(copy))
    assert said in str(caught.value)
    assert str(copy / file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not tried


def test_sound_folders_pass(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        require_plain_configs(folder)
    ClipTeacher.open(str(folders["clip"]))


def test_an_adapter_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clipseg"], tmp_path / "copy")
    (tmp_path / "copy/adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    with pytest.raises(InputError, match="an adapter to another model"):
        open_segmenter(f"clipseg={tmp_path / 'copy'}")
