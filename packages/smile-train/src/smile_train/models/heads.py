"""The fine-tuning model: all tokens, mean-pooled, normalised, classified."""

import torch
from huggingface_hub import PyTorchModelHubMixin
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.config import StudentConfig
from smile_train.models.embedding import PatchEmbed, cut_cubes
from smile_train.models.layers import Block, initialise, run_blocks
from smile_train.models.loading import StrictLoading
from smile_train.models.mae import MODEL_CARD
from smile_train.models.positions import grid_positions


class Classifier(nn.Module, StrictLoading, PyTorchModelHubMixin, **MODEL_CARD):
    """Encoder without its final norm, then mean pooling, `fc_norm` and `head` (VideoMAE).

    `save_pretrained`, `from_pretrained` and `push_to_hub` are huggingface_hub's.
    """

    positions: torch.Tensor

    def __init__(
        self,
        student: StudentConfig,
        grid: TokenGrid,
        classes: int,
        *,
        drop_path: float = 0.0,
        head_dropout: float = 0.0,
        head_scale: float = 0.001,
        trained: TokenGrid | None = None,
        class_names: tuple[str, ...] = (),
    ) -> None:
        """Build the model, its weights drawn from torch's generator.

        class_names  by number, where they are known; `save_pretrained` keeps them.
        """
        super().__init__()
        self.config, self.grid = student, grid
        self.class_names = tuple(class_names)
        self.trained = trained or grid
        self.patch_embed = PatchEmbed(grid, student.width)
        table = grid_positions(grid, student.width, trained, student.positions)
        self.register_buffer("positions", table, persistent=False)
        rates = torch.linspace(0, drop_path, student.depth).tolist()
        self.blocks = nn.ModuleList(
            Block(student.width, student.heads, student.mlp_ratio, rate, student.epsilon)
            for rate in rates
        )
        self.fc_norm = nn.LayerNorm(student.width, eps=student.head_epsilon)
        self.head_dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(student.width, classes)
        self.apply(initialise)
        with torch.no_grad():
            self.head.weight.mul_(head_scale)

    def tokens(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8, or float in 0..1, to (B, N, width); no final norm."""
        tokens = self.patch_embed(cut_cubes(frames, self.grid)) + self.positions
        return run_blocks(self.blocks, tokens)

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """Pooled and normalised: (B, T, H, W, 3) uint8, or float in 0..1, to (B, width)."""
        return self.fc_norm(self.tokens(frames).mean(1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Class scores: (B, T, H, W, 3) uint8, or float in 0..1, to (B, classes)."""
        return self.head(self.head_dropout(self.features(frames)))
