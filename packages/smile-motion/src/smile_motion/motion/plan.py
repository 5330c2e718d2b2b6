"""The motion plan: which objects, where, how large, how turned, in what order, in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.schema import require_bounds
from smile_motion.motion.effects import Appearance, MotionBlur, Shadow

LARGEST_SIDE_PX = 8192
"""Larger frames are refused."""
LARGEST_CLIP_PX = 1 << 28
"""Pixels of a clip's frames together, twice those of 64 frames of 1920 x 1080: 800 MB. Ours."""
MOST_PLACES = 1 << 18
"""Objects of a clip, counted in every frame. Ours."""
LARGEST_WORK_PX = 1 << 34
"""Pixels of a clip's frames, counted for every object. Ours."""
FARTHEST_PX = 1e7
"""Sizes of objects and distances from the frame; what is larger overflows pixel numbers. Ours."""
_BOUNDS = {"base_size": FARTHEST_PX, "centre": FARTHEST_PX, "angle_deg": 1e9, "scale": 1e7}
MOST_SLOTS = 255
"""Objects of a clip: id maps are bytes."""
_LARGEST_TINT = 1000.0


def require_clip_size(frames: int, height: int, width: int) -> None:
    """Raise InputError where a clip of this size would take the machine's memory."""
    if not (0 < height <= LARGEST_SIDE_PX and 0 < width <= LARGEST_SIDE_PX):
        raise InputError(
            f"frames of {width} x {height} px; 1 to {LARGEST_SIDE_PX} a side are rendered"
        )
    if frames * height * width > LARGEST_CLIP_PX:
        raise InputError(
            f"{frames} frames of {width} x {height} px are {frames * height * width} pixels; at "
            f"most {LARGEST_CLIP_PX} are rendered at once: fewer or smaller frames"
        )


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
        require_clip_size(frames, self.height, self.width)
        self._require_sound_numbers()

    def _require_sound_numbers(self) -> None:
        """Raise InputError for numbers that the compiled loops, which check nothing, cannot take.

        Comparisons are written so that NaN fails them.
        """
        slots, frames = self.angle_deg.shape
        if slots > MOST_SLOTS:
            raise InputError(f"plan: {slots} objects; a clip can have {MOST_SLOTS}")
        if slots * frames > MOST_PLACES or (
            slots * frames * self.height * self.width > LARGEST_WORK_PX
        ):
            raise InputError(
                f"plan: {slots} objects in {frames} frames of {self.width} x {self.height} px are "
                f"more than is rendered at once: fewer objects, or fewer or smaller frames"
            )
        if not slots * frames:
            return
        largest = {}
        for name, limit in _BOUNDS.items():
            values = getattr(self, name)
            largest[name] = max(-values.min(), values.max())
            if not largest[name] <= limit:
                raise InputError(
                    f"plan: {name} holds {largest[name]:.6g}; give finite numbers of at most "
                    f"{limit:g}"
                )
        if not self.base_size.min() > 0:
            raise InputError("plan: an object's base_size is not above 0")
        if largest["base_size"] * largest["scale"] > FARTHEST_PX and (
            (sides := np.abs(self.base_size[:, None] * self.scale)).max() > FARTHEST_PX
        ):
            raise InputError(
                f"plan: an object of {sides.max():.6g} px; at most {FARTHEST_PX:g} are drawn"
            )
        if self.order.dtype.kind not in "iu" or not (
            self.order.min() >= 0 and self.order.max() < slots
        ):
            raise InputError("plan: order does not name every object once a frame")
        if self.tint is not None and not (
            self.tint.min() >= 0 and self.tint.max() <= _LARGEST_TINT
        ):
            raise InputError(f"plan: tint is not within 0 to {_LARGEST_TINT:g}")
        if self.appearance_seed is not None and not (
            self.appearance_seed.min() >= 0 and self.appearance_seed.max() < 1 << 32
        ):
            raise InputError(f"plan: appearance_seed is not within 0 to {(1 << 32) - 1}")
        if self.shadow is not None:
            require_bounds(self.shadow, "plan: shadow")

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
        from smile_motion.motion._kernels import place_objects

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
