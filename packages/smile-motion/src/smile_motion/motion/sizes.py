"""Distributions of object sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Ge, Interval, Le, Len

from smile_motion.errors import InputError
from smile_motion.motion.paths import REFERENCE_PX


@dataclass(frozen=True, kw_only=True)
class DeadLeavesSize:
    """Radii of circumscribed circles as in natural scenes (dead leaves): many small, few large.

    The density of the radius r falls as r ** -power to zero at the largest radius.
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


Aspect = Annotated[float, Interval(ge=1e-3, le=1e3)]


class BaseSize(Protocol):
    """Distribution of the size of objects before scaling."""

    def draw(self, rng: np.random.Generator, aspect: np.ndarray, side: float) -> np.ndarray:
        """Draw a size for each object.

        Args:
            rng: Generator of `Stream.MOTION`.
            aspect: (K,) float64: width over height of the objects.
            side: Shorter side of the frame, pixels.

        Returns:
            (K, 2) float64: width and height, pixels.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class OwnAspectSize:
    """Longer side uniform in a range, with each object's own aspect (paper)."""

    range_px: tuple[float, float] = (32.0, 128.0)
    """Longer side, pixels at 224. Paper, section 4.1."""

    def __post_init__(self) -> None:
        low, high = self.range_px
        if not 0 < low <= high <= REFERENCE_PX:
            raise InputError(
                f"object size ({low}, {high}) cannot fit; "
                f"give a range within 1 to {REFERENCE_PX} px"
            )

    def draw(self, rng: np.random.Generator, aspect: np.ndarray, side: float) -> np.ndarray:
        """Draw sizes; see `BaseSize.draw`."""
        longer = rng.uniform(*self.range_px, size=len(aspect)) * side / REFERENCE_PX
        return np.stack([longer * np.minimum(aspect, 1), longer / np.maximum(aspect, 1)], axis=1)


@dataclass(frozen=True, kw_only=True)
class StretchedSize:
    """Sides and aspects from fixed sets, jittered; objects are stretched to them (official)."""

    sides_px: Annotated[tuple[float, ...], Len(1, 1000)] = (32, 48, 56, 64, 96, 128)
    """Square root of the area, pixels at 224. Official."""
    aspects: Annotated[tuple[Aspect, ...], Len(1, 1000)] = (0.5, 0.67, 0.75, 1.0, 1.33, 1.5, 2.0)
    """Width over height. Official."""
    log_jitter: Annotated[float, Le(10)] = 0.18
    """Largest change of the logarithm of each side, independently. Official."""

    def __post_init__(self) -> None:
        if not self.sides_px or not all(0 < side <= REFERENCE_PX for side in self.sides_px):
            raise InputError(
                f"sides_px {self.sides_px} cannot fit; give sides within 1 to {REFERENCE_PX} px"
            )
        if not self.aspects or min(self.aspects) <= 0 or self.log_jitter < 0:
            raise InputError(
                f"aspects {self.aspects} and log_jitter {self.log_jitter}: give aspects above 0, "
                f"such as 0.5 and 2, and a jitter of 0 or more"
            )

    def draw(self, rng: np.random.Generator, aspect: np.ndarray, side: float) -> np.ndarray:
        """Draw sizes; see `BaseSize.draw`. The objects' own aspects are not used."""
        count = len(aspect)
        base = rng.choice(self.sides_px, size=count) * side / REFERENCE_PX
        root = np.sqrt(rng.choice(self.aspects, size=count))
        jitter = np.exp(rng.uniform(-self.log_jitter, self.log_jitter, size=(count, 2)))
        sides = np.stack([base * root, base / root], axis=1) * jitter
        return np.clip(sides, 1, side - 1)
