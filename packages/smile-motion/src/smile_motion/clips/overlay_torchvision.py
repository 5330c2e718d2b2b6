"""Moving objects as a transform of torchvision; see `MotionOverlay.torchvision`.

A module of its own, because processes that load data look the class up by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from smile_motion.errors import InputError

if TYPE_CHECKING:
    from smile_motion.clips.overlay import MotionOverlay
    from smile_motion.truth.instances import Truth


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor that torchvision has no type for."""
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


class Overlay(v2.Transform):
    """Moving objects over videos, or over the first plain tensor of a sample without one."""

    _transformed_types = (tv_tensors.Video, is_plain)

    def __init__(self, overlay: MotionOverlay, *, truth: bool = False) -> None:
        super().__init__()
        self.overlay = overlay
        self.truth = truth

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a key from torch's generator.

        Raises:
            InputError: The sample has no clip.
        """
        if not flat_inputs:
            raise InputError(
                "no clip in the sample: expected a tv_tensors.Video or a tensor, (T, 3, H, W); "
                "give one, or leave this transform out"
            )
        return {"key": int(torch.randint(2**62, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Render objects over a clip."""
        typed = isinstance(inpt, tv_tensors.Video)
        overlay = replace(self.overlay, layout="TCHW") if typed else self.overlay
        made = overlay(torch.as_tensor(inpt).as_subclass(torch.Tensor), params["key"])
        frames = tv_tensors.Video(made.frames) if typed else made.frames
        return (frames, _targets(made.truth)) if self.truth else frames


def _targets(truth: Truth) -> dict[str, Any]:
    """Ids and boxes as torchvision has them: a box's edges are counted from the frame's corner."""
    boxes = torch.from_numpy(truth.boxes.reshape(-1, 4) + 0.5).float()
    return {
        "ids": tv_tensors.Mask(torch.from_numpy(truth.ids)),
        "boxes": tv_tensors.BoundingBoxes(
            boxes,
            format="XYXY",  # type: ignore[call-arg]
            canvas_size=(truth.plan.height, truth.plan.width),
        ),
    }
