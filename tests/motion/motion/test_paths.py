import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from smile_motion.errors import InputError
from smile_motion.io.options import PathName
from smile_motion.motion.paths import PATHS, GaussianPath, LinearPath, _smoothing


def test_smoothing_is_the_gaussian_filter_of_each_axis_sampled_evenly() -> None:
    path = GaussianPath().draw(np.random.default_rng(3), 16, (224, 224), np.full((1, 2), 50.0))[0]
    points = np.random.default_rng(3).random(100)[:96].reshape(2, 48).T
    smooth = gaussian_filter1d(points, 8.0, axis=0, mode="reflect")
    smooth = smooth[np.rint(np.linspace(0, 47, 16)).astype(int)]
    for axis in range(2):  # then stretched and placed
        stretch, place = np.polyfit(smooth[:, axis], path[:, axis], 1)
        assert stretch > 0
        np.testing.assert_allclose(path[:, axis], stretch * smooth[:, axis] + place, atol=1e-9)


@given(st.integers(1, 60), st.floats(0.2, 40))
def test_the_filter_is_that_of_scipy_to_the_bit(points: int, sigma: float) -> None:
    expected = gaussian_filter1d(np.eye(points), sigma, axis=0, mode="reflect").T
    np.testing.assert_array_equal(_smoothing(points, sigma), expected)


def test_too_few_way_points_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="10 way-points are too few for 16 frames"):
        GaussianPath(points=10).draw(np.random.default_rng(0), 16, (224, 224), np.ones((1, 2)))


@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_a_filter_without_width_is_refused(sigma: float) -> None:
    with pytest.raises(InputError, match="sigma is"):
        GaussianPath(sigma=sigma)


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


@given(
    st.integers(0, 2**32),
    st.sampled_from(list(PATHS)),
    st.integers(1, 40),
    st.sampled_from([(224, 224), (96, 160)]),
)
def test_every_kind_of_path_is_finite_keyed_and_scales_with_the_frame(
    seed: int, kind: PathName, frames: int, frame_size: tuple[int, int]
) -> None:
    size = np.array([[30.0, 20.0], [50.0, 60.0]])

    def draw(factor: int) -> np.ndarray:
        larger = (frame_size[0] * factor, frame_size[1] * factor)
        return PATHS[kind].draw(np.random.default_rng(seed), frames, larger, size * factor)

    path = draw(1)
    assert path.shape == (2, frames, 2)
    assert np.isfinite(path).all()
    np.testing.assert_allclose((draw(2) + 0.5) / 2 - 0.5, path, atol=1e-6)
    if kind != "excursion":
        high = np.array([frame_size[1], frame_size[0]]) - 0.5
        assert (path >= -0.5 - 1e-9).all()
        assert (path <= high + 1e-9).all()


@given(st.integers(0, 2**32))
def test_bouncing_objects_keep_inside_and_keep_their_speed(seed: int) -> None:
    size = np.array([[40.0, 60.0]])
    path = PATHS["bounce"].draw(np.random.default_rng(seed), 40, (224, 224), size)[0]
    assert (path - size / 2 >= -0.5 - 1e-9).all()
    assert (path + size / 2 <= 223.5 + 1e-9).all()
    steps = np.abs(np.diff(path, axis=0))
    assert steps.max() <= 20 + 1e-9


@given(st.integers(0, 2**32))
def test_excursions_start_and_end_inside_and_leave_entirely(seed: int) -> None:
    size = np.array([[40.0, 60.0]])
    path = PATHS["excursion"].draw(np.random.default_rng(seed), 17, (224, 224), size)[0]
    for end in (path[0], path[-1]):
        assert (end >= -0.5).all()
        assert (end <= 223.5).all()
    gap = np.maximum(-0.5 - path[8], path[8] - 223.5).max()
    assert gap >= np.hypot(40, 60) - 1e-9
