"""Motion plans: position, size, rotation and order of the objects in every frame; their JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Interval, Len

from smile_motion.errors import InputError
from smile_motion.io.components import Kinds, component_to_json, require_bounds
from smile_motion.io.schema import parse, read_record
from smile_motion.motion.camera import Camera
from smile_motion.motion.effects import Appearance, MotionBlur, Shadow
from smile_motion.motion.transforms import place_objects

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


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
        """Compute the affine maps from unit coordinates to frame pixels.

        Returns:
            (K, T, 2, 3) float64: `[x, y] = map @ [u, v, 1]`; the object's image spans [-0.5, 0.5]
            in u (rightwards) and v (downwards).
        """
        return place_objects(self.base_size, self.scale, self.angle_deg, self.centre)

    def only(self, slot: int) -> MotionPlan:
        """Return the motion of one object alone."""
        names = ("objects", "base_size", "centre", "angle_deg", "scale", "tint", "appearance_seed")
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


FORMAT = 1
"""Version of a plan's JSON form."""
_EFFECTS = ("blur", "shadow", "appearance", "camera")
_ALWAYS = {"base_size": (2,), "centre": (-1, 2), "angle_deg": (-1,), "scale": (-1, 2)}
_OF_RECORDS = ("id", "category", "sha256", "united_from")
"""Fields of an object's record that a plan stores; the last one for united banks."""
_Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class _PlannedObject:
    """One object in a plan's JSON: the arrays of `MotionPlan` for one slot."""

    id: str
    category: str
    sha256: str
    united_from: Annotated[int | None, Interval(ge=0)] = None
    base_size: _Pair
    centre: list[_Pair]
    angle_deg: list[float]
    scale: list[_Pair]
    tint: list[tuple[float, float, float]] | None = None
    appearance_seed: Annotated[int, Interval(ge=0, lt=1 << 32)] | None = None


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Schema of a plan's JSON."""

    format: Literal[1]
    height: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    width: Annotated[int, Interval(ge=1, le=LARGEST_SIDE_PX)]
    objects: Annotated[list[_PlannedObject], Len(0, MOST_SLOTS)]
    order: Annotated[
        list[Annotated[list[Annotated[int, Interval(ge=0, lt=MOST_SLOTS)]], Len(0, MOST_SLOTS)]],
        Len(1, 1 << 20),
    ]
    blur: Annotated[MotionBlur | None, Kinds(MotionBlur)] = None
    shadow: Annotated[Shadow | None, Kinds(Shadow)] = None
    appearance: Annotated[Appearance | None, Kinds(Appearance)] = None
    camera: Annotated[Camera | None, Kinds(Camera)] = None


def plan_to_json(plan: MotionPlan, bank: ObjectBank) -> dict[str, Any]:
    """Convert a plan to JSON values: objects by id and hash, numbers without rounding.

    Args:
        plan: The plan.
        bank: Bank that the plan's objects are in.
    """
    objects = []
    for slot, index in enumerate(plan.objects):
        record = bank.record(int(index))
        entry = {name: record[name] for name in _OF_RECORDS if name in record}
        entry |= {name: getattr(plan, name)[slot].tolist() for name in _ALWAYS}
        for name in ("tint", "appearance_seed"):
            values = getattr(plan, name)
            if values is not None:
                entry[name] = values[slot].tolist()
        objects.append(entry)
    given = {name: value for name in _EFFECTS if (value := getattr(plan, name)) is not None}
    return {
        "format": FORMAT,
        "height": plan.height,
        "width": plan.width,
        "objects": objects,
        "order": plan.order.tolist(),
        **{name: component_to_json(value) for name, value in given.items()},
    }


def plan_from_json(data: dict[str, Any], bank: ObjectBank, *, source: str = "plan") -> MotionPlan:
    """Read a plan written by `plan_to_json`.

    Args:
        data: JSON values.
        bank: Bank that the plan was made with.
        source: Source of the values named in errors, such as a path.

    Raises:
        InputError: A field is missing or not finite, or the bank lacks an object.
    """
    if isinstance(data, dict) and data.get("format") not in (None, FORMAT):
        raise InputError(
            f"{source}: plan format {data['format']!r:.60}, expected {FORMAT}; render it anew"
        )
    read = parse(data, _Plan, source=source, remedy="render it anew")
    frames, slots = len(read.order), len(read.objects)
    try:
        arrays: dict[str, Any] = {
            name: np.array([getattr(entry, name) for entry in read.objects], np.float64).reshape(
                slots, *(frames if side == -1 else side for side in shape)
            )
            for name, shape in _ALWAYS.items()
        }
        order = np.array(read.order, np.int64).reshape(frames, slots)
        tint = _of_all(read.objects, "tint", np.float64)
        seeds = _of_all(read.objects, "appearance_seed", np.int64)
    except ValueError as error:
        raise InputError(
            f"{source}: arrays of objects are not of {frames} frames, as order is, for each of "
            f"{slots} objects; render it anew"
        ) from error
    if not (np.sort(order, axis=1) == np.arange(slots)).all():
        raise InputError(f"{source}: order does not name every object once a frame; render it anew")
    found = [_find(bank, entry.id, entry.sha256, source) for entry in read.objects]
    try:
        return MotionPlan(
            height=read.height,
            width=read.width,
            objects=np.array(found, np.int64),
            order=order,
            tint=tint,
            appearance_seed=seeds,
            **{name: getattr(read, name) for name in _EFFECTS},
            **arrays,
        )
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(source) else f"{source}: {said}") from error


def _of_version(bank: ObjectBank) -> str:
    """Return a further remedy if the bank comes from a source with versions."""
    version = bank.card.get("version")
    if version is None:
        return ""
    return (
        f", or render the clip anew: this one is of version {version} of its source, "
        f"{bank.card.get('source')}, whose other versions have other objects under the same ids"
    )


def _of_all(entries: list[_PlannedObject], name: str, dtype: type) -> np.ndarray | None:
    """Return an array that either all objects have, or none."""
    values = [getattr(entry, name) for entry in entries]
    if all(value is None for value in values):
        return None
    return np.array(values, dtype)


def read_plan(path: Path | str, bank: ObjectBank) -> MotionPlan:
    """Read the plan in a clip's JSON file, or in a file with the plan only.

    Args:
        path: Path of the file.
        bank: Bank that the plan was made with.

    Raises:
        InputError: The file is missing or not JSON, or its plan does not fit the bank.
    """
    try:
        data = read_record(Path(path), dict[str, Any], remedy="render the clip anew")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; render clips to have plans") from error
    return plan_from_json(data.get("plan", data), bank, source=str(path))


def _find(bank: ObjectBank, identifier: str, sha256: str, source: str) -> int:
    try:
        index = bank.find(identifier)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    if bank.record(index)["sha256"] != sha256:
        raise InputError(
            f"{source}: object {identifier} differs from the one in {bank.name}; "
            f"open the bank that the plan was made with{_of_version(bank)}"
        )
    return index
