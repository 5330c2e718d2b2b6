import shutil
import sys
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image
from smile_motion.bank import FolderSource, ObjectBank, build
from smile_motion.bank.sources.shapes import ShapeKind, ShapeSource

sys.path.insert(0, str(Path(__file__).parent))

from published import PublishedStatistics


@pytest.fixture(scope="session")
def published() -> PublishedStatistics:
    """What the published motion generator does."""
    return PublishedStatistics()


@pytest.fixture(scope="session")
def split_bank(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> ObjectBank:
    """Real cut-outs in categories whose names `datasets` takes for splits, and one other."""
    folder = tmp_path_factory.mktemp("split")
    names = ("bullet_train", "test_tube", "cat")
    for number, path in enumerate(sorted(photographs.iterdir())):
        image = cv2.resize(cv2.imread(str(path)), (160, 120), interpolation=cv2.INTER_AREA)
        alpha = np.zeros(image.shape[:2], np.uint8)
        cv2.ellipse(alpha, (80, 60), (70, 50), 0, 0, 360, 255, -1, cv2.LINE_AA)
        target = folder / "rgba" / names[number % 3] / f"{path.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), np.dstack([image, alpha]))
    return build(FolderSource.open(folder / "rgba"), folder / "bank", workers=0)


@pytest.fixture(scope="session")
def disc() -> np.ndarray:
    """A disc right of the middle of a landscape image: (160, 240) bool."""
    y, x = np.mgrid[:160, :240]
    return np.hypot(x - 150, y - 80) < 55


@pytest.fixture(scope="session")
def pasted(photographs: Path, disc: np.ndarray) -> np.ndarray:
    """Real photographs seen through the disc, on plain grounds of several colours."""
    grounds = [(255, 255, 255), (0, 0, 0), (20, 200, 40)]
    images = []
    for name, ground in zip(("chelsea", "coffee", "flower"), grounds, strict=True):
        path = next(photographs.glob(f"{name}.*"))
        photograph = np.asarray(Image.open(path).convert("RGB").resize((240, 160)))
        images.append(np.where(disc[..., None], photograph, np.uint8(ground)))
    return np.stack(images)


@pytest.fixture(scope="session")
def shape_banks(
    photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ObjectBank]:
    """A bank of 36 objects of every kind of shape."""
    folder = tmp_path_factory.mktemp("shapes")
    return {
        kind: build(ShapeSource.open(kind, count=36, images=photographs), folder / kind, workers=0)
        for kind in get_args(ShapeKind)
    }


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion without a safety checker."""
    from tiny_pipelines import write_tiny_stable_diffusion

    return write_tiny_stable_diffusion(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="session")
def checked_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion whose safety checker flags some images."""
    from tiny_pipelines import write_tiny_stable_diffusion

    folder = tmp_path_factory.mktemp("models") / "checked"
    return write_tiny_stable_diffusion(folder, safety_checker="flags some")


@pytest.fixture
def sd_copy(checked_sd: Path, tmp_path: Path) -> Path:
    """A copy of `checked_sd` to break."""
    return Path(shutil.copytree(checked_sd, tmp_path / "sd_copy"))
