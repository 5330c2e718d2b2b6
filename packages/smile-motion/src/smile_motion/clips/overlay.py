"""Moving objects over clips of other data sets, as a function or a transform."""

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
"""Axis of the three colors."""


@dataclass(frozen=True, eq=False)
class OverlaidClip:
    """A clip with objects, and their ground truth."""

    frames: Any
    """Frames with the layout, type and device of the given clip."""
    truth: Truth
    """Ground truth of the objects."""
    token_coverage: np.ndarray
    """(K, slices, rows, columns) float32: share of each token that each object covers, for
    trajectory masks."""


@dataclass(frozen=True, kw_only=True)
class MotionOverlay:
    """Composites moving objects over any clip.

    The objects and their motion depend on the fields, the key and the epoch only.

    Example:

        overlay = MotionOverlay(bank=embedded_bank(), recipe=MotionRecipe.paper())
        clip = overlay(frames, key="video_0001")    # (T, H, W, 3) or (T, 3, H, W) or (3, T, H, W)
        clip.frames, clip.truth.boxes, clip.token_coverage
    """

    bank: ObjectBank
    """Bank to draw objects from."""
    recipe: MotionRecipe = field(default_factory=MotionRecipe.paper)
    """Motion of the objects."""
    seed: int = 0
    """Seed of all motions."""
    layout: Layout | None = None
    """Axes of the given clips. Default: inferred from the axis of length 3."""
    tubelet: int = 2
    """Frames in a token of `token_coverage`."""
    patch: int = 16
    """Side of a token, pixels."""

    def __call__(self, clip: Any, key: int | str, *, epoch: int = 0) -> OverlaidClip:
        """Render objects over a copy of a clip.

        Args:
            clip: uint8 RGB, a NumPy array or a torch tensor on any device.
            key: Number or name of the sample.
            epoch: Pass over the data, which changes the motion.

        Raises:
            InputError: The clip is not uint8, its layout is ambiguous, or its size is not a
                multiple of the token size.
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
        """Return the token grid of a clip (T, H, W, 3)."""
        count, height, width = frames.shape[:3]
        return TokenGrid(
            frames=count, height=height, width=width, tubelet=self.tubelet, patch=self.patch
        )

    def albumentations(self, *, p: float = 1.0) -> ImageOnlyTransform:
        """Return a transform for albumentations; its pipeline is called with `images=`.

        Images are (T, H, W, 3) uint8; the pipeline's seed draws the keys.

        Args:
            p: Probability of applying the transform.
        """
        from smile_motion.clips.overlay_albumentations import Overlay

        return Overlay(self, p=p)

    def torchvision(self) -> Transform:
        """Return a transform for torchvision's v2 pipelines.

        It applies to `tv_tensors.Video`, (T, 3, H, W) uint8; torch's generator draws the keys.
        """
        from smile_motion.clips.overlay_torchvision import Overlay

        return Overlay(self)


def _number(key: int | str) -> int:
    """Convert a key to an integer below 2**64; names are hashed."""
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
        why = "no axis has three colors" if not fitting else f"it could be {' or '.join(fitting)}"
        raise InputError(f"a clip of {shape}: {why}; say which with layout=, such as 'TCHW'")
    return fitting[0]


def _as_frames(clip: Any, layout: Layout) -> np.ndarray:
    """Convert a clip to (T, H, W, 3) uint8 on the CPU, contiguous; copied only if needed."""
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
