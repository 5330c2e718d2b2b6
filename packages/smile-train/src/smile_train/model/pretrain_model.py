"""The pre-training model: the encoder sees visible tokens, the decoder predicts masked ones."""

import torch
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.model.embedding import PatchEmbed, cut_cubes, take
from smile_train.model.positions import sine_cosine
from smile_train.model.transformer import EPSILON, Block, initialise
from smile_train.students import StudentConfig


class Encoder(nn.Module):
    """Embeds and encodes the tokens it is given."""

    positions: torch.Tensor

    def __init__(self, config: StudentConfig, grid: TokenGrid) -> None:
        super().__init__()
        self.grid = grid
        self.patch_embed = PatchEmbed(grid, config.width)
        self.register_buffer("positions", sine_cosine(grid.tokens, config.width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=EPSILON)
        self.apply(initialise)

    def forward(self, frames: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
        """Encode visible tokens, or all of them.

        frames  (B, T, H, W, 3) uint8, or float in 0..1.
        visible (B, n) int64 token numbers.
        returns (B, n, width) after the final norm.
        """
        cubes = cut_cubes(frames, self.grid)
        positions = self.positions
        if visible is not None:
            cubes, positions = take(cubes, visible), positions[visible]
        tokens = self.patch_embed(cubes) + positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class Decoder(nn.Module):
    """Runs over visible and masked tokens, predicts for the masked ones."""

    positions: torch.Tensor

    def __init__(self, config: StudentConfig, grid: TokenGrid, target_dim: int) -> None:
        super().__init__()
        width = config.decoder_width
        self.register_buffer("positions", sine_cosine(grid.tokens, width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.mlp_ratio)
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.head = nn.Linear(width, target_dim)
        self.apply(initialise)

    def forward(self, tokens: torch.Tensor, predicted: int) -> torch.Tensor:
        """(B, n, width), the last `predicted` of them masked, to (B, predicted, target_dim)."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens[:, -predicted:]))


class PretrainModel(nn.Module):
    """Masked reconstruction (SMILE, section 3; VideoMAE's architecture)."""

    def __init__(self, config: StudentConfig, grid: TokenGrid, target_dim: int) -> None:
        super().__init__()
        self.config, self.grid, self.target_dim = config, grid, target_dim
        self.encoder = Encoder(config, grid)
        self.encoder_to_decoder = nn.Linear(config.width, config.decoder_width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.decoder = Decoder(config, grid, target_dim)

    def forward(
        self, frames: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Predict the targets of masked tokens.

        frames   (B, T, H, W, 3) uint8, or float in 0..1; standardised inside, after the gather.
        visible  (B, Nv) int64 and masked (B, Nm) int64 token numbers, together all tokens.
        returns  (B, Nm, target_dim), in the order of `masked`.
        """
        seen = self.encoder_to_decoder(self.encoder(frames, visible))
        positions = self.decoder.positions
        hidden = self.mask_token + positions[masked]
        return self.decoder(torch.cat([seen + positions[visible], hidden], 1), masked.shape[1])
