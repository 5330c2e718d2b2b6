"""JSON of motion plans: objects by id and hash, numbers without rounding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Interval, Len

from smile_motion.errors import InputError
from smile_motion.io.components import Kinds, component_to_json
from smile_motion.io.options import MOST_POSES
from smile_motion.io.schema import parse, read_record
from smile_motion.motion.camera import Camera
from smile_motion.motion.effects import Appearance, MotionBlur, Shadow
from smile_motion.motion.plan import LARGEST_SIDE_PX, MOST_SLOTS, MotionPlan

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

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
    pose: list[Annotated[int, Interval(ge=0, lt=MOST_POSES)]] | None = None


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
        for name in ("tint", "appearance_seed", "pose"):
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
        pose = _of_all(read.objects, "pose", np.int64)
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
            pose=pose,
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
