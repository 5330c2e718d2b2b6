"""The motion plan: which objects, where, how large, how turned, in what order, in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from smile_motion.effects import Appearance, MotionBlur, Shadow
from smile_motion.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionPlan:
    """Everything that decides a clip's objects: pixels and truth both follow from these numbers.

    K objects ("slots" 0 to K - 1) over T frames; pixel centres at integers, y down, angles
    counter-clockwise as seen on screen.
    """

    height: int
    """Frame height, pixels."""
    width: int
    """Frame width, pixels."""
    objects: np.ndarray
    """(K,) int64: each slot's object, as an index into the bank."""
    base_size: np.ndarray
    """(K, 2) float64: width and height at scale 1, pixels."""
    centre: np.ndarray
    """(K, T, 2) float64: x, y of the object's centre, pixels."""
    angle_deg: np.ndarray
    """(K, T) float64."""
    scale: np.ndarray
    """(K, T, 2) float64: factors on width and height."""
    order: np.ndarray
    """(T, K) int64: slots from the bottom up."""
    blur: MotionBlur | None = None
    """Exposure of the objects; none: instantaneous."""
    shadow: Shadow | None = None
    """Shadow under each object."""
    tint: np.ndarray | None = None
    """(K, T, 3) float64: factors on each object's red, green and blue."""
    appearance: Appearance | None = None
    """Change of the objects' own pixels."""
    appearance_seed: np.ndarray | None = None
    """(K,) int64: decides what `appearance` does to each object."""

    def __post_init__(self) -> None:
        slots, frames = self.angle_deg.shape
        shapes = {
            "objects": (slots,),
            "base_size": (slots, 2),
            "centre": (slots, frames, 2),
            "scale": (slots, frames, 2),
            "order": (frames, slots),
            "tint": (slots, frames, 3),
            "appearance_seed": (slots,),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise InputError(
                    f"plan: {name} has shape {values.shape}, expected {shape} "
                    f"for {slots} objects in {frames} frames"
                )

    @property
    def slots(self) -> int:
        """Number of objects K."""
        return len(self.objects)

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.angle_deg.shape[1]

    def placement(self) -> np.ndarray:
        """Affine maps from unit coordinates to frame pixels.

        returns (K, T, 2, 3) float64: `[x, y] = map @ [u, v, 1]`; the object's image spans
        [-0.5, 0.5] in u (rightwards) and v (downwards).
        """
        from smile_motion._drawing import place_objects

        return place_objects(self.base_size, self.scale, self.angle_deg, self.centre)

    def only(self, slot: int) -> MotionPlan:
        """Return the motion of one object alone."""
        return replace(
            self,
            objects=self.objects[slot : slot + 1],
            base_size=self.base_size[slot : slot + 1],
            centre=self.centre[slot : slot + 1],
            angle_deg=self.angle_deg[slot : slot + 1],
            scale=self.scale[slot : slot + 1],
            order=np.zeros((self.frames, 1), np.int64),
            tint=None if self.tint is None else self.tint[slot : slot + 1],
            appearance_seed=None
            if self.appearance_seed is None
            else self.appearance_seed[slot : slot + 1],
        )

    def framed(self, *, shift: np.ndarray, height: int, width: int) -> MotionPlan:
        """Return the same motion in another frame, centres moved by `shift` (x, y) pixels."""
        return replace(self, centre=self.centre + shift, height=height, width=width)

    def resized(self, factor: float) -> MotionPlan:
        """Return the same motion in a frame `factor` times as large, corners aligned."""
        return replace(
            self,
            height=round(self.height * factor),
            width=round(self.width * factor),
            base_size=self.base_size * factor,
            centre=(self.centre + 0.5) * factor - 0.5,
            shadow=self.shadow and self.shadow.resized(factor),
        )

    def mirrored(self) -> MotionPlan:
        """Return the motion as a mirror shows it, left and right exchanged, objects too.

        A mirrored object has a negative factor on its width.
        """
        across = np.array([-1.0, 1.0])
        return replace(
            self,
            centre=self.centre * across + [self.width - 1, 0],
            angle_deg=-self.angle_deg,
            scale=self.scale * across,
            shadow=self.shadow and self.shadow.mirrored(),
        )
