"""Moving objects as a transform of torchvision; see `MotionOverlay.torchvision`.

A module of its own, because processes that load data look the class up by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

if TYPE_CHECKING:
    from smile_motion.clips.overlay import MotionOverlay


class Overlay(v2.Transform):
    """Moving objects over videos."""

    _transformed_types = (tv_tensors.Video,)

    def __init__(self, overlay: MotionOverlay) -> None:
        super().__init__()
        self.overlay = overlay

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a key from torch's generator."""
        return {"key": int(torch.randint(2**62, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Paint over a video."""
        clip = torch.as_tensor(inpt).as_subclass(torch.Tensor)
        return tv_tensors.Video(self.overlay(clip, params["key"]).frames)
