import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.errors import InputError
from smile_motion.motion.paths import AcceleratingPath
from smile_motion.motion.sizes import DeadLeavesSize
from smile_motion.motion.transforms import SteadyRates, VideoTime

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, side=st.sampled_from([112, 224]))
def test_sizes_are_diameters_in_the_range(seed: int, side: int) -> None:
    aspect = np.array([1.0, 0.5, 2.0])
    size = DeadLeavesSize().draw(np.random.default_rng(seed), aspect, side)
    assert (size.max(axis=1) >= 2 * 0.1 * side - 1e-9).all()
    assert (size.max(axis=1) <= 2 * side + 1e-9).all()
    np.testing.assert_allclose(size[:, 0] / size[:, 1], aspect)


def test_radii_follow_the_law_of_dead_leaves() -> None:
    count = 200_000
    size = DeadLeavesSize().draw(np.random.default_rng(0), np.ones(count), 1.0)
    radius = np.sort(size[:, 0] / 2)

    def below(r: np.ndarray) -> np.ndarray:
        return (0.1**-2 - r**-2.0) / 2 - (r - 0.1)

    grid = np.linspace(0.12, 0.95, 12)
    found = np.searchsorted(radius, grid) / count
    np.testing.assert_allclose(found, below(grid) / below(np.array(1.0)), atol=0.005)


@given(
    seed=SEEDS,
    frames=st.integers(1, 40),
    stride=st.integers(1, 8),
    acceleration=st.sampled_from([0.0, 0.0525]),
)
def test_paths_are_straight_and_change_speed_steadily(
    seed: int, frames: int, stride: int, acceleration: float
) -> None:
    law = AcceleratingPath(acceleration_px=acceleration, time=VideoTime(stride=stride))
    centre = law.draw(np.random.default_rng(seed), frames, (224, 320), np.ones((5, 2)))
    assert centre.shape == (5, frames, 2)
    middle = centre[:, frames // 2]
    assert (np.abs((middle + 0.5) / [320, 224] - 0.5) <= 1).all()
    change = np.diff(centre, n=2, axis=1)
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :1], change.shape), atol=1e-6)
    assert (np.linalg.norm(change, axis=2) <= acceleration * stride**2 + 1e-6).all()
    step = np.linalg.norm(np.diff(centre, axis=1), axis=2)
    if acceleration == 0:
        assert (step >= 1.05 * stride - 1e-6).all()
        assert (step <= 2.625 * stride + 1e-6).all()
    ends = centre[:, -1] - centre[:, 0]
    off = centre - centre[:, :1]
    cross = off[..., 0] * ends[:, None, 1] - off[..., 1] * ends[:, None, 0]
    np.testing.assert_allclose(cross, 0, atol=1e-4)


def test_paths_scale_with_the_frame() -> None:
    law, one = AcceleratingPath(), np.ones((4, 2))
    small = law.draw(np.random.default_rng(5), 16, (112, 112), one)
    large = law.draw(np.random.default_rng(5), 16, (224, 224), one)
    np.testing.assert_allclose((small + 0.5) * 2, large + 0.5)


@given(seed=SEEDS, frames=st.integers(2, 64))
def test_rates_are_steady_and_within_the_published_ranges(seed: int, frames: int) -> None:
    angle, scale = SteadyRates().draw(np.random.default_rng(seed), 6, frames)
    turn, growth = np.diff(angle, axis=1), scale[:, 1:] / scale[:, :-1]
    np.testing.assert_allclose(turn, np.broadcast_to(turn[:, :1], turn.shape), atol=1e-9)
    np.testing.assert_allclose(growth, np.broadcast_to(growth[:, :1], growth.shape))
    assert (np.abs(turn) <= 4 * 1.8 + 1e-9).all()
    assert (growth >= (1 - 0.005) ** 4 - 1e-9).all()
    assert (growth <= (1 + 0.005) ** 4 + 1e-9).all()


def test_clips_begin_anywhere_in_the_video_and_end_in_it() -> None:
    time = VideoTime().draw(np.random.default_rng(0), 4000, 16)
    assert time.min() == 0
    assert 190 <= time.max() < 200
    assert (np.diff(time, axis=1) == 4).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeadLeavesSize(radius_share=(0.0, 1.0)), "radius_share"),
        (lambda: DeadLeavesSize(power=0), "power is 0"),
        (lambda: VideoTime(stride=0), "stride is 0"),
        (lambda: VideoTime(duration=(9, 3)), "duration is"),
        (lambda: AcceleratingPath(speed_px=(3.0, 1.0)), "speed_px"),
        (lambda: AcceleratingPath(margin=-1), "margin is -1"),
        (lambda: SteadyRates(scale=1.0), "scale is 1.0"),
        (lambda: SteadyRates(rotation_deg=-1), "rotation_deg is -1"),
    ],
)
def test_impossible_motions_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
