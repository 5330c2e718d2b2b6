"""Dead leaves that move: sizes, paths and transforms of a published rival (arXiv 2410.24213).

"Learning Video Representations without Natural Videos", in short "the paper" here; its published
code is github.com/Unicorn53547/Synthetic-Video-Representations, in short "the code". Both state
lengths for a 256-px frame and rates for a frame of 25-Hz video; lengths are converted here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from smile_motion.errors import InputError
from smile_motion.motion.paths import FASTEST_PX, REFERENCE_PX, Distance


@dataclass(frozen=True, kw_only=True)
class DeadLeavesSize:
    """Circles around the objects, many small and few large, as in natural scenes (dead leaves).

    The density of the radius r falls as r ** -power and meets zero at the largest radius.
    """

    radius_share: tuple[Annotated[float, Ge(1e-4)], float] = (0.1, 1.0)
    """Range of the radius, as a share of the frame's shorter side. The code."""
    power: Annotated[float, Le(50)] = 3.0
    """Power of the density. The code (`sigma`); the paper calls the law exponential."""

    def __post_init__(self) -> None:
        low, high = self.radius_share
        if not 0 < low < high <= 1:
            raise InputError(
                f"radius_share is ({low}, {high}); give two shares within 0 to 1, smaller first"
            )
        if not self.power > 0:
            raise InputError(f"power is {self.power}; give more than 0, such as 3")

    def draw(self, rng: np.random.Generator, aspect: np.ndarray, side: float) -> np.ndarray:
        """Draw sizes; see `BaseSize.draw`. The longer side is the circle's diameter."""
        edges = np.linspace(*self.radius_share, 1001)
        middle = (edges[1:] + edges[:-1]) / 2
        mass = np.cumsum(middle**-self.power - edges[-1] ** -self.power)
        radius = np.interp(rng.random(len(aspect)), np.append(0, mass / mass[-1]), edges)
        longer = 2 * radius * side
        return np.stack([longer * np.minimum(aspect, 1), longer / np.maximum(aspect, 1)], axis=1)


@dataclass(frozen=True, kw_only=True)
class VideoTime:
    """When in a long video a clip is taken, and how densely."""

    stride: Annotated[int, Le(10_000)] = 4
    """Video frames from one clip frame to the next. The code (`sampling_rate`)."""
    duration: tuple[int, Annotated[int, Le(1_000_000)]] = (100, 200)
    """Range of the video's length, in frames; a clip begins anywhere in it. Paper, section 9.2."""

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
class AcceleratingPath:
    """Straight on at a speed that is constant or changes steadily; nothing stops at the border.

    By video frame t an object has gone speed * t + acceleration * t ** 2 / 2 in its direction. It
    is placed by where it is in the middle of the clip, however late in the video that is, so that
    objects do not thin out; its speed is what it has become by then. Ours: the code places objects
    as the video begins.
    """

    speed_px: tuple[Distance, Distance] = (1.05, 2.625)
    """Range of the speed at first, pixels a video frame at 224. Paper, table 8: 1.2 to 3 at 256."""
    acceleration_px: Annotated[float, Le(FASTEST_PX)] = 0.0525
    """Largest gain or loss of speed a video frame, pixels at 224; 0 for constant speed. Paper,
    table 8: 0.06 at 256 (the code's 0.03 is of t ** 2, without the half)."""
    margin: Annotated[float, Le(100)] = 0.5
    """In the middle of a clip centres are uniform over the frame and this share of its sides beyond
    each edge. As large as the code's area, which lies to the right and below only."""
    time: VideoTime = field(default_factory=VideoTime)
    """When a clip begins, and its stride."""

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


@dataclass(frozen=True, kw_only=True)
class SteadyRates:
    """Objects that turn, and whose width and height grow, at constant rates of their own.

    The paper shears them too (0.005 a video frame along each axis), which a `MotionPlan` cannot
    say: left out. Its code leaves circles as they are; here they are transformed as all others.
    """

    rotation_deg: Annotated[float, Le(1e4)] = 1.8
    """Largest turn, degrees a video frame, either way. Paper, table 8: pi / 100."""
    scale: float = 0.005
    """Largest growth of a side, as a share of it, a video frame, either way. Paper, table 8.
    Growth compounds, as section 3.1 says; the code adds it."""
    time: VideoTime = field(default_factory=VideoTime)
    """When a clip begins, and its stride; drawn apart from the path's."""

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

        returns angle_deg (count, frames) and scale (count, frames, 2), both float64.
        """
        turn = rng.uniform(-self.rotation_deg, self.rotation_deg, size=(count, 1))
        growth = rng.uniform(-self.scale, self.scale, size=(count, 1, 2))
        time = self.time.draw(rng, count, frames)
        with np.errstate(over="ignore"):  # A plan refuses what is not finite.
            return turn * time, (1 + growth) ** time[..., None]
