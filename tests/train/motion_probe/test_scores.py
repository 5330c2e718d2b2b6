"""Linear read-outs and their scores."""

import numpy as np
from smile_train.motion_probe.config import FACTORS
from smile_train.motion_probe.scores import read_out, score


def test_ridge_finds_what_is_linear_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 40)).astype(np.float32)
    hidden = features @ rng.standard_normal(40)
    parts = slice(0, 300), slice(300, 400), slice(400, 600)
    for truth, expected in ((hidden, (99, 100)), (rng.standard_normal(600), (-20, 10))):
        answers = read_out(
            features[parts[0]],
            features[parts[1]],
            features[parts[2]],
            {"learn": truth[parts[0]], "choose": truth[parts[1]]},
            0,
        )
        reached = score(FACTORS["speed"], [answers.predicted], [truth[parts[2]]])
        assert expected[0] <= reached.value <= expected[1]
        assert reached.low <= reached.value <= reached.high


def test_a_pair_counts_when_both_are_right() -> None:
    truth = np.tile([0.0, 1.0], 50)
    answers = truth.copy()
    answers[:40:2] = 1  # One clip of each of twenty pairs.
    assert score(FACTORS["pairs"], [answers], [truth]).value == 60
    assert score(FACTORS["growth"], [answers], [truth]).value == 80
