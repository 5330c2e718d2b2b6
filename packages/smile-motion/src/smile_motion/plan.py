"""The motion plan: which objects, where, how large, how turned, in what order, in every frame."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.errors import InputError

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

FORMAT = 1
"""Version of a plan's JSON form."""


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

    def __post_init__(self) -> None:
        slots, frames = self.angle_deg.shape
        expected = {
            "objects": (slots,),
            "base_size": (slots, 2),
            "centre": (slots, frames, 2),
            "scale": (slots, frames, 2),
            "order": (frames, slots),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"plan: {name} has shape {getattr(self, name).shape}, expected {shape} "
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
        turn = np.deg2rad(self.angle_deg)
        cosine, sine = np.cos(turn), np.sin(turn)
        side = self.base_size[:, None] * self.scale
        maps = np.empty((self.slots, self.frames, 2, 3))
        maps[..., 0, 0] = cosine * side[..., 0]
        maps[..., 0, 1] = sine * side[..., 1]
        maps[..., 1, 0] = -sine * side[..., 0]
        maps[..., 1, 1] = cosine * side[..., 1]
        maps[..., 2] = self.centre
        return maps

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
        )

    def to_json(self, bank: ObjectBank) -> dict[str, Any]:
        """Return the plan as JSON values: objects by id and hash, numbers to the last bit."""
        records = [bank.record(int(index)) for index in self.objects]
        return {
            "format": FORMAT,
            "height": self.height,
            "width": self.width,
            "objects": [
                {
                    "id": record["id"],
                    "category": record["category"],
                    "sha256": record["sha256"],
                    "base_size": self.base_size[slot].tolist(),
                    "centre": self.centre[slot].tolist(),
                    "angle_deg": self.angle_deg[slot].tolist(),
                    "scale": self.scale[slot].tolist(),
                }
                for slot, record in enumerate(records)
            ],
            "order": self.order.tolist(),
        }

    @classmethod
    def from_json(
        cls, data: dict[str, Any], bank: ObjectBank, *, source: str = "plan"
    ) -> MotionPlan:
        """Read a plan written by `to_json`.

        source  named in errors, such as the file the values came from.
        Raises InputError when a part is missing or not finite, or when the bank lacks an object.
        """
        if data.get("format") != FORMAT:
            raise InputError(
                f"{source}: plan format {data.get('format')!r}, expected {FORMAT}; render it anew"
            )
        try:
            entries = data["objects"]
            arrays = {
                name: np.array([entry[name] for entry in entries], dtype=np.float64)
                for name in ("base_size", "centre", "angle_deg", "scale")
            }
            order = np.array(data["order"], dtype=np.int64)
            if not entries:
                frames = len(data["order"])
                arrays = {
                    "base_size": np.zeros((0, 2)),
                    "centre": np.zeros((0, frames, 2)),
                    "angle_deg": np.zeros((0, frames)),
                    "scale": np.zeros((0, frames, 2)),
                }
                order = np.zeros((frames, 0), dtype=np.int64)
            height, width = int(data["height"]), int(data["width"])
            objects = [_find(bank, entry["id"], entry["sha256"], source) for entry in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source}: not a motion plan ({error!r}); render it anew") from error
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise InputError(f"{source}: {name} holds NaN or infinity; render it anew")
        return cls(
            height=height,
            width=width,
            objects=np.array(objects, dtype=np.int64),
            order=order,
            **arrays,
        )


def read_plan(path: Path, bank: ObjectBank) -> MotionPlan:
    """Read the plan in a clip's JSON file, or in a file that holds nothing else.

    Raises InputError when the file is not JSON or its plan does not fit the bank.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error}); render the clip anew") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: not a motion plan; expected a JSON object")
    return MotionPlan.from_json(data.get("plan", data), bank, source=str(path))


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
