"""Rendering of batches of plans on a torch device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rendering on a device needs torch; install it with: pip install 'smile-motion[torch]'",
        name="torch",
    ) from error
from torch import Tensor

from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer.device_boxes import Outlines, bound_outlines
from smile_motion.renderer.device_records import LayerRecords, make_records
from smile_motion.tokens import TokenGrid

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

KernelName = Literal["auto", "triton", "torch"]


class DeviceRecords(NamedTuple):
    """`LayerRecords` as tensors on a device."""

    whole: Tensor
    base: Tensor
    real: Tensor
    tint: Tensor
    label: Tensor
    poses: Tensor
    maps: Tensor


class DeviceRenderer:
    """Renders batches of plans on a device that holds the bank's pixels.

    Shapes depend on the batch size and the recipe's effects only, and no call waits for the device.
    Pixels equal those of `render`, since both use the same fixed-point arithmetic.

    Example:

        renderer = DeviceRenderer(bank, "cuda")
        clips = renderer.render(background, plans)      # uint8 (B, T or 1, H, W, 3) on the device
        clips.frames, clips.ids, clips.boxes, clips.token_coverage(TokenGrid())
    """

    def __init__(
        self,
        bank: ObjectBank,
        device: torch.device | str = "cuda",
        *,
        frames: int = 16,
        size: tuple[int, int] = (224, 224),
        max_objects: int = 2,
        kernel: KernelName = "auto",
    ) -> None:
        """Copy the bank to the device.

        Args:
            bank: Bank that plans are made with.
            device: Device to render on.
            frames: Number of frames T of every clip.
            size: (height, width) of every clip, pixels.
            max_objects: Largest number of objects in a clip.
            kernel: `triton`, which needs CUDA, or plain `torch`; `auto` is triton if it runs.

        Raises:
            InputError: The device does not exist, or the bank does not fit into its memory.
        """
        self.bank = bank
        self.frames, self.size, self.max_objects = frames, size, max_objects
        self.device = _open_device(device)
        self.kernel = _choose_kernel(kernel, self.device)
        self.words = _resident(bank, self.device)
        """(n,) int32: the bank's pixels."""

    @cached_property
    def outlines(self) -> Outlines:
        """Silhouettes of the bank's objects, copied to the device on first access."""
        return Outlines.of(self.bank, self.device)

    def render(self, background: Tensor, plans: Sequence[MotionPlan]) -> DeviceClips:
        """Render the objects of B plans over backgrounds.

        Args:
            background: (B, T, H, W, 3) uint8 on the device; or (B, 1, H, W, 3) or (B, H, W, 3) for
                one image that is repeated. It is not changed. Where a plan has a camera, the T
                frames of `view_scene`: cameras move on the host.
            plans: Motions of the B clips.

        Raises:
            InputError: Shapes do not fit, or a plan cannot be rendered on a device.
        """
        if self.frames != 1 and (background.ndim == 4 or background.shape[1] == 1):
            for number, plan in enumerate(plans):
                if plan.camera is not None:
                    raise InputError(
                        f"plan {number} has a camera, and the background is one image; give the "
                        f"{self.frames} frames of renderer.cpu.view_scene"
                    )
        return self.paint(background, self.upload(self.records(plans)))

    def records(self, plans: Sequence[MotionPlan]) -> LayerRecords:
        """Convert plans to records on the host, such as in a data loader's worker."""
        return make_records(
            plans, self.bank, objects=self.max_objects, frames=self.frames, size=self.size
        )

    def upload(self, records: LayerRecords) -> DeviceRecords:
        """Copy records to the device without waiting for it."""
        # All in one transfer: each array starts at a multiple of 16 bytes.
        starts = np.cumsum([0, *(-(-array.nbytes // 16) * 16 for array in records)])
        pinned = self.device.type == "cuda"
        host = torch.empty(int(starts[-1]), dtype=torch.uint8, pin_memory=pinned)
        for start, array in zip(starts, records, strict=False):
            host.numpy()[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
        whole = host.to(self.device, non_blocking=True)
        return DeviceRecords(
            *(
                whole[start : start + array.nbytes]
                .view(torch.from_numpy(array).dtype)
                .view(array.shape)
                for start, array in zip(starts, records, strict=False)
            )
        )

    def paint(self, background: Tensor, records: DeviceRecords) -> DeviceClips:
        """Render uploaded records; see `render`."""
        clips = records.label.shape[0]
        height, width = self.size
        if background.ndim == 4:
            background = background[:, None]
        fits = (clips, self.frames, height, width, 3), (clips, 1, height, width, 3)
        if tuple(background.shape) not in fits or background.dtype != torch.uint8:
            raise InputError(
                f"background is {background.dtype} {tuple(background.shape)}; "
                f"these plans need torch.uint8 {fits[0]}, or {fits[1]} for a still one"
            )
        if background.device != self.words.device:
            raise InputError(
                f"background is on {background.device}, the renderer on {self.words.device}; "
                f"move it there"
            )
        shape = (clips, self.frames, height, width)
        ids = torch.empty(shape, dtype=torch.uint8, device=self.device)
        parts = (records.whole, records.base, records.real, records.tint, records.label)
        if self.kernel == "triton":
            from smile_motion.renderer._triton import paint as paint_tiles

            frames = torch.empty((*shape, 3), dtype=torch.uint8, device=self.device)
            if background.stride()[-2:] != (3, 1):
                background = background.contiguous()
            with torch.cuda.device(self.device if self.device.type == "cuda" else -1):
                paint_tiles(frames, ids, background, self.words, *parts)
        else:
            from smile_motion.renderer._torch import paint

            frames = background.expand(*shape, 3).clone(memory_format=torch.contiguous_format)
            paint(frames, ids, self.words, *parts)
        return DeviceClips(frames=frames, ids=ids, records=records, renderer=self)


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceClips:
    """A batch of rendered clips and their ground truth, on the device."""

    frames: Tensor
    """(B, T, H, W, 3) uint8 RGB."""
    ids: Tensor
    """(B, T, H, W) uint8: slot + 1 of the topmost object, 0 for background."""
    records: DeviceRecords
    """Records of the plans."""
    renderer: DeviceRenderer
    """The renderer."""

    def normalized(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Normalize the frames: (value / 255 - mean) / std of each channel.

        Args:
            mean: Mean of each channel, in 0..1; ImageNet's by default.
            std: Standard deviation of each channel, in 0..1; ImageNet's by default.
            dtype: Floating-point type of the result.

        Returns:
            (B, 3, T, H, W) of `dtype`.

        Raises:
            InputError: Mean or deviation of a channel is missing, or the type is not floating.
        """
        if len(mean) != 3 or len(std) != 3 or not dtype.is_floating_point:
            raise InputError(
                f"mean {tuple(mean)} and std {tuple(std)} for {dtype}; give three of each and a "
                f"floating-point type"
            )
        channels = [
            ((self.frames[..., channel] - 255 * mean[channel]) / (255 * std[channel])).to(dtype)
            for channel in range(3)
        ]
        return torch.stack(channels, dim=1)

    def normalised(self, *args: Any, **kwargs: Any) -> Tensor:
        """Former name of `normalized`, until the next release."""
        message = "DeviceClips.normalised is now called normalized"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.normalized(*args, **kwargs)

    @property
    def full_boxes(self) -> Tensor:
        """Tight boxes of whole silhouettes, (B, K, T, 4) float64 pixels; NaN for empty slots."""
        return self._boxes[0]

    @property
    def boxes(self) -> Tensor:
        """Tight boxes of the parts inside the frame, (B, K, T, 4) float64 pixels; NaN outside."""
        return self._boxes[1]

    @cached_property
    def _boxes(self) -> tuple[Tensor, Tensor]:
        return bound_outlines(
            self.renderer.outlines, self.records.poses, self.records.maps, self.renderer.size
        )

    def token_coverage(self, grid: TokenGrid) -> Tensor:
        """Compute the share of each token that each object covers; see `Truth.token_coverage`.

        Args:
            grid: Token grid of the clips.

        Returns:
            (B, K, slices, rows, columns) float32.

        Raises:
            InputError: The grid has another size than the clips.
        """
        if (grid.frames, grid.height, grid.width) != tuple(self.ids.shape[1:]):
            raise InputError(
                f"grid is of {grid.frames} frames of {grid.height} x {grid.width} px, the clips "
                f"have {tuple(self.ids.shape[1:])}"
            )
        slots = self.records.poses.shape[1]
        cells = self.ids.view(
            -1, grid.slices, grid.tubelet, grid.rows, grid.patch, grid.columns, grid.patch
        )
        counts = [(cells == slot + 1).sum(dim=(2, 4, 6)) for slot in range(slots)]
        return torch.stack(counts, dim=1).float() * np.float32(1 / grid.token_pixels).item()


def _open_device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"{device!r} is no device; give cpu, cuda or cuda:1") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is there; ask for device cpu, or use render")
    return found


def _choose_kernel(kernel: KernelName, device: torch.device) -> Literal["triton", "torch"]:
    if kernel not in ("auto", "triton", "torch"):
        raise InputError(f"kernel is {kernel!r}; give auto, triton or torch")
    runs = device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    try:
        import triton  # noqa: F401
    except ImportError:
        runs = False
    if kernel == "triton" and not runs:
        raise InputError(
            f"the Triton kernel does not run on {device.type} here; use kernel='torch'"
        )
    return "triton" if runs and kernel != "torch" else "torch"


def _resident(bank: ObjectBank, device: torch.device) -> Tensor:
    pixels = bank.pixels.view(np.int32)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if pixels.nbytes > 0.9 * free:
            raise InputError(
                f"{bank.name}: {pixels.nbytes / 1e9:.1f} GB of pixels, {free / 1e9:.1f} GB free on "
                f"{device}; make a smaller bank, or render on the CPU"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the file is mapped for reading only
        return torch.from_numpy(pixels).to(device)
