from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import cv2
import numpy as np
import pytest
from PIL import Image
from smile_motion.bank import FolderSource, ObjectBank, build
from smile_motion.bank.builder.shapes import ShapeKind, ShapeSource
from support import forked
from support.published import PublishedStatistics
from support.repeated_photographs import Repeated

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from smile_motion.bank.candidates.build import Models
    from support.candidate_builds import TinyModels


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
    from support.tiny_pipelines import write_tiny_stable_diffusion

    return write_tiny_stable_diffusion(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="session")
def checked_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion whose safety checker flags some images."""
    from support.tiny_pipelines import write_tiny_stable_diffusion

    folder = tmp_path_factory.mktemp("models") / "checked"
    return write_tiny_stable_diffusion(folder, safety_checker="flags some")


@pytest.fixture
def sd_copy(checked_sd: Path, tmp_path: Path) -> Path:
    """A copy of `checked_sd` to break."""
    return Path(shutil.copytree(checked_sd, tmp_path / "sd_copy"))


@pytest.fixture(scope="session")
def tiny_models(make_once: Callable[[str, Callable[[Path], object]], Path]) -> TinyModels:
    """Folders of small models for builds from candidates."""
    from support.candidate_builds import TinyModels

    return TinyModels(make_once("tiny-models", TinyModels.write))


@pytest.fixture(scope="session")
def models(tiny_models: TinyModels) -> Models:
    """The same, opened."""
    import torch

    torch.set_num_threads(1)
    return tiny_models.open()


@pytest.fixture(scope="session")
def built_bank(models: Models, make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A bank that was built from candidates in one go."""
    from smile_motion.bank.candidates.build import build_from_candidates
    from support.candidate_builds import plan

    return make_once("built-bank", lambda out: build_from_candidates(plan(), lambda: models, out))


@pytest.fixture(scope="session")
def repeated(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> ObjectBank:
    """A bank of 36 objects, of which 12 remain when each is kept once."""
    return build(Repeated(photographs), tmp_path_factory.mktemp("repeated") / "bank", workers=0)


@pytest.fixture
def bank_copy(repeated: ObjectBank, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(repeated.path, tmp_path / "copy"))


@pytest.fixture
def run_bank(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Call `smile-motion bank …` in a process whose folder is `tmp_path`."""

    def call(*arguments: object) -> subprocess.CompletedProcess:
        return forked.run("smile_motion", ["bank", *arguments], cwd=tmp_path)

    return call


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; without it these tests are left out, unless they are required."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(chromium).exists() and not os.environ.get("SMILE_REQUIRE_BROWSER"):
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()
