"""`smile_train.load`: one encoder, whatever it was stored as."""

from pathlib import Path

import pytest
import smile_train
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.files import save_checkpoint
from smile_train.checkpoints.published import save_official
from smile_train.checkpoints.to_transformers import export_transformers
from smile_train.config.pretrain import PretrainConfig
from smile_train.models.config import STUDENTS
from smile_train.models.mae import PretrainModel
from smile_train.training.state import describe

GRID = TokenGrid(frames=4, height=64, width=64)


@pytest.fixture(scope="module")
def model() -> PretrainModel:
    torch.manual_seed(3)
    return PretrainModel(STUDENTS["tiny"], GRID, 1536).eval()


@pytest.fixture(scope="module")
def stored(model: PretrainModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model as a run, a checkpoint, a published file and a folder of transformers."""
    root = tmp_path_factory.mktemp("stored")
    config = PretrainConfig(student="tiny", frames=4, size=64, target="pixel")
    checkpoint = save_checkpoint(
        root / "run/checkpoints",
        7,
        weights=model.state_dict(),
        training={"step": 7},
        config=describe(config, model, steps=7, bank_sha256=""),
        keep=1,
    )
    save_official(root / "model.pth", model, args={"model": "smile"}, epoch=1)
    export_transformers(model, root / "transformers")
    return {
        "run": root / "run",
        "checkpoint": checkpoint,
        "published": root / "model.pth",
        "transformers": root / "transformers",
    }


@pytest.mark.parametrize("kind", ["run", "checkpoint", "published", "transformers"])
def test_features_are_the_same_from_every_store(
    kind: str, stored: dict[str, Path], model: PretrainModel
) -> None:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (2, 4, 64, 64, 3), dtype=torch.uint8, generator=generator)
    encoder = smile_train.load(str(stored[kind]))
    tokens, pooled = encoder.features(video)
    assert encoder.width == 192
    with torch.no_grad():
        expected = model.encoder(video)
    torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(pooled, expected.mean(1), rtol=0, atol=1e-5)
    assert not tokens.requires_grad


def test_what_cannot_be_loaded_is_refused_in_a_line(
    stored: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"this encoder takes \(B, 4, 64, 64, 3\)"):
        smile_train.load(stored["run"]).features(torch.zeros(1, 8, 64, 64, 3))
    with pytest.raises(InputError, match="nowhere: no such run"):
        smile_train.load("./nowhere")
    with pytest.raises(InputError, match="neither a run, nor a checkpoint"):
        smile_train.load(tmp_path)


def test_pixels_of_every_kind_give_the_same_or_are_refused(stored: dict[str, Path]) -> None:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (1, 4, 64, 64, 3), dtype=torch.uint8, generator=generator)
    encoder = smile_train.load(stored["run"])
    expected, _ = encoder.features(video)
    unit = video.double() / 255
    for same in (video.numpy(), unit, unit.float(), unit.numpy()):
        torch.testing.assert_close(encoder.features(same)[0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.features(unit.half())[0], expected, rtol=0, atol=0.02)
    for wrong in (video.long(), video.bool(), video.numpy().astype("int32")):
        with pytest.raises(InputError, match=r"give uint8, or floats in 0\.\.1"):
            encoder.features(wrong)
    for wrong in (video.float(), unit * 2 - 1, torch.full_like(unit, torch.nan)):
        with pytest.raises(InputError, match=r"video is floats from .* to .*; give uint8"):
            encoder.features(wrong)


def test_interpolated_positions_are_not_exported(tmp_path: Path) -> None:
    model = PretrainModel(STUDENTS["tiny"], GRID, 1536, trained=TokenGrid(frames=8))
    with pytest.raises(InputError, match="positions are interpolated"):
        export_transformers(model, tmp_path / "out")
    with pytest.raises(InputError, match="positions are interpolated"):
        save_official(tmp_path / "out.pth", model, args={}, epoch=0)
    assert not list(tmp_path.iterdir())
