"""Distributions of the published motion generator, and how to compare with them."""

import json
from pathlib import Path

import numpy as np
import pytest

SHARES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)


class PublishedStatistics:
    """Means and quantiles over 3000 clips of the published code."""

    def __init__(self) -> None:
        path = Path(__file__).parents[1] / "fixtures/official/official_motion_stats.json"
        self.values = json.loads(path.read_text())

    def compare(self, path: str, name: str, values: np.ndarray) -> None:
        """Check mean and quantiles of values (clips, n) to five standard errors of both samples.

        The values of one clip depend on each other, so that clips are what is counted. A quantile
        agrees when the shares of our values below and up to it enclose its probability.
        """

        def error(of_clips: np.ndarray) -> float:
            return 5 * np.sqrt(2) * of_clips.std() / np.sqrt(len(of_clips))

        expected = self.values[path][name]
        allowed = error(values.mean(axis=1)) + 1e-9
        assert values.mean() == pytest.approx(expected["mean"], abs=allowed), name
        quantiles = expected["quantiles_0_1_5_25_50_75_95_99_100"]
        # Published quantiles are rounded to four digits; ours are whole degrees where turned.
        slack = 0.6 if name.endswith("angle_deg") else 1e-4
        few = 3 / len(values)
        for share, quantile in zip(SHARES[1:-1], quantiles[1:-1], strict=True):
            below = (values < quantile - slack).mean(axis=1)
            up_to = (values <= quantile + slack).mean(axis=1)
            assert below.mean() - error(below) - few <= share, (name, share)
            assert share <= up_to.mean() + error(up_to) + few, (name, share)
