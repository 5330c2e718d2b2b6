"""Moving objects over clips that others load: in a data set, or in a pipeline of transforms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth.instances import Truth

if TYPE_CHECKING:
    from albumentations import ImageOnlyTransform
    from torchvision.transforms.v2 import Transform

Layout = Literal["THWC", "TCHW", "CTHW"]
_TO_FRAMES: dict[Layout, tuple[int, int, int, int]] = {
    "THWC": (0, 1, 2, 3),
    "TCHW": (0, 2, 3, 1),
    "CTHW": (1, 2, 3, 0),
}
_COLORS: dict[Layout, int] = {"THWC": 3, "TCHW": 1, "CTHW": 0}
"""Axis of the three colours."""


@dataclass(frozen=True, eq=False)
class OverlaidClip:
    """A clip with objects on it."""

    frames: Any
    """As the clip came: its layout, and an array or a tensor on its device."""
    truth: Truth
    """What is where, from the motion alone."""
    token_coverage: np.ndarray
    """(objects, T', rows, columns) float32: what masks along trajectories are drawn from."""


@dataclass(frozen=True, kw_only=True)
class MotionOverlay:
    """Puts moving objects over any clip.

    What is put there depends on the fields, the key and the epoch alone.

    Example:

        overlay = MotionOverlay(bank=embedded_bank(), recipe=MotionRecipe.paper())
        clip = overlay(frames, key="video_0001")    # (T, H, W, 3) or (T, 3, H, W) or (3, T, H, W)
        clip.frames, clip.truth.boxes, clip.token_coverage
    """

    bank: ObjectBank
    """Where objects come from."""
    recipe: MotionRecipe = field(default_factory=MotionRecipe.paper)
    """How they move."""
    seed: int = 0
    """Seed of all motions."""
    layout: Layout | None = None
    """Axes of the clips that come. Default: told by which axis has three colours."""
    tubelet: int = 2
    """Frames in a token of `token_coverage`."""
    patch: int = 16
    """Side of a token, pixels."""

    def __call__(self, clip: Any, key: int | str, *, epoch: int = 0) -> OverlaidClip:
        """Paint objects over a copy of a clip.

        Args:
            clip: uint8 RGB, a NumPy array or a torch tensor on any device.
            key: The sample's number, or its name.
            epoch: Pass over the data; another epoch gives other motion.

        Raises:
            InputError: The clip is not uint8, its axes cannot be told, or it cannot be cut into
                tokens.
        """
        layout = self.layout or _tell_layout(clip)
        frames = _as_frames(clip, layout)
        grid = self.grid(frames)
        rng = keyed_generator(self.seed, Stream.MOTION, epoch=epoch, index=_number(key))
        plan = self.recipe.plan(rng, self.bank, frames=len(frames), size=frames.shape[1:3])
        ids = np.empty(frames.shape[:3], np.uint8)
        painted = render(frames, plan, self.bank, ids=ids, out=np.empty_like(frames, order="C"))
        truth = Truth(plan, self.bank, ids=ids)
        return OverlaidClip(_as_given(painted, clip, layout), truth, truth.token_coverage(grid))

    def grid(self, frames: np.ndarray) -> TokenGrid:
        """Tokens of a clip (T, H, W, 3)."""
        count, height, width = frames.shape[:3]
        return TokenGrid(
            frames=count, height=height, width=width, tubelet=self.tubelet, patch=self.patch
        )

    def albumentations(self, *, p: float = 1.0) -> ImageOnlyTransform:
        """Return a transform for albumentations, whose pipeline draws the keys.

        Args:
            p: Probability of applying it. The pipeline is called with `images=`, (T, H, W, 3)
                uint8.
        """
        from smile_motion.clips.overlay_albumentations import Overlay

        return Overlay(self, p=p)

    def torchvision(self) -> Transform:
        """Return a transform for torchvision's v2 pipelines: over `tv_tensors.Video`, (T, C, H, W)
        uint8; torch's generator draws the keys."""
        from smile_motion.clips.overlay_torchvision import Overlay

        return Overlay(self)


def _number(key: int | str) -> int:
    """A key as a number below 2**64; names by their hash."""
    if isinstance(key, str):
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    if not 0 <= key < 2**64:
        raise InputError(f"the key {key} is not from 0 to 2**64 - 1; give a number or a name")
    return int(key)


def _tell_layout(clip: Any) -> Layout:
    shape = tuple(clip.shape)
    fitting: list[Layout] = [
        name for name, axis in _COLORS.items() if len(shape) == 4 and shape[axis] == 3
    ]
    if len(fitting) != 1:
        why = "no axis has three colours" if not fitting else f"it could be {' or '.join(fitting)}"
        raise InputError(f"a clip of {shape}: {why}; say which with layout=, such as 'TCHW'")
    return fitting[0]


def _as_frames(clip: Any, layout: Layout) -> np.ndarray:
    """(T, H, W, 3) uint8 on the CPU, contiguous; the clip itself where it is so already."""
    array = clip if isinstance(clip, np.ndarray) else clip.detach().cpu().numpy()
    if array.dtype != np.uint8:
        raise InputError(
            f"a clip of {array.dtype}; objects go over uint8, before pixels are standardised"
        )
    return np.ascontiguousarray(array.transpose(_TO_FRAMES[layout]))


def _as_given(frames: np.ndarray, clip: Any, layout: Layout) -> Any:
    back = np.argsort(_TO_FRAMES[layout])
    array = frames.transpose(back)
    if isinstance(clip, np.ndarray):
        return np.ascontiguousarray(array)
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(clip.device)
