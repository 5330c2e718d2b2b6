"""Attentive read-outs."""

import numpy as np
import pytest
from smile_train.motion_probe.attentive import read_attentively
from smile_train.motion_probe.scores import read_out


def walks(count: int, seed: int, channels: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (n, 8, 4, 4, D) of a thing that walks left or right from anywhere: whether to the
    right, and how many columns to the right it walks."""
    rng = np.random.default_rng(seed)
    thing = np.random.default_rng(9).standard_normal(channels)
    tokens = rng.standard_normal((count, 8, 4, 4, channels))
    way, steps = rng.integers(0, 2, count), rng.integers(1, 4, count)
    for clip in range(count):
        row, first = rng.integers(0, 4), rng.integers(0, 4 - steps[clip])
        columns = np.rint(np.linspace(first, first + steps[clip], 8)).astype(int)
        columns = columns if way[clip] else columns[::-1]
        tokens[clip, np.arange(8), row, columns] += 3 * thing
    return tokens.astype(np.float16), way.astype(float), np.where(way, steps, -steps) * 1.0


@pytest.mark.parametrize("classes", [2, 0])
def test_an_attentive_read_out_follows_what_moves(classes: int) -> None:
    """The mean of all tokens tells nothing of the way; where the thing is in each slice does."""
    (learn, *known), (choose, *held), (test, *asked) = (
        walks(n, seed) for seed, n in enumerate((240, 80, 200))
    )
    own = 0 if classes else 1
    targets = {"learn": known[own], "choose": held[own]}
    found = read_attentively(learn, choose, test, targets, classes)
    truth = asked[own]
    if classes:
        assert (found.predicted == truth).mean() > 0.9
        flat = [values.astype(np.float32).mean((1, 2, 3)) for values in (learn, choose, test)]
        mean = read_out(flat[0], flat[1], flat[2], targets, classes)
        assert 0.35 < (mean.predicted == truth).mean() < 0.65
    else:
        assert 1 - ((found.predicted - truth) ** 2).mean() / truth.var() > 0.5
    assert 1 <= found.penalty <= 60


def test_an_attentive_read_out_of_noise_guesses() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 4, 2, 2, 16)).astype(np.float16) for n in (320, 80, 400)]
    targets = {name: rng.integers(0, 2, n) for name, n in (("learn", 320), ("choose", 80))}
    found = read_attentively(*parts, targets, 2)
    np.testing.assert_array_equal(read_attentively(*parts, targets, 2).predicted, found.predicted)
    assert 0.4 < (found.predicted == rng.integers(0, 2, 400)).mean() < 0.6
