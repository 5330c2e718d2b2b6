"""Center paths of objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Interval, Le

from smile_motion.errors import InputError
from smile_motion.io.options import PathName
from smile_motion.motion.transforms import Segments, VideoTime, interpolate

REFERENCE_PX = 224
"""Frame side that sizes and distances in pixels refer to; they scale with the frame."""
FASTEST_PX = 1e4
"""Largest speed, step or distance, pixels at 224. Ours."""
Distance = Annotated[float, Interval(ge=0, le=FASTEST_PX)]
Cycles = Annotated[float, Interval(ge=0, le=1e4)]


class CentrePath(Protocol):
    """Distribution of the center paths of objects."""

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw a path for each object.

        Args:
            rng: Generator of `Stream.MOTION`.
            frames: Number of frames T.
            frame_size: (height, width) of the frame, pixels.
            base_size: (K, 2) float64: width and height of the objects, pixels.

        Returns:
            (K, T, 2) float64: x, y of the centers, pixels.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class GaussianPath:
    """Gaussian-smoothed random way-points, stretched to a random extent (paper and official code).

    The paper's filter alone leaves a range of about 26 px; the published code therefore stretches
    each axis to a random extent and places it at random inside the frame, and so does this.
    """

    points: Annotated[int, Interval(ge=1, le=4096)] = 48
    """Way-points M. Official; the paper asks for more than there are frames."""
    sigma: Annotated[float, Le(4096)] = 8.0
    """Standard deviation of the filter, in way-points. Official."""
    extent_px: tuple[float, float] = (40.0, 180.0)
    """Range of the path along each axis, pixels at 224. Official."""
    shared_extent: bool = False
    """Whether both axes have the same extent. Official."""
    whole_pixels: bool = False
    """Whether extent and start are whole pixels. Official."""

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise InputError(f"sigma is {self.sigma}; the filter needs more than 0, such as 8")
        low, high = self.extent_px
        if not 0 <= low <= high <= REFERENCE_PX:
            raise InputError(
                f"extent_px is ({low}, {high}); give a range within 0 to {REFERENCE_PX}"
            )

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        from smile_motion.motion._kernels import draw_smooth_paths

        span = _span(frame_size)
        return draw_smooth_paths(
            rng.random((len(base_size), 2 * self.points + 4)),
            _smoothing(self.points, self.sigma),
            _even_samples(self.points, frames),
            np.outer(span / REFERENCE_PX, self.extent_px),
            span,
            self.shared_extent,
            self.whole_pixels,
        )


@dataclass(frozen=True, kw_only=True)
class LinearPath:
    """Straight moves between random keyframes, inside the frame (official code, `linear`).

    All objects of a clip have keyframes at the same times.
    """

    speed_px: Annotated[float, Le(FASTEST_PX)] = 12.0
    """Largest move along each axis, pixels a frame at 224. Official."""
    segments: Segments = field(default_factory=Segments)
    """Keyframes and easing. Official."""

    def __post_init__(self) -> None:
        if not self.speed_px >= 0:
            raise InputError(f"speed_px is {self.speed_px}; give 0 or more")

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        span = _span(frame_size)
        low = np.minimum(base_size / 2, span / 2)
        high = span - low
        times, easing = self.segments.draw(rng, frames)
        keys = np.empty((len(times), *base_size.shape))
        keys[0] = rng.uniform(low, high)
        limit = self.speed_px * span / REFERENCE_PX
        for step, gap in enumerate(np.diff(times), start=1):
            move = rng.uniform(-limit, limit, size=base_size.shape) * gap
            keys[step] = np.clip(keys[step - 1] + move, low, high)
        return interpolate(times, keys, easing, frames).transpose(1, 0, 2) - 0.5


@dataclass(frozen=True, kw_only=True)
class BezierPath:
    """A cubic Bezier curve through the frame, its four points uniform over it. Ours."""

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        points = rng.random((len(base_size), 4, 2)) * _span(frame_size) - 0.5
        u = _unit_times(frames)[:, None]
        weights = np.concatenate(
            [(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3], axis=1
        )
        return weights @ points


@dataclass(frozen=True, kw_only=True)
class BrownianPath:
    """Independent normal steps, reflected at the border. Ours."""

    step_px: Annotated[float, Interval(ge=0, le=FASTEST_PX)] = 12.0
    """Standard deviation of a step along each axis, pixels a frame at 224."""

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        span = _span(frame_size)
        steps = rng.standard_normal((len(base_size), frames, 2)) * self.step_px * span
        steps /= REFERENCE_PX
        steps[:, 0] = rng.random((len(base_size), 2)) * span
        return _fold(np.cumsum(steps, axis=1), np.zeros(2), span) - 0.5


@dataclass(frozen=True, kw_only=True)
class HarmonicPath:
    """A sine along each axis: ellipses, oscillations and figures of eight. Ours."""

    cycles: tuple[Cycles, Cycles] = (0.5, 1.5)
    """Range of the number of periods in a clip."""
    amplitude_px: tuple[Distance, Distance] = (20.0, 90.0)
    """Range of the amplitude along each axis, pixels at 224."""

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        shape, span = (len(base_size), 1, 2), _span(frame_size)
        amplitude = rng.uniform(*self.amplitude_px, size=shape) * span / REFERENCE_PX
        middle = amplitude + rng.random(shape) * np.maximum(span - 2 * amplitude, 0)
        cycles, phase = rng.uniform(*self.cycles, size=shape), rng.random(shape)
        angle = 2 * np.pi * (cycles * _unit_times(frames)[:, None] + phase)
        return middle + amplitude * np.sin(angle) - 0.5


@dataclass(frozen=True, kw_only=True)
class BouncePath:
    """Straight motion at constant speed, reflected where the object meets the border. Ours."""

    speed_px: tuple[Distance, Distance] = (5.0, 20.0)
    """Range of the speed, pixels a frame at 224."""

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        count, span = len(base_size), _span(frame_size)
        half = np.minimum(base_size / 2, span * 0.45)[:, None]
        start = half + rng.random((count, 1, 2)) * (span - 2 * half)
        turn = rng.uniform(0, 2 * np.pi, (count, 1))
        speed = rng.uniform(*self.speed_px, size=(count, 1)) * span.min() / REFERENCE_PX
        velocity = (speed * np.concatenate([np.cos(turn), np.sin(turn)], axis=1))[:, None]
        straight = start + velocity * np.arange(frames)[:, None]
        return _fold(straight, half, span - half) - 0.5


@dataclass(frozen=True, kw_only=True)
class ExcursionPath:
    """A parabola out of the frame and back, whose vertex is beyond a random side. Ours."""

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        count, span = len(base_size), _span(frame_size)
        ends = rng.random((2, count, 1, 2)) * span
        outside = rng.random((count, 1, 2)) * span
        axis, far = rng.integers(0, 2, (2, count))
        slots = np.arange(count)
        margin = np.linalg.norm(base_size, axis=1)
        outside[slots, 0, axis] = np.where(far == 1, span[axis] + margin, -margin)
        u = _unit_times(frames)[:, None]
        bulge = 4 * u * (1 - u)
        straight = ends[0] * (1 - u) + ends[1] * u
        return straight + bulge * (outside - ends.mean(axis=0)) - 0.5


PATHS: dict[PathName, CentrePath] = {
    "gaussian": GaussianPath(),
    "linear": LinearPath(),
    "bezier": BezierPath(),
    "brownian": BrownianPath(),
    "harmonic": HarmonicPath(),
    "bounce": BouncePath(),
    "excursion": ExcursionPath(),
}
"""Every kind of path with its default settings."""


def _span(frame_size: tuple[int, int]) -> np.ndarray:
    """Width and height of a frame (height, width), float64."""
    return np.array([frame_size[1], frame_size[0]], dtype=np.float64)


def _unit_times(frames: int) -> np.ndarray:
    return np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)


def _fold(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Reflect values into low..high, repeatedly if needed."""
    width = high - low
    wave = np.mod(values - low, 2 * width)
    return low + np.minimum(wave, 2 * width - wave)


@lru_cache(maxsize=32)
def _smoothing(points: int, sigma: float) -> np.ndarray:
    """Return the transpose of the filter's matrix, (points, points) float64.

    To the bit that of `scipy.ndimage.gaussian_filter1d`, which takes half a second to import: its
    weights, up to four sigma, are added in pairs from the outermost, and points reflected at ends.
    """
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()
    ones, places = np.eye(points), np.arange(points)

    def moved(by: int) -> np.ndarray:
        there = (places + by) % (2 * points)
        return ones[np.minimum(there, 2 * points - 1 - there)]

    matrix = ones * weights[radius]
    for by in range(-radius, 0):
        matrix += (moved(by) + moved(-by)) * weights[radius + by]
    return np.ascontiguousarray(matrix.T)


@lru_cache(maxsize=32)
def _even_samples(points: int, frames: int) -> np.ndarray:
    if points < frames:
        raise InputError(
            f"{points} way-points are too few for {frames} frames; use at least {frames} points"
        )
    return np.rint(np.linspace(0, points - 1, frames)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class AcceleratingPath:
    """Straight motion at constant or uniformly changing speed, which may leave the frame.

    By video frame t an object has moved speed * t + acceleration * t ** 2 / 2 in its direction. The
    position is drawn for the middle of the clip, so that clips late in the video have as many
    objects; the speed is the one reached by then. Ours: the code draws positions at the start of
    the video.
    """

    speed_px: tuple[Distance, Distance] = (1.05, 2.625)
    """Range of the initial speed, pixels a video frame at 224. Paper, table 8: 1.2 to 3 at 256."""
    acceleration_px: Annotated[float, Le(FASTEST_PX)] = 0.0525
    """Largest change of the speed a video frame, pixels at 224; 0 for constant speed. Paper,
    table 8: 0.06 at 256 (the code's 0.03 is of t ** 2, without the half)."""
    margin: Annotated[float, Le(100)] = 0.5
    """Share of the frame's sides by which the area of centers in the middle of the clip extends
    beyond each edge. The code's area is as large, but extends to the right and below only."""
    time: VideoTime = field(default_factory=VideoTime)
    """Distribution of the clip's start in the video, and its stride."""

    def __post_init__(self) -> None:
        if not 0 <= self.speed_px[0] <= self.speed_px[1]:
            raise InputError(f"speed_px is {self.speed_px}; give 0 or more, the smaller first")
        for name in ("acceleration_px", "margin"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more")

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        frame_size: tuple[int, int],
        base_size: np.ndarray,
    ) -> np.ndarray:
        """Draw paths; see `CentrePath.draw`."""
        count, span = len(base_size), np.array(frame_size[::-1], dtype=np.float64)
        place = (rng.random((count, 2)) * (1 + 2 * self.margin) - self.margin) * span - 0.5
        turn = rng.uniform(0, 2 * np.pi, count)
        direction = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        unit = min(frame_size) / REFERENCE_PX
        speed = rng.uniform(*self.speed_px, size=(count, 1)) * unit
        limit = self.acceleration_px * unit
        acceleration = rng.uniform(-limit, limit, size=(count, 1))
        time = self.time.draw(rng, count, frames)
        way = speed * time + acceleration * time**2 / 2
        way -= way[:, frames // 2, None]
        return place[:, None] + direction[:, None] * way[..., None]
