"""Objects of which several look alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from smile_motion.bank.builder.sources import SourceObject
from smile_motion.bank.dedup import fingerprint

VARIANTS = ("as it is", "smaller", "recompressed")


@dataclass(frozen=True)
class Repeated:
    """Each photograph three times, as it is, made smaller and recompressed, and in two categories;
    the recompressed one has the best score."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    @property
    def count(self) -> int:
        return 6 * len(self.files)

    def make(self, number: int) -> SourceObject:
        category, rest = divmod(number, 3 * len(self.files))
        place, variant = divmod(rest, 3)
        image = cv2.resize(cv2.imread(str(self.files[place])), (180, 150), interpolation=3)
        if variant == 1:
            image = cv2.resize(image, (120, 100), interpolation=cv2.INTER_AREA)
        if variant == 2:
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        alpha = np.zeros((height, width), np.uint8)
        centre, axes = (width // 2, height // 2), (width // 2 - 1, height // 2 - 1)
        cv2.ellipse(alpha, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        rgba = np.dstack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB), alpha])
        details = {"score": 20.0 + variant, "segmenter": "u2net", "variant": VARIANTS[variant]}
        if category == 1:
            details["fingerprint"] = fingerprint(rgba)
        return SourceObject(f"{rest:06d}", ("inside", "outside")[category], rgba, details)

    def card(self) -> dict[str, Any]:
        counts, choice = {"made": 40}, {"by": "build"}
        return {"source": "photographs", "choice": choice, "counts": counts, "licence": "mit"}
