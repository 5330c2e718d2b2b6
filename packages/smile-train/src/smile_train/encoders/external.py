"""CLIP and ViCLIP as video encoders."""

from __future__ import annotations

from pathlib import Path

import torch
from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.checkpoints.published import load_official, load_weights
from smile_train.checkpoints.weight_files import VICLIP
from smile_train.models.layers import to_unit
from smile_train.teachers.clip import ClipTeacher

FRAMES = 8
"""Frames of a clip, as of UMT's and ViCLIP's. Ours."""


class ClipFrames(nn.Module):
    """An image tower that looks at each frame by itself.

    Example:

        model = smile_train.load("clip:ViT-B-16-quickgelu")     # or clip:/folder, clip:/file.pt
    """

    def __init__(self, clip: ClipTeacher) -> None:
        """Take an open_clip image tower; raises InputError where its images are not square."""
        super().__init__()
        self.clip = clip
        height, width = clip.size
        rows, columns = clip.rows_columns
        if height != width or height // rows != width // columns:
            raise InputError(f"a tower of {height} x {width} px; frames are square here")
        self.grid = TokenGrid(
            frames=FRAMES, height=height, width=width, tubelet=1, patch=height // rows
        )

    @classmethod
    def open(cls, name_or_path: str) -> ClipFrames:
        """Open a CLIP as `ClipTeacher.open` does."""
        return cls(ClipTeacher.open(name_or_path))

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.clip.width

    def encode(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode clips.

        Args:
            frames: (B, T, H, W, 3) uint8, or float in 0..1.

        Returns:
            Patch tokens after the final LayerNorm (B, N, width), and the mean over frames of CLIP's
            image features (B, D), whose D is that of its joint space with text.
        """
        unit = to_unit(frames)
        standard = (unit - unit.new_tensor(self.clip.mean)) / unit.new_tensor(self.clip.std)
        images = standard.permute(0, 1, 4, 2, 3).flatten(0, 1)
        pooled, tokens = self.clip.visual(images)
        return tokens.reshape(len(frames), -1, self.width), pooled.unflatten(
            0, (len(frames), -1)
        ).mean(1)


HEAD_WIDTH = 64
"""Channels of a head in both published sizes."""
PREFIX = "vision_encoder."
DROPPED = ("text_encoder.", "temp")
"""What else a checkpoint holds."""


class ViClip(nn.Module):
    """A class token and all frames' patches under joint attention.

    Example:

        model = smile_train.load("viclip:ViCLIP-B_InternVid-FLT-10M.pth")
    """

    def __init__(self, grid: TokenGrid, width: int, depth: int, heads: int, joint: int) -> None:
        """Build the tower.

        Args:
            joint: Channels of the space that it shares with text.
        """
        from open_clip.transformer import QuickGELU, Transformer

        super().__init__()
        self.grid, self.width = grid, width
        patch = (1, grid.patch, grid.patch)
        self.conv1 = nn.Conv3d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(grid.slice_tokens + 1, width))
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, grid.frames, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, depth, heads, act_layer=QuickGELU)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, joint))

    @classmethod
    def open(cls, path: Path) -> ViClip:
        """Open a published checkpoint.

        Raises:
            InputError: It is not one, or weights are unknown or missing.
        """
        weights = load_official(path, kind=VICLIP).weights
        own = {
            name.removeprefix(PREFIX): value
            for name, value in weights.items()
            if not name.startswith(DROPPED)
        }
        try:
            width, _, _, patch, _ = own["conv1.weight"].shape
            tokens = own["positional_embedding"].shape[0] - 1
            frames = own["temporal_positional_embedding"].shape[1]
            joint = own["proj"].shape[1]
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: not a ViCLIP ({error}); give its published file") from error
        side = patch * round(tokens**0.5)
        depth = len({name.split(".")[2] for name in own if name.startswith("transformer.")})
        held = sum(value.numel() for value in own.values())
        if depth * 4 * width * width > held:
            raise InputError(
                f"{path}: {depth} layers of width {width} in {held} weights; not a ViCLIP"
            )
        grid = TokenGrid(frames=frames, height=side, width=side, tubelet=1, patch=patch)
        model = cls(grid, width, depth, width // HEAD_WIDTH or 1, joint)
        load_weights(model, own, path)
        return model.eval()

    def encode(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode clips.

        Args:
            frames: (B, T, H, W, 3) uint8, or float in 0..1.

        Returns:
            Patch tokens after the final LayerNorm (B, N, width), in time, row, column order, and
            the projected class token (B, D).
        """
        unit = to_unit(frames)
        standard = (unit - unit.new_tensor(IMAGENET_MEAN)) / unit.new_tensor(IMAGENET_STD)
        patches = self.conv1(standard.permute(0, 4, 1, 2, 3)).flatten(3).permute(0, 2, 3, 1)
        patches = patches + self.positional_embedding[1:]
        patches = patches + self.temporal_positional_embedding[0, :, None]
        first = (self.class_embedding + self.positional_embedding[0]).expand(len(frames), 1, -1)
        tokens = self.ln_pre(torch.cat([first, patches.flatten(1, 2)], 1))
        tokens = self.ln_post(self.transformer(tokens))
        return tokens[:, 1:], tokens[:, 0] @ self.proj
