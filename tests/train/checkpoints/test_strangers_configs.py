"""Configurations that strangers wrote: known fields, their types, sizes that the weights have."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import smile_train
import torch
from safetensors.torch import load_file, save_file
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.files import write_checkpoint
from smile_train.checkpoints.open import open_backbone, open_checkpoint
from smile_train.checkpoints.to_transformers import export_transformers
from smile_train.models.config import StudentConfig
from smile_train.models.heads import Classifier
from smile_train.models.mae import PretrainModel

GRID = TokenGrid(frames=4, height=32, width=32)
SMALL = StudentConfig(
    width=48, depth=2, heads=3, decoder_width=24, decoder_depth=1, decoder_heads=2
)
Change = Callable[[Path, dict[str, Any]], None]


@pytest.fixture(scope="module")
def model() -> PretrainModel:
    torch.manual_seed(0)
    model = PretrainModel(SMALL, GRID, 3 * GRID.token_pixels)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def folders(model: PretrainModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind that has a configuration."""
    root = tmp_path_factory.mktemp("folders")
    export_transformers(model, root / "transformers", pretraining=True)
    model.save_pretrained(root / "hub")
    config = {
        "student_config": asdict(SMALL),
        "grid": asdict(GRID),
        "trained_grid": asdict(GRID),
        "target_dim": model.target_dim,
    }
    write_checkpoint(root / "checkpoint", 1, weights=model.state_dict(), training={}, config=config)
    classifier = Classifier(SMALL, GRID, 3).eval()
    weights = {
        f"model.{name}": value.clone()
        for name, value in classifier.state_dict().items()
        if not name.startswith("head.")
    }
    (root / "v2").mkdir()
    save_file(weights, root / "v2/model.safetensors")
    described = {
        "model_type": "VideoMAEv2_Base",
        "architectures": ["VideoMAEv2_Base"],
        "auto_map": {"AutoModel": "modeling_videomaev2.VideoMAEv2"},
        "model_config": {
            "img_size": 32, "patch_size": 16, "in_chans": 3, "num_classes": 0, "embed_dim": 48,
            "depth": 2, "num_heads": 3, "mlp_ratio": 4, "qkv_bias": True, "qk_scale": None,
            "norm_layer": "nn.LayerNorm", "layer_norm_eps": 1e-6, "init_values": 0.0,
            "use_learnable_pos_emb": False, "tubelet_size": 2, "use_mean_pooling": True,
            "with_cp": False, "num_frames": 4, "cos_attn": False,
        },
    }  # fmt: skip
    (root / "v2/config.json").write_text(json.dumps(described))
    (root / "v2/modeling_videomaev2.py").write_text("raise SystemExit('was run')")
    return root


def test_a_folder_of_videomae_v2_is_read_without_its_code(folders: Path) -> None:
    backbone = open_backbone(folders / "v2")
    assert backbone.grid == GRID
    assert (backbone.config.width, backbone.config.depth, backbone.config.heads) == (48, 2, 3)
    stored = load_file(folders / "v2/model.safetensors")
    assert {f"model.{name}" for name in backbone.weights} == set(stored)
    loaded = smile_train.load(folders / "v2")
    video = torch.randint(0, 256, (1, 4, 32, 32, 3), dtype=torch.uint8)
    assert loaded.features(video)[0].shape == (1, GRID.tokens, 48)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_biases_under_their_old_names_are_not_lost(
    ending: str, folders: Path, model: PretrainModel, tmp_path: Path
) -> None:
    """Every published folder has them as `q_bias` and `v_bias`; transformers 5 makes them zeros."""
    shutil.copytree(folders / "transformers", tmp_path / "old")
    path = tmp_path / "old/model.safetensors"
    weights = load_file(path)
    path.unlink()
    renamed = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value
        for name, value in weights.items()
    }
    assert set(renamed) != set(weights) or any("q_bias" in name for name in weights)
    if ending == "bin":
        torch.save(renamed, tmp_path / "old/pytorch_model.bin")
    else:
        save_file(renamed, path)
    found = smile_train.load(tmp_path / "old").encoder.state_dict()
    for name, value in model.encoder.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_fields_that_lead_to_code_are_not_looked_at(
    folders: Path, model: PretrainModel, tmp_path: Path
) -> None:
    shutil.copytree(folders / "transformers", tmp_path / "x")
    config = json.loads((tmp_path / "x/config.json").read_text())
    config |= {
        "_attn_implementation": "kernels-community/flash-attn",
        "attn_implementation": "kernels-community/flash-attn",
        "auto_map": {"AutoConfig": "somebody/else--code.Config", "AutoModel": "code.Model"},
        "quantization_config": {"quant_method": "somebody", "modules_to_not_convert": 7},
        "torch_dtype": "os.system",
        "dtype": "float17",
        "architectures": ["../../evil"],
        "_commit_hash": "../..",
        "transformers_version": {"a": 1},
        "trust_remote_code": True,
    }
    (tmp_path / "x/config.json").write_text(json.dumps(config))
    (tmp_path / "x/code.py").write_text("raise SystemExit('was run')")
    found = smile_train.load(tmp_path / "x").encoder.state_dict()
    assert torch.equal(found["norm.weight"], model.encoder.norm.weight)


SIZES: dict[str, tuple[str, str]] = {
    "transformers": ("hidden_size", "num_hidden_layers"),
    "hub": ("student.width", "student.depth"),
    "checkpoint": ("resolved.student_config.width", "resolved.student_config.depth"),
    "v2": ("model_config.embed_dim", "model_config.depth"),
}
"""Where each kind keeps its width and its depth."""
VALUES: dict[str, tuple[int, Any]] = {
    "deep float": (1, 1e6),
    "deep": (1, 1_000_000),
    "deeper than its weights": (1, 200),
    "shallower than its weights": (1, 1),
    "wide": (0, 1 << 40),
    "wider than its weights": (0, 4800),
    "negative": (1, -1),
    "zero": (0, 0),
    "text": (0, "48"),
    "list": (1, [2]),
    "object": (0, {"a": 1}),
    "yes": (1, True),
    "nothing": (1, None),
    "infinite": (1, float("inf")),
}


def change(folder: Path, kind: str, place: str, value: Any, tmp_path: Path) -> Path:
    target = tmp_path / "changed"
    shutil.copytree(folder / kind, target)
    path = target / "config.json"
    config = json.loads(path.read_text())
    part = config
    *above, last = place.split(".")
    for name in above:
        part = part[name]
    part[last] = value
    path.write_text(json.dumps(config))
    if kind == "checkpoint":
        from smile_motion.io.files import hash_file

        manifest = json.loads((target / "manifest.json").read_text())
        manifest["sha256"]["config.json"] = hash_file(path)
        (target / "manifest.json").write_text(json.dumps(manifest))
    return target


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", SIZES)
def test_sizes_that_the_weights_do_not_have_are_refused_before_they_are_built(
    kind: str, value: str, folders: Path, tmp_path: Path
) -> None:
    which, given = VALUES[value]
    path = change(folders, kind, SIZES[kind][which], given, tmp_path)
    readers = [smile_train.load]
    if kind == "checkpoint":
        readers.append(open_checkpoint)
    for read in readers:
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


OTHERS: dict[str, tuple[str, str, Any, str]] = {
    "frames": ("transformers", "num_frames", 10**9, "num_frames is"),
    "pixels": ("transformers", "image_size", [32, 10**7], "image_size"),
    "patch": ("transformers", "patch_size", 0, "patch_size"),
    "heads": ("transformers", "num_attention_heads", 5, "5 heads"),
    "labels": ("transformers", "id2label", {"0": ["x"]}, "id2label"),
    "no labels": ("transformers", "id2label", 3, "id2label"),
    "ratio": ("hub", "student.mlp_ratio", 1e9, "mlp_ratio"),
    "epsilon": ("hub", "student.epsilon", "1e-6", "epsilon"),
    "tokens": ("hub", "grid.frames", 1 << 30, "at most"),
    "grid": ("hub", "grid", [4, 32, 32], "grid"),
    "trained": ("checkpoint", "resolved.trained_grid.width", 1 << 40, "at most"),
    "targets": ("checkpoint", "resolved.target_dim", -5, "target_dim"),
    "learned": ("v2", "model_config.use_learnable_pos_emb", True, "learned positions"),
    "cosine": ("v2", "model_config.cos_attn", True, "cosine attention"),
    "no sizes": ("v2", "model_config", 3, "depth 12"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_fields_are_checked_as_well(name: str, folders: Path, tmp_path: Path) -> None:
    kind, place, value, said = OTHERS[name]
    with pytest.raises(InputError, match=said):
        open_backbone(change(folders, kind, place, value, tmp_path))


def test_names_alone_make_no_deep_model(model: PretrainModel, tmp_path: Path) -> None:
    weights = dict(model.state_dict()) | {"encoder.blocks.99999.norm1.bias": torch.zeros(48)}
    torch.save({"model": weights}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="the last of number 99999"):
        smile_train.load(tmp_path / "x.pth", heads=3)
    args = {"num_frames": 10**9, "input_size": 10**6, "encoder_heads": 3}
    torch.save({"model": model.state_dict(), "args": args}, tmp_path / "y.pth")
    with pytest.raises(InputError, match="at most"):
        smile_train.load(tmp_path / "y.pth")


def test_wide_blocks_in_name_alone_are_not_built(model: PretrainModel, tmp_path: Path) -> None:
    """One block of weights, and many names: the blocks they ask for are never made."""
    weights = dict(model.state_dict())
    for number in range(2, 200):
        weights[f"encoder.blocks.{number}.norm1.bias"] = torch.zeros(1)
    torch.save({"model": weights}, tmp_path / "x.pth")
    for read in (smile_train.load, open_checkpoint):
        with pytest.raises(InputError, match=r"blocks of width 48 and depth 200 have \d+ weights"):
            read(tmp_path / "x.pth", heads=3)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("student.depth", 200, "depth 200, its weights are of 2 blocks"),
        ("student.depth", 10**6, "depth 1000000: expected at most"),
        ("student.width", 4800, "MLP of 19200 x 4800"),
        ("target_dim", 1 << 40, "target_dim 1099511627776, its decoder.head.weight has 1536 rows"),
        ("grid.frames", 1 << 30, "at most"),
    ],
)
def test_from_pretrained_builds_no_more_than_its_weights(
    place: str, value: int, said: str, folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        PretrainModel.from_pretrained(change(folders, "hub", place, value, tmp_path))


def test_from_pretrained_leaves_no_weight_random(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "hub", tmp_path / "x")
    weights = load_file(tmp_path / "x/model.safetensors")
    weights["encoder.renamed.weight"] = weights.pop("encoder.norm.weight")
    save_file(weights, tmp_path / "x/model.safetensors")
    with pytest.raises(InputError, match=r"missing encoder\.norm\.weight"):
        PretrainModel.from_pretrained(tmp_path / "x")
    PretrainModel.from_pretrained(tmp_path / "x", strict=False)
