"""Models to other tools and back: transformers, ONNX Runtime, the hub."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import smile_train
import torch
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import write_checkpoint
from smile_train.checkpoints.from_transformers import from_transformers
from smile_train.checkpoints.onnx import export_onnx
from smile_train.checkpoints.open import open_model
from smile_train.checkpoints.published import save_official
from smile_train.checkpoints.to_transformers import (
    classifier_to_transformers,
    export_transformers,
    pretraining_to_transformers,
)
from smile_train.models.config import StudentConfig
from smile_train.models.heads import Classifier
from smile_train.models.mae import PretrainModel
from support import forked
from support.hub_server import ANEW, OWNER, READER, TOKEN, running_hub

GRID = TokenGrid(frames=4, height=64, width=64)
SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2
)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Biases and norms that are not zeros and ones, so that none can be lost unseen."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.2, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def pretrained() -> PretrainModel:
    torch.manual_seed(0)
    return shaken(PretrainModel(SMALL, GRID, 3 * GRID.token_pixels))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(1)
    return shaken(Classifier(SMALL, GRID, 5, head_scale=1.0))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 4, 64, 64, 3), dtype=torch.uint8, generator=generator)


def standardised(video: torch.Tensor, model: PretrainModel | Classifier) -> torch.Tensor:
    embed = model.encoder.patch_embed if isinstance(model, PretrainModel) else model.patch_embed
    return ((video / 255 - embed.mean) / embed.std).permute(0, 1, 4, 2, 3)


def masks() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    masked = torch.zeros(2, GRID.tokens, dtype=torch.bool)
    masked[:, ::3] = True
    numbers = torch.arange(GRID.tokens)
    return masked, numbers[~masked[0]].expand(2, -1), numbers[masked[0]].expand(2, -1)


@torch.no_grad()
def test_a_pre_training_model_goes_to_transformers_and_its_encoder_back(
    pretrained: PretrainModel, video: torch.Tensor, tmp_path: Path
) -> None:
    masked, visible, hidden = masks()
    expected = pretrained(video, visible, hidden)
    pixels = standardised(video, pretrained)
    theirs = pretraining_to_transformers(pretrained)
    theirs.config.norm_pix_loss = True
    found = theirs(pixels, bool_masked_pos=masked).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    export_transformers(pretrained, tmp_path / "out", pretraining=True)
    # Read again, transformers has its own epsilon before the head.
    read = type(theirs).from_pretrained(tmp_path / "out").eval()
    reread = read(pixels, bool_masked_pos=masked).logits
    torch.testing.assert_close(reread, expected, rtol=1e-4, atol=1e-4)
    encoder, _ = from_transformers(tmp_path / "out")
    features = pretrained.encoder(video)
    torch.testing.assert_close(encoder(video), features, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_classifier_goes_to_transformers_and_back(
    classifier: Classifier, video: torch.Tensor, tmp_path: Path
) -> None:
    names = ("a", "b", "c", "d", "e")
    expected = classifier(video)
    theirs = classifier_to_transformers(classifier, names)
    pixels = standardised(video, classifier)
    torch.testing.assert_close(theirs(pixels).logits, expected, rtol=0, atol=1e-5)
    export_transformers(classifier, tmp_path / "out", classes=names)
    read = type(theirs).from_pretrained(tmp_path / "out").eval()
    assert read.config.id2label == dict(enumerate(names))
    opened, classes, _ = open_model(tmp_path / "out")
    assert classes == names
    torch.testing.assert_close(opened(video), read(pixels).logits, rtol=0, atol=1e-5)


@torch.no_grad()
def test_their_processor_standardises_as_our_models_do(
    classifier: Classifier, video: torch.Tensor, tmp_path: Path
) -> None:
    from transformers import VideoMAEImageProcessor

    export_transformers(classifier, tmp_path / "out")
    processor = VideoMAEImageProcessor.from_pretrained(tmp_path / "out")
    pixels = processor([list(clip.numpy()) for clip in video], return_tensors="pt").pixel_values
    torch.testing.assert_close(pixels, standardised(video, classifier), rtol=0, atol=1e-5)


def test_features_have_no_pre_training_model_in_transformers(tmp_path: Path) -> None:
    model = PretrainModel(SMALL, GRID, 768)
    with pytest.raises(InputError, match="predicts 768 values a token"):
        export_transformers(model, tmp_path / "out", pretraining=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@torch.no_grad()
def test_onnx_runtime_gives_the_same(
    pretrained: PretrainModel, classifier: Classifier, video: torch.Tensor, tmp_path: Path
) -> None:
    assert export_onnx(pretrained.encoder, tmp_path / "encoder.onnx") < 1e-4
    assert export_onnx(classifier, tmp_path / "classifier.onnx") < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    for count in (1, 2):
        tokens, pooled = session.run(None, {"video": video[:count].numpy()})
        expected = pretrained.encoder(video[:count])
        assert np.abs(tokens - expected.numpy()).max() < 1e-4
        assert np.abs(pooled - expected.mean(1).numpy()).max() < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "classifier.onnx")
    (scores,) = session.run(None, {"video": video.numpy()})
    assert np.abs(scores - classifier(video).numpy()).max() < 1e-4
    with pytest.raises(InputError, match="exists"):
        export_onnx(classifier, tmp_path / "classifier.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "classifier.onnx"}


@torch.no_grad()
def test_models_are_saved_and_loaded_as_the_hub_does(
    pretrained: PretrainModel, classifier: Classifier, video: torch.Tensor, tmp_path: Path
) -> None:
    for model, kind in ((pretrained, PretrainModel), (classifier, Classifier)):
        folder = tmp_path / kind.__name__
        model.save_pretrained(folder)
        again = kind.from_pretrained(folder)
        assert again.config == model.config
        assert again.grid == model.grid
        weights = model.state_dict()
        assert all(torch.equal(weights[name], w) for name, w in again.state_dict().items())
        assert "smile-train" in (folder / "README.md").read_text()
    tokens, _ = smile_train.load(tmp_path / "PretrainModel").features(video)
    torch.testing.assert_close(tokens, pretrained.encoder(video), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_command_exports_a_classifier_everywhere(
    classifier: Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import asdict

    config = {
        "model": "classifier",
        "classes": ["a", "b", "c", "d", "e"],
        "student_config": asdict(classifier.config),
        "grid": asdict(classifier.grid),
        "trained_grid": asdict(classifier.grid),
    }
    run = tmp_path / "run"
    run.mkdir()
    write_checkpoint(run / "best", 1, weights=classifier.state_dict(), training={}, config=config)
    outs = {"transformers": "folder", "onnx": "x.onnx", "official": "x.pth", "hub": "hub"}
    for kind, name in outs.items():
        arguments = ["export", str(run), f"--out={tmp_path / name}", f"--to={kind}"]
        assert run_app("smile_train", "", COMMANDS, arguments) == 0, capsys.readouterr().err
        if kind != "onnx":
            opened, classes, _ = open_model(tmp_path / name, heads=2)
            weights = opened.state_dict()
            assert all(torch.equal(weights[n], w) for n, w in classifier.state_dict().items())
            assert classes == (() if kind == "official" else tuple("abcde"))
    hub = Classifier.from_pretrained(tmp_path / "hub")
    assert hub.class_names == tuple("abcde")
    arguments = ["export", str(run), f"--out={tmp_path / 'y.onnx'}", "--to=onnx", "--push=a/b"]
    assert run_app("smile_train", "", COMMANDS, arguments) == 2
    assert "writes a file; push one of the folders" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_goes_to_the_hub_and_comes_back(
    pretrained: PretrainModel, video: torch.Tensor, tmp_path: Path
) -> None:
    """Through the real client, to a small hub on this machine."""
    save_official(tmp_path / "model.pth", pretrained, args={}, epoch=0)
    read = (
        "import sys, torch, smile_train; model = smile_train.load(sys.argv[1]); "
        "torch.save(model.features(torch.load(sys.argv[2]))[0], sys.argv[3])"
    )
    torch.save(video, tmp_path / "video.pt")
    with running_hub() as hub:
        known = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}

        def call(*command: str) -> subprocess.CompletedProcess:
            return subprocess.run(
                [sys.executable, *command], capture_output=True, text=True, check=False,
                env=known | told,
            )  # fmt: skip

        def push(folder: str, name: str, **changed: str) -> subprocess.CompletedProcess:
            words = ["export", tmp_path / "model.pth", "--to=hub"]
            words += [f"--out={tmp_path / folder}", f"--push={OWNER}/{name}"]
            environment = dict.fromkeys(set(os.environ) - set(known)) | told | changed
            return forked.run("smile_train", words, environment=environment, prepare=ANEW)

        pushed = push("out", "small")
        assert pushed.returncode == 0, pushed.stderr
        files = hub.repositories[f"{OWNER}/small"].commits
        assert any(
            {"config.json", "model.safetensors", "README.md"} <= set(f) for f in files.values()
        )
        loaded = call(
            "-c", read, f"{OWNER}/small", str(tmp_path / "video.pt"), str(tmp_path / "t.pt")
        )
        assert loaded.returncode == 0, loaded.stderr
        with torch.no_grad():
            expected = pretrained.encoder(video)
        torch.testing.assert_close(torch.load(tmp_path / "t.pt"), expected, rtol=0, atol=1e-6)
        refused = push("b", "other", HF_TOKEN=READER)
        assert refused.returncode == 2
        assert "the token may not write to it (403)" in refused.stderr
        unknown = call("-c", read, f"{OWNER}/nothing", "a", "b")
        assert "no such repository at" in unknown.stderr
