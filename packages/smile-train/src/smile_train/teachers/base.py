"""What teachers have in common: frozen image models whose patch features are reconstructed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.layers import to_unit

SQUEEZE = 0.15
"""Change of aspect that is let pass: rounding small sides to whole patches makes as much."""


class Teacher(nn.Module, ABC):
    """Encodes the first frame of each tubelet; a kind of teacher says how (`encode_images`)."""

    _mean: torch.Tensor
    _std: torch.Tensor

    def __init__(
        self,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: tuple[int, int],
        rows_columns: tuple[int, int],
        width: int,
        depth: int,
        official_input: bool = False,
    ) -> None:
        """Describe the model.

        Args:
            mean, std: Mean and deviation, per color, of the pixels in 0..1 it was trained on.
            size: (height, width) of the images it takes, pixels.
            rows_columns: Rows and columns of its patches.
            width: Channels of a patch feature.
            depth: Number of its blocks.
            official_input: Feed the student's ImageNet-normalized pixels, as the published code
                does, instead of the teacher's own normalization.
        """
        super().__init__()
        self.mean, self.std = (IMAGENET_MEAN, IMAGENET_STD) if official_input else (mean, std)
        # On the device already: copied there anew, they would have the host wait for it.
        self.register_buffer("_mean", torch.tensor(self.mean), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std), persistent=False)
        self.size, self.rows_columns = size, rows_columns
        self.width, self.depth = width, depth
        self.layers: tuple[int, ...] = (depth,)
        """Blocks whose features are the target, counted from 1; the last by default."""

    @property
    def target_dim(self) -> int:
        """Values of a token's target: the features of all `layers`, one after the other."""
        return self.width * len(self.layers)

    def choose_layers(self, shares: Sequence[float]) -> None:
        """Teach several blocks, those at the same shares of the depth as a student's.

        Args:
            shares: Ascending, in 0..1; the last is 1.

        Raises:
            InputError: Two fall on one block.
        """
        layers = tuple(max(1, round(share * self.depth)) for share in shares)
        if len(set(layers)) < len(layers):
            raise InputError(
                f"--target-layers: {len(layers)} layers of the student fall on blocks "
                f"{' '.join(map(str, layers))} of a teacher of {self.depth}; give fewer"
            )
        self.layers = layers

    def require_fits(self, grid: TokenGrid) -> None:
        """Raise InputError where frames would have to be squeezed out of shape."""
        height, width = self.size
        if abs(grid.width / grid.height / (width / height) - 1) > SQUEEZE:
            raise InputError(
                f"the teacher sees {width} x {height} px, frames are {grid.width} x {grid.height}: "
                f"their token grids cannot be matched; give frames of the teacher's shape"
            )

    @abstractmethod
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks, which share one graph; for arguments see `torch.compile`."""

    @abstractmethod
    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens of normalized images: (n, 3, H, W) float to (n, patches, target_dim), of
        each layer after the final norm."""

    @torch.no_grad()
    def forward(self, frames: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
        """Targets of a clip: the first frame of each tubelet, encoded.

        Args:
            frames: (B, T, H, W, 3) uint8.

        Returns:
            (B, grid.tokens, target_dim) float32, in the grid's token order; the teacher's own patch
            grid is resized bilinearly where it differs.
        """
        unit = to_unit(frames[:, :: grid.tubelet])
        batch, slices = unit.shape[:2]
        standard = (unit - self._mean) / self._std
        images = standard.permute(0, 1, 4, 2, 3).flatten(0, 1)
        if tuple(images.shape[-2:]) != self.size:
            images = F.interpolate(images, self.size, mode="bicubic", antialias=True)
        tokens = self.encode_images(images).float()
        if self.rows_columns != (grid.rows, grid.columns):
            field = tokens.transpose(1, 2).unflatten(2, self.rows_columns)
            field = F.interpolate(field, (grid.rows, grid.columns), mode="bilinear")
            tokens = field.flatten(2).transpose(1, 2)
        return tokens.reshape(batch, slices * grid.slice_tokens, self.target_dim)
