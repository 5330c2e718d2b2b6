"""Effects on objects, each off by default and one field of a recipe. All are ours.

None of them changes the position of objects: truth is the same with and without, for motion blur
that of the middle of the exposure. Only depth swaps change occlusion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any

import cv2
import numpy as np
from annotated_types import Interval, Le, Len

from smile_motion.errors import InputError, in_one_line
from smile_motion.io.options import EffectName
from smile_motion.io.schema import parse_line
from smile_motion.motion.transforms import Segments, interpolate

Shift = Annotated[float, Interval(ge=-1e7, le=1e7)]
LARGEST_SETTING = 1000.0
"""Largest magnitude of a number in a pipeline of `Appearance`. Ours."""
MOST_SETTINGS = 2000
"""Largest number of values in a pipeline. Ours."""
MOST_ROUNDS = 20
"""Largest number of iterations of a transform. Ours."""
_READING_FILES = ("HistogramMatching", "FDA", "PixelDistributionAdaptation", "TextImage")
EXPOSURES = (2, 4, 8, 16)
"""Valid numbers of exposures: powers of two, so that their mean is exact."""


@dataclass(frozen=True, kw_only=True)
class MotionBlur:
    """Average of the objects while the shutter is open, centered on the time of the frame."""

    shutter: float = 0.5
    """Share of the frame interval that the shutter is open; film cameras have 0.5."""
    exposures: int = 8
    """Number of instants that are averaged."""

    def __post_init__(self) -> None:
        if not 0 < self.shutter <= 1:
            raise InputError(f"shutter is {self.shutter}; give more than 0 and at most 1")
        if self.exposures not in EXPOSURES:
            raise InputError(f"exposures is {self.exposures}; give one of {EXPOSURES}")

    def offsets(self) -> np.ndarray:
        """Return the times of the exposures relative to the frame, (exposures,) float64, frames."""
        return self.shutter * ((np.arange(self.exposures) + 0.5) / self.exposures - 0.5)


@dataclass(frozen=True, kw_only=True)
class DropShadow:
    """A blurred dark copy of each object directly below it, displaced by one offset per clip."""

    distance_px: tuple[float, Annotated[float, Le(1e4)]] = (4.0, 14.0)
    """Range of the displacement, pixels at 224; its direction is uniform."""
    softness_px: Annotated[float, Le(1e4)] = 4.0
    """Width of the soft edge, pixels at 224."""
    opacity: float = 0.5
    """Darkness under an opaque part, in 0..1."""

    def __post_init__(self) -> None:
        if not 0 <= self.distance_px[0] <= self.distance_px[1]:
            raise InputError(f"distance_px is {self.distance_px}; give 0 or more, smaller first")
        if not self.softness_px >= 0:
            raise InputError(f"softness_px is {self.softness_px}; give 0 or more")
        if not 0 <= self.opacity <= 1:
            raise InputError(f"opacity is {self.opacity}; give 0 to 1")

    def draw(self, rng: np.random.Generator, unit: float) -> Shadow:
        """Draw a clip's shadow; `unit` is the size of a pixel at 224 in the frame's pixels."""
        direction = rng.uniform(0, 2 * np.pi)
        distance = rng.uniform(*self.distance_px) * unit
        return Shadow(
            offset=(distance * np.cos(direction), distance * np.sin(direction)),
            softness=self.softness_px * unit,
            opacity=self.opacity,
        )


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """The shadow of a clip's objects."""

    offset: tuple[Shift, Shift]
    """x, y from an object to its shadow, pixels."""
    softness: Annotated[float, Interval(ge=0, le=1e7)]
    """Width of the soft edge, pixels, rounded to a power of two."""
    opacity: Annotated[float, Interval(ge=0, le=1)]
    """Darkness under an opaque part, in 0..1."""

    def resized(self, factor: float) -> Shadow:
        """Return the shadow in a frame `factor` times as large."""
        x, y = self.offset
        return replace(self, offset=(x * factor, y * factor), softness=self.softness * factor)

    def mirrored(self) -> Shadow:
        """Return the shadow mirrored left to right."""
        return replace(self, offset=(-self.offset[0], self.offset[1]))


@dataclass(frozen=True, kw_only=True)
class ColourDrift:
    """Brightness and color balance of each object drift between keyframes."""

    brightness: float = 0.35
    """Largest change of the logarithm of brightness at a keyframe, in both directions."""
    colour: float = 0.15
    """Largest change of the logarithm of each color channel, on top of brightness."""
    segments: Segments = field(default_factory=Segments)
    """Keyframes and easing."""

    def __post_init__(self) -> None:
        for name, value in (("brightness", self.brightness), ("colour", self.colour)):
            if not 0 <= value <= 2:
                raise InputError(f"{name} is {value}; give 0 to 2")

    def draw(self, rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
        """Draw factors on red, green and blue: (count, frames, 3) float64."""
        drawn = np.empty((count, frames, 3))
        for slot in range(count):
            times, easing = self.segments.draw(rng, frames)
            level = rng.uniform(-self.brightness, self.brightness, size=(len(times), 1))
            balance = rng.uniform(-self.colour, self.colour, size=(len(times), 3))
            drawn[slot] = np.exp(interpolate(times, level + balance, easing, frames))
        return drawn


@dataclass(frozen=True, kw_only=True)
class DepthSwaps:
    """At random frames, two neighbors in the draw order swap."""

    rate: float = 0.1
    """Mean number of swaps a frame."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise InputError(f"rate is {self.rate}; give 0 to 1")

    def draw(self, rng: np.random.Generator, order: np.ndarray) -> np.ndarray:
        """Swap slots in `order`, (T, K) int64 from the bottom up; the first frame is unchanged."""
        frames, count = order.shape
        swapped = order.copy()
        swaps = rng.random(frames) < self.rate
        below = rng.integers(0, max(count - 1, 1), size=frames)
        for t in range(1, frames if count > 1 else 0):
            swapped[t] = swapped[t - 1]
            if swaps[t]:
                place = below[t]
                swapped[t, [place, place + 1]] = swapped[t, [place + 1, place]]
        return swapped


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Transform of each object's colors by an albumentations pipeline, once per clip.

    Example:

        Appearance.of(A.Compose([A.HueSaturationValue(p=1), A.GaussNoise(p=0.5)]))
    """

    pipeline: Annotated[str, Len(0, 100_000)] = ""
    """The pipeline as JSON (`albumentations.to_dict`); empty for moderate color jitter."""

    def __post_init__(self) -> None:
        if self.pipeline:
            _pipeline(self.pipeline)

    @classmethod
    def of(cls, pipeline: Any) -> Appearance:
        """Use an albumentations pipeline.

        Args:
            pipeline: An `albumentations.Compose` of transforms of colors.

        Raises:
            InputError: A transform moves pixels, so that silhouettes and truth would be wrong.
        """
        import albumentations

        return cls(pipeline=json.dumps(albumentations.to_dict(pipeline), sort_keys=True))

    def apply(self, rgb: np.ndarray, seed: int) -> np.ndarray:
        """Transform the colors of an object.

        Args:
            rgb: (H, W, 3) uint8, not premultiplied.
            seed: Seed of the pipeline.

        Returns:
            (H, W, 3) uint8.

        Raises:
            InputError: A transform fails, or changes type or shape.
        """
        pipeline = _pipeline(self.pipeline)
        pipeline.set_random_seed(seed)
        try:
            changed = pipeline(image=rgb)["image"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, cv2.error) as error:
            raise InputError(
                f"appearance: its pipeline fails on an object of {rgb.shape[1]} x {rgb.shape[0]} "
                f"px ({in_one_line(error)}); change its transforms"
            ) from error
        if changed.shape != rgb.shape or changed.dtype != np.uint8:
            raise InputError(
                f"appearance: its pipeline makes {changed.dtype} {changed.shape} of uint8 "
                f"{rgb.shape}; use transforms that keep type and shape"
            )
        return changed


@lru_cache(maxsize=8)
def _pipeline(text: str) -> Any:
    """Build a pipeline from its JSON."""
    import albumentations

    if not text:
        return albumentations.Compose(
            [albumentations.ColorJitter(0.3, 0.3, 0.3, 0.08, p=1.0)], seed=0
        )
    described = parse_line(
        text, dict[str, Any], source="appearance", remedy="give what albumentations.to_dict made"
    )
    _require_modest(described)
    try:
        inner = albumentations.from_dict(described)
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise InputError(
            f"appearance: not an albumentations pipeline ({in_one_line(error)})"
        ) from error
    for step in _steps(inner):
        if not isinstance(step, albumentations.ImageOnlyTransform):
            raise InputError(
                f"appearance: {type(step).__name__} moves pixels, so that the truth would be "
                f"wrong; use transforms of color and texture, and the recipe for geometry"
            )
    return albumentations.Compose([inner], seed=0)  # pyright: ignore[reportArgumentType]


def _require_modest(described: Any) -> None:
    """Raise InputError for a pipeline that could take minutes or read files.

    One bound serves for kernel sizes, numbers of drops and iterations; the defaults of all
    transforms are far below it.
    """
    parts, count = [described], 0
    while parts:
        part = parts.pop()
        count += 1
        if count > MOST_SETTINGS:
            raise InputError(f"appearance: more than {MOST_SETTINGS} settings; give a shorter one")
        match part:
            case dict():
                if (name := part.get("__class_fullname__")) in _READING_FILES:
                    raise InputError(f"appearance: {name} reads files or draws text; leave it out")
                if isinstance(rounds := part.get("iterations"), int) and rounds > MOST_ROUNDS:
                    raise InputError(
                        f"appearance: iterations is {rounds}; give {MOST_ROUNDS} or less"
                    )
                parts += part.values()
            case list():
                parts += part
            case bool() | str() | None:
                pass
            case _ if not -LARGEST_SETTING <= part <= LARGEST_SETTING:
                raise InputError(
                    f"appearance: a setting of {part:.6g}; give at most {LARGEST_SETTING:g}"
                )


def _steps(transform: Any) -> list[Any]:
    inner = getattr(transform, "transforms", None)
    return [transform] if inner is None else [step for part in inner for step in _steps(part)]


EFFECTS: dict[EffectName, MotionBlur | DropShadow | ColourDrift | DepthSwaps | Appearance] = {
    "motion-blur": MotionBlur(),
    "drop-shadow": DropShadow(),
    "colour-drift": ColourDrift(),
    "depth-swaps": DepthSwaps(),
    "appearance": Appearance(),
}
"""Every effect with its default settings."""
