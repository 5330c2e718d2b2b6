"""Moving objects over clips of other data sets, as a function or a transform."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
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
    """The clip, in its own layout and dtype, an array or a tensor on its device."""
    truth: Truth
    """Ground truth of the objects, from the motion alone."""
    tubelet: int = 2
    """Frames in a token of `token_coverage`."""
    patch: int = 16
    """Side of a token, pixels."""

    @cached_property
    def token_coverage(self) -> np.ndarray:
        """(objects, T', rows, columns) float32: what trajectory masks are drawn from.

        Raises:
            InputError: The clip cannot be cut into tokens; its truth is there nevertheless.
        """
        count, height, width = self.truth.ids.shape
        grid = TokenGrid(
            frames=count, height=height, width=width, tubelet=self.tubelet, patch=self.patch
        )
        return self.truth.token_coverage(grid)


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

    def __post_init__(self) -> None:
        if self.recipe.camera is not None:
            raise InputError(
                "the recipe has a camera, which moves over a still image, and objects go over "
                "clips here; use a recipe without one"
            )

    def __call__(self, clip: Any, key: int | str, *, epoch: int = 0) -> OverlaidClip:
        """Render objects over a copy of a clip.

        Args:
            clip: RGB, uint8 or floating from 0 to 1, a NumPy array or a torch tensor on any device.
                Of a floating clip, pixels without objects keep every bit.
            key: Number or name of the sample.
            epoch: Pass over the data, which changes the motion.

        Raises:
            InputError: Values are of another kind or range, or the layout is ambiguous.
        """
        layout = self.layout or _tell_layout(clip)
        given = _as_frames(clip, layout)
        frames = given if given.dtype == np.uint8 else np.rint(given * 255).astype(np.uint8)
        rng = keyed_generator(self.seed, Stream.MOTION, epoch=epoch, index=_number(key))
        plan = self.recipe.plan(rng, self.bank, frames=len(frames), size=frames.shape[1:3])
        ids = np.empty(frames.shape[:3], np.uint8)
        painted = render(frames, plan, self.bank, ids=ids, out=np.empty_like(frames, order="C"))
        if given is not frames:
            shade = painted.astype(given.dtype) / given.dtype.type(255)
            painted = np.where(painted == frames, given, shade)
        return OverlaidClip(
            _as_given(painted, clip, layout),
            Truth(plan, self.bank, ids=ids),
            tubelet=self.tubelet,
            patch=self.patch,
        )

    def albumentations(self, *, p: float = 1.0) -> ImageOnlyTransform:
        """Return a transform for albumentations; its pipeline is called with `images=`.

        Images are (T, H, W, 3), uint8 or floating; the pipeline's seed draws the keys.

        Args:
            p: Probability of applying the transform.
        """
        from smile_motion.clips.overlay_albumentations import Overlay

        return Overlay(self, p=p)

    def torchvision(self, *, truth: bool = False) -> Transform:
        """Return a transform for torchvision's v2 pipelines; torch's generator draws the keys.

        It applies to `tv_tensors.Video`, (T, 3, H, W), and where a sample has none, to its first
        plain tensor, as torchvision's own transforms do. A sample without a clip is refused.

        Args:
            truth: Put `(clip, {"ids": …, "boxes": …})` in the clip's place: a `tv_tensors.Mask`
                (T, H, W) uint8 of slots + 1, and `tv_tensors.BoundingBoxes` (objects * T, 4), all
                frames of an object together, NaN where none of it is in the frame. Later
                transforms crop, resize and mirror them with the clip.
        """
        from smile_motion.clips.overlay_torchvision import Overlay

        return Overlay(self, truth=truth)


def _number(key: int | str) -> int:
    """Convert a key to an integer below 2**64; names are hashed."""
    if isinstance(key, str):
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    if not 0 <= key < 2**64:
        raise InputError(f"the key {key} is not from 0 to 2**64 - 1; give a number or a name")
    return int(key)


def _tell_layout(clip: Any) -> Layout:
    shape = tuple(clip.shape)
    if len(shape) != 4:
        raise InputError(
            f"a clip of {shape}: {len(shape)} axes, expected 4, such as (T, 3, H, W); give one "
            f"clip at a time"
        )
    fitting: list[Layout] = [name for name, axis in _COLORS.items() if shape[axis] == 3]
    if len(fitting) != 1:
        why = "no axis has three colors" if not fitting else f"it could be {' or '.join(fitting)}"
        raise InputError(f"a clip of {shape}: {why}; say which with layout=, such as 'TCHW'")
    return fitting[0]


def _as_frames(clip: Any, layout: Layout) -> np.ndarray:
    """Convert a clip to (T, H, W, 3) on the CPU, contiguous; copied only if needed.

    Returns:
        uint8, or float32 from 0 to 1; float64 of such a clip.
    """
    shape = tuple(clip.shape)
    if len(shape) != 4 or shape[_COLORS[layout]] != 3:
        raise InputError(
            f"a clip of {shape}: layout {layout} means three colors on axis {_COLORS[layout]} of 4"
        )
    if not isinstance(clip, np.ndarray):
        clip = clip.detach().cpu()
        half = clip.is_floating_point() and clip.element_size() == 2  # NumPy has no bfloat16
        clip = (clip.float() if half else clip).numpy()
    array = clip.astype(np.float32) if clip.dtype == np.float16 else clip
    if array.dtype not in (np.uint8, np.float32, np.float64):
        raise InputError(f"a clip of {array.dtype}; give uint8, or floats from 0 to 1")
    if array.dtype != np.uint8 and array.size and not (array.min() >= 0 and array.max() <= 1):
        raise InputError(
            f"a clip of {array.dtype} from {array.min():g} to {array.max():g}; objects go over "
            f"values from 0 to 1, before pixels are standardized"
        )
    return np.ascontiguousarray(array.transpose(_TO_FRAMES[layout]))


def _as_given(frames: np.ndarray, clip: Any, layout: Layout) -> Any:
    """The frames in a clip's layout and dtype, an array or a tensor as it is."""
    array = np.ascontiguousarray(frames.transpose(np.argsort(_TO_FRAMES[layout])))
    if isinstance(clip, np.ndarray):
        return array.astype(clip.dtype, copy=False)
    import torch

    return torch.from_numpy(array).to(clip.device, clip.dtype)
