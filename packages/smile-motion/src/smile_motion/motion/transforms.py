"""Rotation, scale and pose of objects over time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, get_args

import numpy as np
from annotated_types import Interval, Le, Len

from smile_motion.errors import InputError
from smile_motion.io.options import MOST_POSES, AnimationName


@dataclass(frozen=True, kw_only=True)
class Animation:
    """How animated objects run through their poses; still ones have a single pose. Ours.

    Frame t shows the pose floor(phase + speed * t), which begins again, or turns around, at the
    end. Phase and speed are drawn for each object.
    """

    play: AnimationName = "ping-pong"
    """`ping-pong`: to and fro, so that no pose jumps, whatever the first and the last; `loop`: from
    the last to the first; `still`: the first alone."""
    speed: tuple[
        Annotated[float, Interval(ge=0, le=MOST_POSES)],
        Annotated[float, Interval(ge=0, le=MOST_POSES)],
    ] = (0.5, 1.5)
    """Range of the poses from one frame to the next."""

    def __post_init__(self) -> None:
        if self.play not in get_args(AnimationName):
            raise InputError(f"play is {self.play!r}; give one of {get_args(AnimationName)}")
        if not 0 <= self.speed[0] <= self.speed[1]:
            raise InputError(f"speed is {self.speed}; give 0 or more, the smaller first")

    def draw(self, rng: np.random.Generator, poses: np.ndarray, frames: int) -> np.ndarray | None:
        """Draw the poses that a clip's objects show.

        Args:
            rng: Generator, which is not used where no object is animated.
            poses: (K,) int64: number of poses of each object.
            frames: Number of frames T.

        Returns:
            (K, T) int64; None if all objects show their first pose.
        """
        if self.play == "still" or (poses == 1).all():
            return None
        phase, share = rng.random((2, len(poses)))
        speed = self.speed[0] + share * (self.speed[1] - self.speed[0])
        period = np.maximum(2 * poses - 2, 1) if self.play == "ping-pong" else poses
        steps = phase[:, None] * period[:, None] + speed[:, None] * np.arange(frames)
        shown = np.floor(steps).astype(np.int64) % period[:, None]
        return np.minimum(shown, period[:, None] - shown) if self.play == "ping-pong" else shown


@dataclass(frozen=True, kw_only=True)
class VideoTime:
    """Distribution of the start of a clip in a long video, and its stride."""

    stride: Annotated[int, Le(10_000)] = 4
    """Video frames from one clip frame to the next. The code (`sampling_rate`)."""
    duration: tuple[int, Annotated[int, Le(1_000_000)]] = (100, 200)
    """Range of the video's length, frames; clips start uniformly in it. Paper, section 9.2."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"stride is {self.stride}; give 1 or more")
        if not 1 <= self.duration[0] <= self.duration[1]:
            raise InputError(f"duration is {self.duration}; give 1 or more, the smaller first")

    def draw(self, rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
        """Draw the times of a clip's frames for each object: (count, frames), in video frames."""
        span = (frames - 1) * self.stride
        duration = rng.integers(self.duration[0], self.duration[1], size=count, endpoint=True)
        begin = np.floor(rng.random(count) * np.maximum(duration - span, 1))
        return begin[:, None] + self.stride * np.arange(frames)


@dataclass(frozen=True, kw_only=True)
class SteadyRates:
    """Constant rates of rotation and of growth of width and height, drawn for each object.

    The paper's shear (0.005 a video frame along each axis) is left out, since `MotionPlan` has
    none. Its code does not transform circles; here they are transformed like other objects.
    """

    rotation_deg: Annotated[float, Le(1e4)] = 1.8
    """Largest rotation, degrees a video frame, in both directions. Paper, table 8: pi / 100."""
    scale: float = 0.005
    """Largest growth of a side, as a share of it, a video frame, either way. Paper, table 8.
    Growth compounds, as section 3.1 says; the code adds it."""
    time: VideoTime = field(default_factory=VideoTime)
    """Distribution of the clip's start, drawn independently of the path's, and its stride."""

    def __post_init__(self) -> None:
        if not self.rotation_deg >= 0:
            raise InputError(f"rotation_deg is {self.rotation_deg}; give 0 or more")
        if not 0 <= self.scale <= 0.02:
            raise InputError(f"scale is {self.scale}; give 0 to 0.02 a video frame")

    def only(self, *, rotation: bool, scaling: bool) -> SteadyRates:
        """Return the same law with rotation or scaling turned off."""
        return replace(
            self,
            rotation_deg=self.rotation_deg if rotation else 0.0,
            scale=self.scale if scaling else 0.0,
        )

    def draw(
        self, rng: np.random.Generator, count: int, frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the schedules of `count` objects.

        Returns:
            angle_deg (count, frames) and scale (count, frames, 2), both float64.
        """
        turn = rng.uniform(-self.rotation_deg, self.rotation_deg, size=(count, 1))
        growth = rng.uniform(-self.scale, self.scale, size=(count, 1, 2))
        time = self.time.draw(rng, count, frames)
        with np.errstate(over="ignore"):  # A plan refuses what is not finite.
            return turn * time, (1 + growth) ** time[..., None]


Angle = Annotated[float, Interval(ge=-1e6, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Random keyframes with an easing for each stretch between two of them (official code)."""

    inner_share: Annotated[tuple[float, ...], Len(1, 1000)] = (0.5, 0.3, 0.2)
    """Probabilities of 0, 1, 2 … keyframes between the first frame and the last. Official."""
    jitter: Annotated[float, Interval(ge=0, le=0.5)] = 1 / 3
    """Largest shift of an inner keyframe, as a share of the even spacing, in whole frames.
    Official."""
    easing_share: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Probabilities of a stretch being uniform, accelerating, decelerating. Official."""

    def __post_init__(self) -> None:
        for name, shares in (
            ("inner_share", self.inner_share),
            ("easing_share", self.easing_share),
        ):
            if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
                raise InputError(f"{name} is {shares}; give probabilities that sum to 1")

    def draw(self, rng: np.random.Generator, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw keyframe times (n,), ascending from 0 to frames - 1, and easings (n - 1,)."""
        inner = int(np.searchsorted(np.cumsum(self.inner_share)[:-1], rng.random(), side="right"))
        spacing = frames / (inner + 1)
        even = (spacing * np.arange(1, inner + 1)).astype(np.int64)
        reach = int(spacing * self.jitter)
        if reach:
            even += rng.integers(-reach, reach, size=inner)
        times = np.unique(np.concatenate([[0], even, [frames - 1]]))
        bounds = np.cumsum(self.easing_share)[:-1]
        return times, np.searchsorted(bounds, rng.random(len(times) - 1), side="right")


def place_objects(
    base_size: np.ndarray, scale: np.ndarray, angle_deg: np.ndarray, centre: np.ndarray
) -> np.ndarray:
    """Compute the affine maps from unit coordinates of objects to frame pixels.

    Args:
        base_size: (K, 2) float64: width and height at scale 1, pixels.
        scale: (K, T, 2) float64: factors on width and height.
        angle_deg: (K, T) float64: rotation, degrees, counter-clockwise.
        centre: (K, T, 2) float64: x, y of the center, pixels.

    Returns:
        (K, T, 2, 3) float64; see `MotionPlan.placement`.
    """
    from smile_motion.motion import _kernels

    return _kernels.place_objects(base_size, scale, angle_deg, centre)


def interpolate(
    times: np.ndarray, values: np.ndarray, easing: np.ndarray, frames: int
) -> np.ndarray:
    """Interpolate values between keyframes.

    Args:
        times: (n,) keyframe times, ascending, from 0 to frames - 1.
        values: (n, ...) values at the keyframes.
        easing: (n - 1,) int64: 0 uniform, 1 accelerating (u squared), 2 decelerating.
        frames: Number of frames T.

    Returns:
        (T, ...) float64: values in every frame.
    """
    if len(times) == 1:
        return np.repeat(np.asarray(values, dtype=np.float64), frames, axis=0)
    instants = np.arange(frames)
    segment = np.clip(np.searchsorted(times, instants, side="right") - 1, 0, len(times) - 2)
    u = (instants - times[segment]) / (times[segment + 1] - times[segment])
    eased = np.choose(easing[segment], (u, u * u, 1 - (1 - u) ** 2))
    eased = eased.reshape(-1, *[1] * (values.ndim - 1))
    return values[segment] * (1 - eased) + values[segment + 1] * eased


@dataclass(frozen=True, kw_only=True)
class KeyframeValues:
    """Angle and scale drawn anew at each keyframe, linear in between (SMILE, section 3.3).

    Keyframes are the first frame, `inner` random ones strictly between, and the last.
    """

    rotation_deg: tuple[Angle, Angle] = (-90.0, 90.0)
    """Range of the angle at a keyframe, degrees; (0, 0) turns rotation off. Paper, section 4.1."""
    scale: tuple[float, Annotated[float, Le(1000)]] = (0.5, 1.5)
    """Range of the scale factor at a keyframe; (1, 1) turns scaling off. Paper, section 4.1."""
    inner: Annotated[int, Le(10_000)] = 1
    """Keyframes between the first and the last. Paper, section 3.3."""

    def __post_init__(self) -> None:
        for name, (low, high) in (("rotation_deg", self.rotation_deg), ("scale", self.scale)):
            if not low <= high:
                raise InputError(f"{name} is ({low}, {high}); give the smaller bound first")
        if not self.scale[0] > 0:
            raise InputError(f"scale starts at {self.scale[0]}; it must be above 0")
        if self.inner < 0:
            raise InputError(f"inner is {self.inner}; it counts keyframes: give 0 or more")

    def only(self, *, rotation: bool, scaling: bool) -> KeyframeValues:
        """Return the same law with rotation or scaling turned off."""
        return replace(
            self,
            rotation_deg=self.rotation_deg if rotation else (0.0, 0.0),
            scale=self.scale if scaling else (1.0, 1.0),
        )

    def draw(
        self, rng: np.random.Generator, count: int, frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the schedules of `count` objects.

        Returns:
            angle_deg (count, frames) and scale (count, frames, 2), both float64.
        """
        from smile_motion.motion._kernels import draw_keyframed

        inner = min(self.inner, max(frames - 2, 0))
        return draw_keyframed(
            rng.random((count, 2 * (inner + 2) + frames)),
            inner,
            frames,
            self.rotation_deg,
            self.scale,
        )


@dataclass(frozen=True, kw_only=True)
class KeyframeRates:
    """Angle 0 and scale 1 at first, then a random rate between each two keyframes (official).

    All objects of a clip have keyframes at the same times.
    """

    rotation_deg: Annotated[float, Interval(ge=0, le=1e4)] = 6.0
    """Largest change of the angle, degrees a frame, either way. Official."""
    log_scale: Annotated[float, Interval(ge=0, le=2)] = 0.025
    """Largest change of the logarithm of each side's scale, a frame, either way. Official."""
    segments: Segments = field(default_factory=Segments)
    """Keyframes and easing, drawn for angle and scale separately. Official."""

    def only(self, *, rotation: bool, scaling: bool) -> KeyframeRates:
        """Return the same law with rotation or scaling turned off."""
        return replace(
            self,
            rotation_deg=self.rotation_deg if rotation else 0.0,
            log_scale=self.log_scale if scaling else 0.0,
        )

    def draw(
        self, rng: np.random.Generator, count: int, frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the schedules of `count` objects.

        Returns:
            angle_deg (count, frames) and scale (count, frames, 2), both float64.
        """
        times, easing = self.segments.draw(rng, frames)
        turned = _random_walk(rng, times, self.rotation_deg, (count, 1))
        angle = interpolate(times, turned, easing, frames)[..., 0].T
        times, easing = self.segments.draw(rng, frames)
        with np.errstate(over="ignore"):  # A plan refuses what is not finite.
            grown = np.exp(_random_walk(rng, times, self.log_scale, (count, 2)))
        return angle, interpolate(times, grown, easing, frames).transpose(1, 0, 2)


def _random_walk(
    rng: np.random.Generator, times: np.ndarray, rate: float, shape: tuple[int, ...]
) -> np.ndarray:
    moves = rng.uniform(-rate, rate, size=(len(times) - 1, *shape))
    moves *= np.diff(times).reshape(-1, *[1] * len(shape))
    return np.concatenate([np.zeros((1, *shape)), np.cumsum(moves, axis=0)])
