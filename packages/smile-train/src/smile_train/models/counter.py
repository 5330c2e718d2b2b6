"""Counting repetitions with a video transformer."""

import math

import torch
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.config import StudentConfig
from smile_train.models.heads import Classifier

WIDTH = 256
"""Of the rhythm head. Ours."""
TYPICAL_RATE = 1 / 32
"""Repetitions a frame that an untrained head predicts. Ours."""


class RepetitionCounter(Classifier):
    """How many repetitions a frame, from how much the moments of a clip resemble each other.

    The published heads are for convolutional networks; this one is ours. Tokens are averaged over
    space; the slices' features and the matrix of their similarities (as in RepNet, CVPR 2020) go
    through two transformer layers to a rate for each slice.
    """

    def __init__(
        self,
        student: StudentConfig,
        grid: TokenGrid,
        *,
        drop_path: float = 0.0,
        trained: TokenGrid | None = None,
    ) -> None:
        super().__init__(student, grid, 1, drop_path=drop_path, trained=trained)
        self.head = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, math.log(TYPICAL_RATE))
        self.rhythm_input = nn.Linear(student.width + grid.slices, WIDTH)
        self.rhythm = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                WIDTH, 4, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
            ),
            2,
            enable_nested_tensor=False,
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Repetitions a frame: (B, T, H, W, 3) uint8, or float in 0..1, to (B, 1)."""
        slices = self.tokens(frames).unflatten(1, (self.grid.slices, -1)).mean(2)
        features = self.fc_norm(slices)
        normal = nn.functional.normalize(features - features.mean(1, keepdim=True), dim=-1)
        similarity = (normal @ normal.transpose(1, 2) * 10).softmax(-1)
        rhythm = self.rhythm(self.rhythm_input(torch.cat([features, similarity], -1)))
        return self.head(rhythm).clamp(-9, 1).exp().mean(1)
