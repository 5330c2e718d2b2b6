"""CLIP as a video encoder: its features of single frames, averaged."""

from __future__ import annotations

import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.embedding import to_unit
from smile_train.teachers.clip import ClipTeacher

FRAMES = 8
"""Frames of a clip, as of UMT's and ViCLIP's. Ours."""


class ClipFrames(nn.Module):
    """An image tower that looks at each frame by itself.

    Example::

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

        frames   (B, T, H, W, 3) uint8, or float in 0..1.
        returns  patch tokens after the final LayerNorm (B, N, width), and the mean over frames of
                 CLIP's image features (B, D), whose D is that of its joint space with text.
        """
        unit = to_unit(frames)
        standard = (unit - unit.new_tensor(self.clip.mean)) / unit.new_tensor(self.clip.std)
        images = standard.permute(0, 1, 4, 2, 3).flatten(0, 1)
        pooled, tokens = self.clip.visual(images)
        return tokens.reshape(len(frames), -1, self.width), pooled.unflatten(
            0, (len(frames), -1)
        ).mean(1)
