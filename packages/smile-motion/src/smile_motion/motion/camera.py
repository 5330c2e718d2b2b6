"""The camera over a still background: pan, zoom and roll. Ours.

The background is then a *scene*, an image larger than the frame, of which every frame shows a part.
The camera moves it alone: objects have paths of their own, in the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Interval, Len

from smile_motion.errors import InputError
from smile_motion.io.options import CameraName
from smile_motion.motion.paths import REFERENCE_PX
from smile_motion.motion.transforms import place_objects

if TYPE_CHECKING:
    from smile_motion.motion.plan import MotionPlan

LARGEST_SCENE_PX = 16_384
"""Largest side of a scene, pixels; positions in larger ones overflow integers. Ours."""
_TOLERANCE = 1e-6
_Side = Annotated[int, Interval(ge=1, le=LARGEST_SCENE_PX)]
_Place = Annotated[float, Interval(ge=-1e7, le=1e7)]
_Angle = Annotated[float, Interval(ge=-1e9, le=1e9)]
_Factor = Annotated[float, Interval(ge=-1e3, le=1e3)]
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Place of the scene in each of T frames, like that of an object: middle, rotation, scale."""

    scene: tuple[_Side, _Side]
    """(height, width) of the scene, pixels."""
    centre: Annotated[tuple[tuple[_Place, _Place], ...], Len(1, 1 << 20)]
    """T times x, y of the scene's center in the frame, pixels."""
    angle_deg: Annotated[tuple[_Angle, ...], Len(1, 1 << 20)]
    """T rotations, degrees, counter-clockwise."""
    scale: Annotated[tuple[tuple[_Factor, _Factor], ...], Len(1, 1 << 20)]
    """T times frame pixels per scene pixel, along the scene's width and height."""

    def placement(self) -> np.ndarray:
        """Compute the affine maps from unit coordinates of the scene to frame pixels.

        Returns:
            (T, 2, 3) float64: as `MotionPlan.placement` of an object as large as the scene.
        """
        sides = np.array([self.scene[::-1]], np.float64)
        arrays = (np.array([values]) for values in (self.scale, self.angle_deg, self.centre))
        return place_objects(sides, *arrays)[0]

    def require_covering(self, frames: int, height: int, width: int) -> None:
        """Check that the scene fills every frame.

        Args:
            frames: Number of frames T.
            height: Frame height, pixels.
            width: Frame width, pixels.

        Raises:
            InputError: It does not, or a number is out of range.
        """
        for name in ("centre", "angle_deg", "scale"):
            if (length := len(getattr(self, name))) != frames:
                raise InputError(f"plan: camera.{name} is of {length} frames, expected {frames}")
        corners = np.array([[x, y] for x in (0, width - 1) for y in (0, height - 1)], np.float64)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            maps = self.placement()
            scales = np.abs(self.scale)
            if not (scales.min() >= _SMALLEST_SCALE and scales.max() <= 1e3):  # NaN fails
                raise InputError(
                    f"plan: camera.scale is not within {_SMALLEST_SCALE:g} to 1000, either way"
                )
            if not np.abs(maps).max() <= 1e9:
                raise InputError("plan: camera holds numbers that are not finite or too large")
            (a, b), (c, d) = maps[:, :, :2].transpose(1, 2, 0)[..., None]
            x, y = (corners - maps[:, None, :, 2]).transpose(2, 0, 1)
            unit = np.stack([d * x - b * y, a * y - c * x]) / (a * d - b * c)
        beyond = ~(np.abs(unit) <= 0.5 + _TOLERANCE).all(axis=(0, 2))
        if beyond.any():
            raise InputError(
                f"plan: the camera shows more than its scene of {self.scene[1]} x {self.scene[0]} "
                f"px in frame {beyond.argmax()}; give a larger scene, or less pan, zoom and roll"
            )

    def resized(self, factor: float) -> Camera:
        """Return the same view in a frame `factor` times as large."""
        return replace(
            self,
            centre=tuple(
                ((x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5) for x, y in self.centre
            ),
            scale=tuple((x * factor, y * factor) for x, y in self.scale),
        )

    def mirrored(self, width: int) -> Camera:
        """Return the view mirrored left to right, in a frame of `width` pixels."""
        return replace(
            self,
            centre=tuple((width - 1 - x, y) for x, y in self.centre),
            angle_deg=tuple(-angle for angle in self.angle_deg),
            scale=tuple((-x, y) for x, y in self.scale),
        )


@dataclass(frozen=True, kw_only=True)
class CameraPath:
    """Smooth camera path over a still background: a cubic Bezier curve in pan, zoom and roll.

    Its four control points are uniform within the ranges below, which the curve never leaves. The
    scene is as large as the farthest of these views needs, so that no frame shows its edge; where
    the zoom is 1 a pixel of the scene is one of the frame.
    """

    pan_px: Annotated[float, Interval(ge=0, le=2 * REFERENCE_PX)] = 64.0
    """Range of the pan along each axis, pixels at 224. Ours."""
    zoom: Annotated[float, Interval(ge=1, le=8)] = 1.25
    """Largest magnification; the smallest is 1. Ours."""
    roll_deg: Annotated[float, Interval(ge=0, le=180)] = 10.0
    """Largest rotation about the line of sight, degrees, either way. Ours."""

    def scene_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the scene.

        Args:
            size: (height, width) of the frame, pixels.

        Returns:
            (height, width), pixels, both even more than the frame's.

        Raises:
            InputError: The scene is too large.
        """
        height, width = size
        scene = self._side(height, width, size), self._side(width, height, size)
        if max(scene) > LARGEST_SCENE_PX:
            raise InputError(
                f"the camera needs a background of {scene[1]} x {scene[0]} px behind frames of "
                f"{width} x {height} px; at most {LARGEST_SCENE_PX} a side: give smaller "
                f"frames, or less pan"
            )
        return scene

    def _side(self, along: int, across: int, size: tuple[int, int]) -> int:
        """Length of the scene along one axis, from the frame's along that axis and across it."""
        steepest = min(math.radians(self.roll_deg), math.atan2(across, along))
        view = along * math.cos(steepest) + across * math.sin(steepest)
        beyond = (view + self._pan(size) - along) / 2
        return along + 2 * math.ceil(beyond)

    def _pan(self, size: tuple[int, int]) -> float:
        """Range of the pan, pixels of the scene."""
        return self.pan_px * min(size) / REFERENCE_PX

    def draw(self, rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Camera:
        """Draw a clip's camera.

        Args:
            rng: Generator of `Stream.MOTION`, after all other draws of the clip.
            frames: Number of frames T.
            size: (height, width) of the frame, pixels.

        Raises:
            InputError: The scene is too large.
        """
        scene = self.scene_size(size)
        points = rng.random((4, 4))
        u = np.linspace(0, 1, frames)[:, None] if frames > 1 else np.zeros((1, 1))
        # A plain sum, since the last bit of a matrix product differs between processors.
        a, b, c, d = points
        curve = (1 - u) ** 3 * a + 3 * u * (1 - u) ** 2 * b + 3 * u**2 * (1 - u) * c + u**3 * d
        x, y, zoom, roll = curve.T
        zoom = 1 + (self.zoom - 1) * zoom
        angle_deg = (2 * roll - 1) * self.roll_deg
        turns = [math.radians(angle) for angle in angle_deg.tolist()]
        cosine, sine = (np.array([turn(a) for a in turns]) for turn in (math.cos, math.sin))
        pan_x, pan_y = (x - 0.5) * self._pan(size), (y - 0.5) * self._pan(size)
        # The point of the scene that is `pan` off its middle is in the middle of the frame.
        across = (size[1] - 1) / 2 - zoom * (cosine * pan_x + sine * pan_y)
        down = (size[0] - 1) / 2 - zoom * (cosine * pan_y - sine * pan_x)
        return Camera(
            scene=scene,
            centre=tuple(zip(across.tolist(), down.tolist(), strict=True)),
            angle_deg=tuple(angle_deg.tolist()),
            scale=tuple((factor, factor) for factor in zoom.tolist()),
        )


CAMERAS: dict[CameraName, CameraPath | None] = {
    "none": None,
    "pan": CameraPath(zoom=1.0, roll_deg=0.0),
    "pan-zoom": CameraPath(roll_deg=0.0),
    "pan-zoom-roll": CameraPath(),
}
"""Camera paths by name."""


def surface_maps(plan: MotionPlan) -> np.ndarray:
    """Compute the affine maps of all that a clip shows, by the labels of its id map.

    Args:
        plan: Motion of the objects and the camera.

    Returns:
        (K + 1, T, 2, 3) float64: that of the background, then those of `MotionPlan.placement`. The
        background's are from unit coordinates of its scene; without a camera from its own pixels to
        the same ones, which is wrong for backgrounds that move by themselves.
    """
    maps = np.empty((plan.slots + 1, plan.frames, 2, 3))
    maps[0] = np.eye(2, 3) if plan.camera is None else plan.camera.placement()
    maps[1:] = plan.placement()
    return maps
