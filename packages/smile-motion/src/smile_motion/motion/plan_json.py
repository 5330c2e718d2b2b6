"""The JSON form of plans: publish plans, not terabytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Interval, Len

from smile_motion.errors import InputError
from smile_motion.io.schema import Kinds, component_to_json, parse, read_record
from smile_motion.motion.effects import Appearance, MotionBlur, Shadow
from smile_motion.motion.plan import LARGEST_SIDE_PX, MOST_SLOTS, MotionPlan

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

FORMAT = 1
"""Version of a plan's JSON form."""
_EFFECTS = ("blur", "shadow", "appearance")
_ALWAYS = {"base_size": (2,), "centre": (-1, 2), "angle_deg": (-1,), "scale": (-1, 2)}
_Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class _PlannedObject:
    """An object in a plan's JSON: arrays of `MotionPlan` cut to one slot."""

    id: str
    category: str
    sha256: str
    base_size: _Pair
    centre: list[_Pair]
    angle_deg: list[float]
    scale: list[_Pair]
    tint: list[tuple[float, float, float]] | None = None
    appearance_seed: Annotated[int, Interval(ge=0, lt=1 << 32)] | None = None


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A plan's JSON."""

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


def plan_to_json(plan: MotionPlan, bank: ObjectBank) -> dict[str, Any]:
    """Return a plan as JSON values: objects by id and hash, numbers to the last bit."""
    objects = []
    for slot, index in enumerate(plan.objects):
        record = bank.record(int(index))
        entry = {name: record[name] for name in ("id", "category", "sha256")}
        entry |= {name: getattr(plan, name)[slot].tolist() for name in _ALWAYS}
        for name in ("tint", "appearance_seed"):
            values = getattr(plan, name)
            if values is not None:
                entry[name] = values[slot].tolist()
        objects.append(entry)
    return {
        "format": FORMAT,
        "height": plan.height,
        "width": plan.width,
        "objects": objects,
        "order": plan.order.tolist(),
        **{
            name: component_to_json(getattr(plan, name))
            for name in _EFFECTS
            if getattr(plan, name) is not None
        },
    }


def plan_from_json(data: dict[str, Any], bank: ObjectBank, *, source: str = "plan") -> MotionPlan:
    """Read a plan written by `plan_to_json`.

    source  named in errors, such as the file the values came from.
    Raises InputError when a part is missing or not finite, or when the bank lacks an object.
    """
    if isinstance(data, dict) and data.get("format") not in (None, FORMAT):
        raise InputError(
            f"{source}: plan format {data['format']!r:.60}, expected {FORMAT}; render it anew"
        )
    read = parse(data, _Plan, source=source, remedy="render it anew")
    frames, slots = len(read.order), len(read.objects)
    try:
        arrays = {
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
    try:
        return MotionPlan(
            height=read.height,
            width=read.width,
            objects=np.array(
                [_find(bank, entry.id, entry.sha256, source) for entry in read.objects], np.int64
            ),
            order=order,
            tint=tint,
            appearance_seed=seeds,
            blur=read.blur,
            shadow=read.shadow,
            appearance=read.appearance,
            **arrays,
        )
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(source) else f"{source}: {said}") from error


def _of_all(entries: list[_PlannedObject], name: str, dtype: type) -> np.ndarray | None:
    """An array that either all objects have, or none."""
    values = [getattr(entry, name) for entry in entries]
    if all(value is None for value in values):
        return None
    return np.array(values, dtype)


def read_plan(path: Path | str, bank: ObjectBank) -> MotionPlan:
    """Read the plan in a clip's JSON file, or in a file that holds nothing else.

    Raises InputError when the file is not JSON or its plan does not fit the bank.
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
            f"{source}: object {identifier} differs from the one in {bank.path}; "
            f"open the bank that the plan was made with"
        )
    return index
