"""The JSON form of plans: publish plans, not terabytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.components import component_from_json, component_to_json
from smile_motion.effects import Appearance, MotionBlur, Shadow
from smile_motion.errors import InputError
from smile_motion.files import parse_json
from smile_motion.plan import MotionPlan

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

FORMAT = 1
"""Version of a plan's JSON form."""
LARGEST_SIDE_PX = 8192
"""Plans of larger frames are refused: their files decide how much memory is taken."""
_EFFECTS = {"blur": MotionBlur, "shadow": Shadow, "appearance": Appearance}
_ALWAYS = {"base_size": (2,), "centre": (-1, 2), "angle_deg": (-1,), "scale": (-1, 2)}


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
    if data.get("format") != FORMAT:
        raise InputError(
            f"{source}: plan format {data.get('format')!r}, expected {FORMAT}; render it anew"
        )
    try:
        entries, frames = data["objects"], len(data["order"])
        arrays = {
            name: np.array([entry[name] for entry in entries], np.float64).reshape(
                len(entries), *(frames if side == -1 else side for side in shape)
            )
            for name, shape in _ALWAYS.items()
        }
        if entries and "tint" in entries[0]:
            arrays["tint"] = np.array([entry["tint"] for entry in entries], np.float64)
        seeds = (
            np.array([entry["appearance_seed"] for entry in entries], np.int64)
            if entries and "appearance_seed" in entries[0]
            else None
        )
        order = np.array(data["order"], np.int64).reshape(frames, len(entries))
        height, width = int(data["height"]), int(data["width"])
        objects = [_find(bank, entry["id"], entry["sha256"], source) for entry in entries]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{source}: not a motion plan ({error!r}); render it anew") from error
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise InputError(f"{source}: {name} holds NaN or infinity; render it anew")
    if not (0 < height <= LARGEST_SIDE_PX and 0 < width <= LARGEST_SIDE_PX):
        raise InputError(
            f"{source}: frames of {width} x {height} px; 1 to {LARGEST_SIDE_PX} a side are rendered"
        )
    if not (arrays["base_size"] > 0).all():
        raise InputError(f"{source}: an object's base_size is not above 0; render it anew")
    if not (np.sort(order, axis=1) == np.arange(len(entries))).all():
        raise InputError(f"{source}: order does not name every object once a frame; render it anew")
    effects = {
        name: component_from_json(data[name], {kind.__name__: kind}, source)
        for name, kind in _EFFECTS.items()
        if name in data
    }
    return MotionPlan(
        height=height,
        width=width,
        objects=np.array(objects, dtype=np.int64),
        order=order,
        appearance_seed=seeds,
        **arrays,
        **effects,
    )


def read_plan(path: Path | str, bank: ObjectBank) -> MotionPlan:
    """Read the plan in a clip's JSON file, or in a file that holds nothing else.

    Raises InputError when the file is not JSON or its plan does not fit the bank.
    """
    try:
        data = parse_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; render clips to have plans") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error}); render the clip anew") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: not a motion plan; expected a JSON object")
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
