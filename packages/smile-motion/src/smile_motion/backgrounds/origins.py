"""Schemas of the stored origins of backgrounds, `BackgroundClip.origin`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len

from smile_motion.io.components import Kinds
from smile_motion.io.options import NoiseKind
from smile_motion.io.schema import parse_record

PseudoMotionChange = Literal["identity", "slide", "zoom", "fade", "affine", "perspective"]
"""None; sliding window; growing or shrinking window; fade to or from black; rotation, shift, growth
and shear together; tilt."""
Share = Annotated[float, Interval(ge=0, le=1)]
Place = Annotated[int, Interval(ge=0, le=1 << 31)]
Side = Annotated[int, Interval(ge=1, le=1 << 16)]
Length = Annotated[float, Interval(ge=-1e6, le=1e6)]
PositiveLength = Annotated[float, Interval(gt=0, le=1e6)]
Factor = Annotated[float, Interval(ge=-10, le=10)]


@dataclass(frozen=True, kw_only=True)
class BlackOrigin:
    """Black frames."""


@dataclass(frozen=True, kw_only=True)
class NoiseOrigin:
    """Noise, which the clip's seed draws again."""

    noise: NoiseKind
    per_frame: bool


@dataclass(frozen=True, kw_only=True)
class PhotographOrigin:
    """A crop of a photograph: x, y, width, height, pixels."""

    file: str
    crop: tuple[Place, Place, Side, Side]


@dataclass(frozen=True, kw_only=True)
class VideoOrigin:
    """Frames of a video by number, and their crop."""

    file: str
    frames: Annotated[list[Place], Len(1, 1 << 20)]
    crop: tuple[Place, Place, Side, Side]


@dataclass(frozen=True, kw_only=True)
class MovedPhotograph:
    """A photograph that moves; see `PseudoMotionBackground`."""

    file: str
    weight: Share
    change: PseudoMotionChange
    window: tuple[
        tuple[PositiveLength, Length, Length],
        tuple[Length, PositiveLength, Length],
        tuple[Length, Length, Length],
    ]
    step: tuple[
        tuple[Factor, Factor, Factor], tuple[Factor, Factor, Factor], tuple[Factor, Factor, Factor]
    ]
    light: tuple[Share, Share]


@dataclass(frozen=True, kw_only=True)
class PseudoMotionOrigin:
    """One photograph, or two mixed."""

    file: str
    parts: Annotated[list[MovedPhotograph], Len(1, 2)]


_ORIGINS = Kinds(
    **{"pseudo-motion": PseudoMotionOrigin},
    black=BlackOrigin,
    noise=NoiseOrigin,
    places=PhotographOrigin,
    natural=VideoOrigin,
    frame=VideoOrigin,
)


def check_origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of an origin and return it.

    Raises:
        InputError: A field is missing or out of range; the message names the first.
    """
    return parse_record(
        origin, Annotated[object, _ORIGINS], source="background", remedy="render its clip anew"
    )
