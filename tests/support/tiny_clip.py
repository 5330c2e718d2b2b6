"""A small local CLIP with random weights, as open_clip writes one for the hub."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file


def write_tiny_clip(folder: Path, *, side: int = 64, patch: int = 16, seed: int = 5) -> Path:
    """Write a CLIP as open_clip writes one for the hub; it reads text with the full vocabulary."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": side,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 16,
            "heads": 1,
            "layers": 1,
        },
    }
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    folder.mkdir(parents=True, exist_ok=True)
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described), encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.model.CLIP(**{**config, "quick_gelu": True})
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder
