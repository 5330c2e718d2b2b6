import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from smile_motion.errors import InputError
from smile_motion.paths import GaussianPath, LinearPath, smooth_path


def test_smoothing_is_the_gaussian_filter_of_each_axis_sampled_evenly() -> None:
    points = np.random.default_rng(3).uniform(0, 224, size=(48, 2))
    path = smooth_path(points, 8.0, 16)
    expected = gaussian_filter1d(points, 8.0, axis=0, mode="reflect")
    np.testing.assert_allclose(path, expected[np.linspace(0, 47, 16).astype(int)], atol=1e-9)


def test_too_few_way_points_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="10 way-points are too few for 16 frames"):
        smooth_path(np.zeros((10, 2)), 8.0, 16)


@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_a_filter_without_width_is_refused(sigma: float) -> None:
    with pytest.raises(InputError, match="sigma is"):
        GaussianPath(sigma=sigma)
    with pytest.raises(InputError, match="sigma is"):
        smooth_path(np.zeros((48, 2)), sigma, 16)


@given(st.integers(0, 2**32), st.sampled_from([(224, 224), (112, 160), (448, 336)]))
def test_gaussian_centres_stay_in_the_frame_and_span_the_asked_extent(
    seed: int, frame_size: tuple[int, int]
) -> None:
    path = GaussianPath().draw(np.random.default_rng(seed), 16, frame_size, np.full((3, 2), 50.0))
    high = np.array([frame_size[1], frame_size[0]]) - 0.5
    assert path.shape == (3, 16, 2)
    assert (path >= -0.5).all()
    assert (path <= high).all()
    extent = np.ptp(path, axis=1) / (np.array([frame_size[1], frame_size[0]]) / 224)
    assert (extent <= 180).all()
    assert (extent >= 25).all()


@given(st.integers(0, 2**32), st.floats(8, 200), st.floats(8, 200))
def test_linear_moves_keep_the_box_inside_and_the_speed_bounded(
    seed: int, width: float, height: float
) -> None:
    size = np.array([[width, height]])
    path = LinearPath().draw(np.random.default_rng(seed), 16, (224, 224), size)[0]
    assert (path - size / 2 >= -0.5 - 1e-9).all()
    assert (path + size / 2 <= 223.5 + 1e-9).all()
    assert np.abs(np.diff(path, axis=0)).max() <= 24 + 1e-9  # twice the mean rate, when eased
