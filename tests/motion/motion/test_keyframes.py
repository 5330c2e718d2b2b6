import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.errors import InputError
from smile_motion.motion.transforms import KeyframeRates, KeyframeValues, Segments, interpolate


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 3))
def test_values_stay_in_range_and_bend_at_the_keyframes_only(
    seed: int, frames: int, inner: int
) -> None:
    law = KeyframeValues(inner=inner)
    angle, scale = law.draw(np.random.default_rng(seed), 2, frames)
    assert angle.shape == (2, frames)
    assert scale.shape == (2, frames, 2)
    assert (np.abs(angle) <= 90).all()
    assert (scale >= 0.5).all()
    assert (scale <= 1.5).all()
    assert (scale[..., 0] == scale[..., 1]).all()
    bends = np.abs(np.diff(angle, n=2, axis=1)) > 1e-9
    assert (bends.sum(axis=1) <= inner).all()


def test_rotation_and_scaling_can_be_turned_off() -> None:
    still = KeyframeValues(rotation_deg=(0, 0), scale=(1, 1))
    angle, scale = still.draw(np.random.default_rng(0), 2, 16)
    assert (angle == 0).all()
    assert (scale == 1).all()


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_rates_start_neutral_and_are_bounded(seed: int, frames: int) -> None:
    angle, scale = KeyframeRates().draw(np.random.default_rng(seed), 3, frames)
    assert (angle[:, 0] == 0).all()
    assert (scale[:, 0] == 1).all()
    if frames > 1:
        assert np.abs(np.diff(angle, axis=1)).max() <= 12
    assert (np.abs(np.log(scale)) <= 0.025 * (frames - 1) + 1e-9).all()


def test_easing_accelerates_and_decelerates() -> None:
    times, values = np.array([0, 4, 8]), np.array([[0.0], [16.0], [32.0]])
    eased = interpolate(times, values, np.array([1, 2]), 9)[:, 0]
    assert eased.tolist() == [0, 1, 4, 9, 16, 23, 28, 31, 32]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (0.0, 1.0)}, "must be above 0"),
        ({"rotation_deg": (10, -10)}, "smaller bound first"),
        ({"inner": -1}, "0 or more"),
    ],
)
def test_impossible_values_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KeyframeValues(**arguments)


def test_shares_must_be_probabilities() -> None:
    with pytest.raises(InputError, match="sum to 1"):
        Segments(inner_share=(0.5, 0.2))
