"""A teacher, a student and labeled videos for the training tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small local CLIP."""
    from support.tiny_clip import write_tiny_clip

    return write_tiny_clip(tmp_path_factory.mktemp("teachers") / "tiny-clip")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose small student, of 8 frames of 64 x 64, has learned nothing yet."""
    import torch
    from smile_motion.tokens import TokenGrid
    from smile_train.checkpoints.files import save_checkpoint
    from smile_train.config.pretrain import PretrainConfig
    from smile_train.models.config import STUDENTS
    from smile_train.models.mae import PretrainModel
    from smile_train.training.state import describe

    run = tmp_path_factory.mktemp("pretrained") / "run"
    torch.manual_seed(0)
    model = PretrainModel(STUDENTS["mini"], TokenGrid(frames=8, height=64, width=64), 1536)
    config = PretrainConfig(student="mini", frames=8, size=64, target="pixel")
    save_checkpoint(
        run / "checkpoints",
        1,
        weights=model.state_dict(),
        training={"step": 1},
        config=describe(config, model, steps=1, bank_sha256=""),
        keep=1,
    )
    return run


@pytest.fixture(scope="session")
def scenes(
    make_once: Callable[[str, Callable[[Path], object]], Path], real_videos: dict[str, Path]
) -> Path:
    """Two classes that a small model can tell apart: moments of two real videos."""
    from support.labeled import write_class_folders

    def write(folder: Path) -> None:
        write_class_folders(folder / "data", real_videos, train=12, test=6)

    return make_once("scenes", write) / "data"


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory, real_videos: dict[str, Path]) -> Path:
    """One second of a real video, 8 frames."""
    from support.labeled import cut_clips

    folder = tmp_path_factory.mktemp("second") / "clips"
    cut_clips(real_videos["bikes"], folder, 1, frames=8)
    return folder / "00.mp4"


@pytest.fixture
def put(second: Path, tmp_path: Path) -> Callable[..., None]:
    """Have that second under names below the test's folder."""

    def link(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(second, path)

    return link
