"""The pre-training model: the encoder sees visible tokens, the decoder predicts masked ones."""

import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.model.embedding import PatchEmbed, cut_cubes, take
from smile_train.model.positions import grid_positions
from smile_train.model.transformer import EPSILON, Block, initialise, run_blocks
from smile_train.students import StudentConfig


class Encoder(nn.Module):
    """Embeds and encodes the tokens it is given."""

    positions: torch.Tensor

    def __init__(
        self, config: StudentConfig, grid: TokenGrid, trained: TokenGrid | None = None
    ) -> None:
        super().__init__()
        self.grid = grid
        self.gradient_checkpointing = False
        self.patch_embed = PatchEmbed(grid, config.width)
        table = grid_positions(grid, config.width, trained)
        self.register_buffer("positions", table, persistent=False)
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
        return self.norm(run_blocks(self.blocks, tokens, again=self.gradient_checkpointing))


class Decoder(nn.Module):
    """Runs over visible and masked tokens, predicts for the masked ones."""

    positions: torch.Tensor

    def __init__(
        self,
        config: StudentConfig,
        grid: TokenGrid,
        target_dim: int,
        trained: TokenGrid | None = None,
    ) -> None:
        super().__init__()
        width = config.decoder_width
        self.gradient_checkpointing = False
        self.register_buffer("positions", grid_positions(grid, width, trained), persistent=False)
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.mlp_ratio)
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.head = nn.Linear(width, target_dim)
        self.apply(initialise)

    def forward(self, tokens: torch.Tensor, predicted: int) -> torch.Tensor:
        """(B, n, width), the last `predicted` of them masked, to (B, predicted, target_dim)."""
        tokens = run_blocks(self.blocks, tokens, again=self.gradient_checkpointing)
        return self.head(self.norm(tokens[:, -predicted:]))


class PretrainModel(nn.Module):
    """Masked reconstruction (SMILE, section 3; VideoMAE's architecture)."""

    def __init__(
        self,
        config: StudentConfig,
        grid: TokenGrid,
        target_dim: int,
        *,
        trained: TokenGrid | None = None,
    ) -> None:
        """Build the model, its weights drawn from torch's generator.

        target_dim  values predicted for each token.
        trained     the grid that weights to be loaded were learned on, where that is another.
        """
        super().__init__()
        self.config, self.grid, self.target_dim = config, grid, target_dim
        self.trained = trained or grid
        self.encoder = Encoder(config, grid, trained)
        self.encoder_to_decoder = nn.Linear(config.width, config.decoder_width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.decoder = Decoder(config, grid, target_dim, trained)

    def require_own_positions(self) -> None:
        """Raise InputError when positions are interpolated: other programs compute their own."""
        if self.trained.shape != self.grid.shape:
            raise InputError(
                f"positions are interpolated from {self.trained.shape} to {self.grid.shape}, "
                f"which other formats cannot say; use the checkpoint with smile_train.load"
            )

    def save_memory(self) -> None:
        """Compute activations of blocks again in the backward pass (gradient checkpointing)."""
        self.encoder.gradient_checkpointing = self.decoder.gradient_checkpointing = True

    def forward(
        self, frames: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Predict the targets of masked tokens.

        frames   (B, T, H, W, 3) uint8, or float in 0..1; standardised inside, after the gather.
        visible  (B, Nv) int64 and masked (B, Nm) int64 token numbers; together all tokens, or
                 fewer where the decoder is spared some.
        returns  (B, Nm, target_dim), in the order of `masked`.
        """
        seen = self.encoder_to_decoder(self.encoder(frames, visible))
        positions = self.decoder.positions
        hidden = self.mask_token + positions[masked]
        return self.decoder(torch.cat([seen + positions[visible], hidden], 1), masked.shape[1])
