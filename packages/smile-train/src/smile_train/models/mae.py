"""The pre-training model: the encoder sees visible tokens, the decoder predicts masked ones."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.config import StudentConfig, require_layers
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

LIBRARY, TAGS = "smile-train", ("video", "masked-autoencoder", "smile")
"""Library and tags of models on the hub."""


def hub_metadata() -> dict[str, Any]:
    """What the hub shows of models that are pushed there; its mixin adds to the tags, in place."""
    return {
        "library_name": LIBRARY,
        "license": "mit",
        "pipeline_tag": "video-classification",
        "tags": list(TAGS),
    }


class Prediction(NamedTuple):
    """What a student predicts besides the target of masked tokens; None for what it does not."""

    masked: torch.Tensor
    """(B, Nm, target_dim): targets of masked tokens, in the order of their numbers."""
    motion: torch.Tensor | None = None
    """(B, Nm, motion_dim): their motion."""
    visible: torch.Tensor | None = None
    """(B, Nv, target_dim): targets of visible tokens, in the order of their numbers."""


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
        return self.norm(self.run(frames, visible)[0])

    def run(
        self, frames: torch.Tensor, visible: torch.Tensor | None = None, layers: Sequence[int] = ()
    ) -> list[torch.Tensor]:
        """Compute what blocks put out, before the final norm; arguments as of a call.

        Args:
            layers: Blocks whose output is kept, counted from 1, ascending; the last block alone by
                default.

        Returns:
            (B, n, width) of each of them.
        """
        cubes = cut_cubes(frames, self.grid)
        positions = self.positions
        if visible is not None:
            cubes, positions = take(cubes, visible), positions[visible]
        tokens = self.patch_embed(cubes) + positions
        blocks, kept = list(self.blocks), []
        for start, end in pairwise((0, *(layers or (len(blocks),)))):
            tokens = run_blocks(blocks[start:end], tokens, again=self.gradient_checkpointing)
            kept.append(tokens)
        return kept

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
        *,
        predict_visible: bool = False,
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
        self.predict_visible = predict_visible
        if predict_visible:
            self.visible_head = Linear(width, target_dim)
        self.apply(initialize)

    def forward(
        self, tokens: torch.Tensor, predicted: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Predict the targets of tokens.

        Args:
            tokens: (B, n, width), the last `predicted` of them masked.

        Returns:
            (B, predicted, target_dim), and those of the others, (B, n - predicted, target_dim), by
            a head of their own, where it has one.
        """
        tokens = run_blocks(self.blocks, tokens, again=self.gradient_checkpointing)
        if not self.predict_visible:
            return self.head(self.norm(tokens[:, -predicted:])), None
        seen, masked = self.norm(tokens).tensor_split([-predicted], 1)
        return self.head(masked), self.visible_head(seen)


class PretrainModel(nn.Module, StrictLoading, PyTorchModelHubMixin, **hub_metadata()):
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
        predict_visible: bool = False,
        target_layers: Sequence[int] = (),
    ) -> None:
        """Build the model, its weights drawn from torch's generator.

        Args:
            student: Sizes of encoder and decoder.
            target_dim: Values predicted for each token.
            trained: The grid that weights to be loaded were learned on, where that is another.
            motion_dim: Values of motion predicted for each token besides, by a decoder of its own
                (TrackMAE); 0 for none.
            motion_depth: Blocks of that decoder. TrackMAE: 2.
            predict_visible: Predict the targets of visible tokens, too, by a head of their own
                (V-JEPA 2.1).
            target_layers: Blocks of the encoder, counted from 1, whose outputs the decoder is given
                together, each after a norm of its own (V-JEPA 2.1); the last block is one of them.
                None: the last alone.

        Raises:
            InputError: `target_layers` are not ascending numbers of the student's blocks.
        """
        super().__init__()
        require_layers(target_layers, student.depth)
        self.config, self.grid, self.target_dim = student, grid, target_dim
        self.motion_dim, self.motion_depth = motion_dim, motion_depth if motion_dim else 0
        self.trained = trained or grid
        self.encoder = Encoder(student, grid, trained)
        self.target_layers = tuple(target_layers)
        self.encoder_to_decoder: nn.Module = (
            _fuse(student, len(self.target_layers))
            if self.target_layers
            else Linear(student.width, student.decoder_width, bias=False)
        )
        self.mask_token = nn.Parameter(torch.zeros(1, 1, student.decoder_width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.decoder = Decoder(student, grid, target_dim, trained, predict_visible=predict_visible)
        if motion_dim:
            self.encoder_to_tracker = Linear(student.width, student.decoder_width, bias=False)
            shallow = replace(student, decoder_depth=motion_depth)
            self.tracker_decoder = Decoder(shallow, grid, motion_dim, trained)
        if self.target_layers:
            self.layer_norms = nn.ModuleList(
                nn.LayerNorm(student.width, eps=student.epsilon) for _ in self.target_layers[1:]
            )

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
    ) -> torch.Tensor | Prediction:
        """Predict the targets of masked tokens.

        Args:
            frames: (B, T, H, W, 3) uint8, or float in 0..1; standardized inside, after the gather.
            visible: (B, Nv) int64 and masked (B, Nm) int64 token numbers; together all tokens, or
                fewer where the decoder is spared some.

        Returns:
            (B, Nm, target_dim), in the order of `masked`; a `Prediction` where it predicts more.
        """
        *lower, last = self.encoder.run(frames, visible, self.target_layers)
        encoded = self.encoder.norm(last)
        layers = encoded
        if lower:
            normed = [norm(own) for norm, own in zip(self.layer_norms, lower, strict=True)]
            layers = torch.cat([*normed, encoded], -1)
        hidden = self.mask_token + self.decoder.positions[masked]
        at = self.decoder.positions[visible]

        def decode(seen: torch.Tensor, decoder: Decoder) -> tuple[torch.Tensor, Any]:
            return decoder(torch.cat([seen + at, hidden], 1), masked.shape[1])

        predicted, of_visible = decode(self.encoder_to_decoder(layers), self.decoder)
        moved = None
        if self.motion_dim:
            moved, _ = decode(self.encoder_to_tracker(encoded), self.tracker_decoder)
        elif of_visible is None:
            return predicted
        return Prediction(predicted, moved, of_visible)

    def reconstruct(
        self, frames: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Predict the targets of masked tokens alone; see `forward`."""
        predicted = self(frames, visible, masked)
        return predicted.masked if isinstance(predicted, Prediction) else predicted


def _fuse(student: StudentConfig, layers: int) -> nn.Sequential:
    """Make one token of the decoder's width of the outputs of several blocks (V-JEPA 2.1)."""
    fusion = nn.Sequential(
        Linear(layers * student.width, student.width),
        nn.GELU(),
        Linear(student.width, student.decoder_width),
    )
    return fusion.apply(initialize)
