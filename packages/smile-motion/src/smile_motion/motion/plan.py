"""Motion plans: position, size, rotation and order of the objects in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.components import require_bounds
from smile_motion.io.options import MOST_POSES
from smile_motion.motion.camera import Camera
from smile_motion.motion.effects import Appearance, MotionBlur, Shadow
from smile_motion.motion.transforms import place_objects

LARGEST_SIDE_PX = 8192
"""Largest frame side, pixels."""
LARGEST_CLIP_PX = 1 << 28
"""Largest number of pixels of a clip, twice those of 64 frames of 1920 x 1080: 800 MB. Ours."""
MOST_PLACES = 1 << 18
"""Largest number of objects times frames. Ours."""
LARGEST_WORK_PX = 1 << 34
"""Largest number of pixels of a clip times objects. Ours."""
FARTHEST_PX = 1e7
"""Largest object size and distance from the frame, pixels; larger ones overflow integers. Ours."""
_BOUNDS = {"base_size": FARTHEST_PX, "centre": FARTHEST_PX, "angle_deg": 1e9, "scale": 1e7}
MOST_SLOTS = 255
"""Largest number of objects: id maps are bytes."""
_LARGEST_TINT = 1000.0


def require_clip_size(frames: int, height: int, width: int) -> None:
    """Check the size of a clip.

    Args:
        frames: Number of frames T.
        height: Frame height, pixels.
        width: Frame width, pixels.

    Raises:
        InputError: A side, or the number of pixels, is out of range.
    """
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
    """The motion of a clip's objects; both pixels and truth are computed from these numbers.

    K objects ("slots" 0 to K - 1) over T frames; pixel centers at integers, y down, angles
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
    """(K, T, 2) float64: x, y of the object's center, pixels."""
    angle_deg: np.ndarray
    """(K, T) float64: rotation, degrees, counter-clockwise."""
    scale: np.ndarray
    """(K, T, 2) float64: factors on width and height."""
    order: np.ndarray
    """(T, K) int64: draw order, slots from the bottom up."""
    blur: MotionBlur | None = None
    """Motion blur of the objects; None for instantaneous exposure."""
    shadow: Shadow | None = None
    """Shadow under each object."""
    tint: np.ndarray | None = None
    """(K, T, 3) float64: factors on each object's red, green and blue."""
    appearance: Appearance | None = None
    """Transform of the objects' own colors."""
    appearance_seed: np.ndarray | None = None
    """(K,) int64: seed of `appearance` for each object."""
    camera: Camera | None = None
    """View of a still background; None if it stays, or moves by itself."""
    pose: np.ndarray | None = None
    """(K, T) int64: number of the pose that each object shows, 0 for a still one; None if all show
    their first."""

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
            "pose": (slots, frames),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise InputError(
                    f"plan: {name} has shape {values.shape}, expected {shape} "
                    f"for {slots} objects in {frames} frames"
                )
        require_clip_size(frames, self.height, self.width)
        if self.camera is not None:
            self.camera.require_covering(frames, self.height, self.width)
        self._require_sound_numbers()

    def _require_sound_numbers(self) -> None:
        """Raise InputError for numbers out of range, since the compiled loops check nothing.

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
        if self.pose is not None and not (
            self.pose.dtype.kind in "iu" and self.pose.min() >= 0 and self.pose.max() < MOST_POSES
        ):
            raise InputError(f"plan: pose is not integers within 0 to {MOST_POSES - 1}")
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

    @property
    def is_rigid(self) -> bool:
        """Whether no object changes its pose, so that all its points move as `placement` says.

        The points of others move within their poses besides, by no known amount: flow, tracks and
        token motion are those of the canvas that carries the poses.
        """
        return self.pose is None or bool((self.pose == self.pose[:, :1]).all())

    def placement(self) -> np.ndarray:
        """Compute the affine maps from unit coordinates to frame pixels.

        Returns:
            (K, T, 2, 3) float64: `[x, y] = map @ [u, v, 1]`; the object's image spans [-0.5, 0.5]
            in u (rightwards) and v (downwards).
        """
        return place_objects(self.base_size, self.scale, self.angle_deg, self.centre)

    def only(self, slot: int) -> MotionPlan:
        """Return the motion of one object alone."""
        names = (
            *("objects", "base_size", "centre", "angle_deg", "scale"),
            *("tint", "appearance_seed", "pose"),
        )
        given = {name: all_ for name in names if (all_ := getattr(self, name)) is not None}
        own = {name: all_[slot : slot + 1] for name, all_ in given.items()}
        return replace(self, order=np.zeros((self.frames, 1), np.int64), **own)

    def framed(self, *, shift: np.ndarray, height: int, width: int) -> MotionPlan:
        """Return the motion in another frame, with centers moved by `shift` (x, y), pixels, but for
        the camera, whose scene need not fill that frame."""
        centre = self.centre + shift
        return replace(self, centre=centre, height=height, width=width, camera=None)

    def resized(self, factor: float) -> MotionPlan:
        """Return the same motion in a frame `factor` times as large, corners aligned."""
        return replace(
            self,
            height=round(self.height * factor),
            width=round(self.width * factor),
            base_size=self.base_size * factor,
            centre=(self.centre + 0.5) * factor - 0.5,
            shadow=self.shadow and self.shadow.resized(factor),
            camera=self.camera and self.camera.resized(factor),
        )

    def mirrored(self) -> MotionPlan:
        """Return the motion mirrored left to right, objects included.

        A mirrored object has a negative scale of its width.
        """
        across = np.array([-1.0, 1.0])
        return replace(
            self,
            centre=self.centre * across + [self.width - 1, 0],
            angle_deg=-self.angle_deg,
            scale=self.scale * across,
            shadow=self.shadow and self.shadow.mirrored(),
            camera=self.camera and self.camera.mirrored(self.width),
        )
