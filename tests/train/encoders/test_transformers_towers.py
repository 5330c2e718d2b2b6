"""Video encoders of transformers, against transformers' own models and processors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import smile_train
import torch
from safetensors.torch import load_file, save_file
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.open import open_backbone
from support.tiny_models import seeded

SMALL: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
FRAMES, SIDE = 4, 32
KINDS = ("vjepa2", "vivit", "timesformer")


def make(kind: str) -> tuple[Any, Any]:
    """A tiny model of a kind, and the processor of its clips with numbers of its own."""
    import transformers

    clips = {"image_size": SIDE, "num_frames": FRAMES, "intermediate_size": 96}
    processing: dict[str, Any] = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    processing |= {"do_resize": False, "do_center_crop": False}
    match kind:
        case "vjepa2":
            config = transformers.VJEPA2Config(
                **SMALL, crop_size=SIDE, frames_per_clip=FRAMES, pred_hidden_size=24,
                pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1,
            )  # fmt: skip
            return transformers.VJEPA2Model(config), transformers.VJEPA2VideoProcessor(**processing)
        case "vivit":
            config = transformers.VivitConfig(**SMALL, **clips, tubelet_size=[2, 16, 16])
            processor = transformers.VivitVideoProcessor(**processing)
            return transformers.VivitForVideoClassification(config), processor
        case _:
            config = transformers.TimesformerConfig(**SMALL, **clips)
            processor = transformers.TimesformerVideoProcessor(**processing)
            return transformers.TimesformerModel(config), processor


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind, as `save_pretrained` writes it; no weight is zero."""
    root = tmp_path_factory.mktemp("towers")
    for kind in KINDS:
        with seeded(4), torch.no_grad():
            model, processor = make(kind)
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(root / kind)
        processor.save_pretrained(root / kind)
    return {kind: root / kind for kind in KINDS}


def video() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, FRAMES, SIDE, SIDE, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@torch.no_grad()
def their_tokens(folder: Path, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Patch tokens in time, row, column order, and the clip's vector, by transformers alone."""
    from transformers import AutoModel, AutoVideoProcessor

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoVideoProcessor.from_pretrained(folder)
    inputs = processor(list(video().permute(0, 1, 4, 2, 3)), return_tensors="pt")
    tokens = model(**inputs).last_hidden_state
    if kind == "vjepa2":
        return tokens, tokens.mean(1)
    patches, first = tokens[:, 1:], tokens[:, 0]
    if kind == "timesformer":
        patches = torch.stack([patches[:, t::FRAMES] for t in range(FRAMES)], 1).flatten(1, 2)
    return patches, first


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(kind: str, folders: dict[str, Path]) -> None:
    model = smile_train.load(folders[kind])
    slices = FRAMES if kind == "timesformer" else FRAMES // 2
    assert model.grid.shape == (slices, 2, 2)
    assert model.grid.frames == FRAMES
    tokens, pooled = model.features(video())
    expected, vector = their_tokens(folders[kind], kind)
    torch.testing.assert_close(tokens, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(pooled, vector, rtol=0, atol=2e-5)
    assert model.frame_features(video()).shape == (2, slices, 48)


def test_tokens_of_a_timesformer_lie_in_time_order(folders: dict[str, Path]) -> None:
    """What changes in a frame shows most in its slice."""
    model = smile_train.load(folders["timesformer"])
    other = video()
    other[:, 3] = 255 - other[:, 3]
    change = (model.frame_features(other) - model.frame_features(video())).norm(dim=-1)
    assert change.argmax(1).tolist() == [3, 3]


def test_a_probe_of_motion_takes_one(folders: dict[str, Path], tmp_path: Path) -> None:
    arguments = [
        *("probe", "motion", str(folders["timesformer"]), f"--out={tmp_path / 'out'}"),
        *("--factors=direction", "--clips=80", "--test-clips=80", "--seeds=1"),
        *("--background=black", f"--cache={tmp_path / 'cache'}", "--precision=fp32"),
    ]
    assert run_app("smile_train", "", COMMANDS, arguments) == 0
    content = json.loads((tmp_path / "out/motion.json").read_text())
    assert any("4 of 16 frames, the nearest in time" in line for line in content["said"])
    assert {own["encoder"] for own in content["findings"]} == {
        "timesformer", "timesformer, random weights", "raw pixels",
    }  # fmt: skip


def test_without_a_processor_defaults_are_said(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folders["vivit"], tmp_path / "bare")
    for path in (tmp_path / "bare").glob("*preprocessor*"):
        path.unlink()
    model = smile_train.load(tmp_path / "bare")
    assert "no preprocessor_config.json; pixels are standardized" in caplog.text
    # x / 127.5 - 1, then less one half, through one half: of a unit the mean is .75, deviation .25
    assert model.encoder.mean == pytest.approx((0.75,) * 3)
    assert model.encoder.std == pytest.approx((0.25,) * 3)


def test_nothing_is_trained_from_one(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"a V-JEPA 2, of another architecture.*probe motion"):
        open_backbone(folders["vjepa2"])


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("vivit", {"num_hidden_layers": 3}, "asks for .* weights, there are"),
        ("vivit", {"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ("vivit", {"image_size": [32, 64]}, "frames of 32 x 64 px"),
        ("vivit", {"num_attention_heads": 5}, "asks for .* weights, there are"),
        ("vjepa2", {"num_attention_heads": 5}, "no V-JEPA 2 can be built of it"),
        ("vjepa2", {"hidden_act": "os.system"}, "hidden_act 'os.system' is not known"),
        ("vjepa2", {"crop_size": 40}, "height 40 is not a positive multiple"),
        ("timesformer", {"attention_type": "space_only"}, "attention_type"),
        ("timesformer", {"num_frames": "8"}, "num_frames"),
    ],
)
def test_strangers_configurations_are_refused_in_a_line(
    kind: str, change: dict[str, Any], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=said) as caught:
        smile_train.load(folder)
    assert "\n" not in str(caught.value)


def test_no_code_beside_a_configuration_is_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["vjepa2"], tmp_path / "code")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "evil.Model"}, "architectures": ["Evil"]}
    config |= {"_attn_implementation": "evil/kernel", "quantization_config": {"quant_method": "x"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('was run')")
    smile_train.load(folder)


def test_weights_of_other_names_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["timesformer"], tmp_path / "named")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.other"] = weights.pop("embeddings.time_embeddings")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match="TimeSformer with missing weights"):
        smile_train.load(folder)
