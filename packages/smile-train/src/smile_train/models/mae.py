"""The pre-training model: the encoder sees visible tokens, the decoder predicts masked ones."""

from dataclasses import replace
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.config import StudentConfig
from smile_train.models.layers import (
    Block,
    Linear,
    PatchEmbed,
    cut_cubes,
    grid_positions,
    initialize,
    run_blocks,
    take,
)
from smile_train.models.loading import StrictLoading

MODEL_CARD = {
    "library_name": "smile-train",
    "license": "mit",
    "pipeline_tag": "video-classification",
    "tags": ["video", "masked-autoencoder", "smile"],
}
"""What the hub shows of models that are pushed there."""


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
        table = grid_positions(grid, config.width, trained, config.positions)
        self.register_buffer("positions", table, persistent=False)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio, epsilon=config.epsilon)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.apply(initialize)

    def forward(self, frames: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
        """Encode visible tokens, or all of them.

        Args:
            frames: (B, T, H, W, 3) uint8, or float in 0..1.
            visible: (B, n) int64 token numbers.

        Returns:
            (B, n, width) after the final norm.
        """
        cubes = cut_cubes(frames, self.grid)
        positions = self.positions
        if visible is not None:
            cubes, positions = take(cubes, visible), positions[visible]
        tokens = self.patch_embed(cubes) + positions
        return self.norm(run_blocks(self.blocks, tokens, again=self.gradient_checkpointing))

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.positions.shape[1]

    def encode(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All tokens (B, N, width) of clips (B, T, H, W, 3), and their mean (B, width)."""
        tokens = self(frames)
        return tokens, tokens.mean(1)


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
        table = grid_positions(grid, width, trained, config.positions)
        self.register_buffer("positions", table, persistent=False)
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.mlp_ratio, epsilon=config.epsilon)
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.head_epsilon)
        self.head = Linear(width, target_dim)
        self.apply(initialize)

    def forward(self, tokens: torch.Tensor, predicted: int) -> torch.Tensor:
        """(B, n, width), the last `predicted` of them masked, to (B, predicted, target_dim)."""
        tokens = run_blocks(self.blocks, tokens, again=self.gradient_checkpointing)
        return self.head(self.norm(tokens[:, -predicted:]))


class PretrainModel(nn.Module, StrictLoading, PyTorchModelHubMixin, **MODEL_CARD):
    """Masked reconstruction (SMILE, section 3; VideoMAE's architecture).

    `save_pretrained`, `from_pretrained` and `push_to_hub` are huggingface_hub's.
    """

    weights_prefix = "encoder."

    def __init__(
        self,
        student: StudentConfig,
        grid: TokenGrid,
        target_dim: int,
        *,
        trained: TokenGrid | None = None,
        motion_dim: int = 0,
        motion_depth: int = 2,
    ) -> None:
        """Build the model, its weights drawn from torch's generator.

        Args:
            student: Sizes of encoder and decoder.
            target_dim: Values predicted for each token.
            trained: The grid that weights to be loaded were learned on, where that is another.
            motion_dim: Values of motion predicted for each token besides, by a decoder of its own
                (TrackMAE); 0 for none.
            motion_depth: Blocks of that decoder. TrackMAE: 2.
        """
        super().__init__()
        self.config, self.grid, self.target_dim = student, grid, target_dim
        self.motion_dim, self.motion_depth = motion_dim, motion_depth if motion_dim else 0
        self.trained = trained or grid
        self.encoder = Encoder(student, grid, trained)
        self.encoder_to_decoder = Linear(student.width, student.decoder_width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, student.decoder_width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.decoder = Decoder(student, grid, target_dim, trained)
        if motion_dim:
            self.encoder_to_tracker = Linear(student.width, student.decoder_width, bias=False)
            shallow = replace(student, decoder_depth=motion_depth)
            self.tracker_decoder = Decoder(shallow, grid, motion_dim, trained)

    @property
    def stacks(self) -> list[Encoder | Decoder]:
        """What is made of blocks: the encoder, the decoder, and that of motion if there is one."""
        more = [self.tracker_decoder] if self.motion_dim else []
        return [self.encoder, self.decoder, *more]

    def save_memory(self) -> None:
        """Compute activations of blocks again in the backward pass (gradient checkpointing)."""
        for stack in self.stacks:
            stack.gradient_checkpointing = True

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks; for arguments see `torch.compile`.

        The encoder's share one graph, and so do the decoder's: compiling starts in seconds.
        """
        for stack in self.stacks:
            for block in stack.blocks:
                block.compile(*args, **kwargs)

    def forward(
        self, frames: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Predict the targets of masked tokens.

        Args:
            frames: (B, T, H, W, 3) uint8, or float in 0..1; standardized inside, after the gather.
            visible: (B, Nv) int64 and masked (B, Nm) int64 token numbers; together all tokens, or
                fewer where the decoder is spared some.

        Returns:
            (B, Nm, target_dim), in the order of `masked`; with `motion_dim` also their motion,
            (B, Nm, motion_dim).
        """
        encoded = self.encoder(frames, visible)
        hidden = self.mask_token + self.decoder.positions[masked]
        at = self.decoder.positions[visible]

        def decode(project: nn.Module, decoder: Decoder) -> torch.Tensor:
            return decoder(torch.cat([project(encoded) + at, hidden], 1), masked.shape[1])

        predicted = decode(self.encoder_to_decoder, self.decoder)
        if not self.motion_dim:
            return predicted
        return predicted, decode(self.encoder_to_tracker, self.tracker_decoder)

    def reconstruct(
        self, frames: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Predict the targets of masked tokens without their motion; see `forward`."""
        predicted = self(frames, visible, masked)
        return predicted[0] if self.motion_dim else predicted
