import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from smile_motion.bank import FolderSource, ObjectBank, build

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
