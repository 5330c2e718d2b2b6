"""Frozen video encoders: how they are opened, what they return, and their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.checkpoints.backbone import build_encoder
from smile_train.checkpoints.configs import TOWERS
from smile_train.checkpoints.open import find_tower, local_path, open_backbone
from smile_train.models.mae import Encoder

if TYPE_CHECKING:
    from smile_train.encoders.external import ClipFrames, ViClip
    from smile_train.encoders.transformers_towers import TransformersTower


class VideoEncoder(nn.Module):
    """A frozen encoder: a student without its decoder, or a tower of another architecture.

    Example:

        model = smile_train.load("runs/first")                  # or a published file, or a hub id
        tokens, pooled = model.features(video)                  # video (B, T, H, W, 3) uint8
    """

    def __init__(
        self,
        encoder: Encoder | ClipFrames | ViClip | TransformersTower,
        pretraining: Mapping[str, Any] | None = None,
    ) -> None:
        """Freeze an encoder.

        Args:
            pretraining: Configuration that it was trained with, where it is known; of published
                files `published`, whose they are.
        """
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.pretraining = dict(pretraining or {})

    @property
    def grid(self) -> TokenGrid:
        """The clips it takes and their tokens."""
        return self.encoder.grid

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.encoder.width

    @torch.no_grad()
    def features(self, video: torch.Tensor | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode clips, all tokens of them.

        Args:
            video: (B, T, H, W, 3) uint8 RGB, or of any floating type in 0..1, wherever it lies;
                standardized inside. `grid` says T, H and W.

        Returns:
            Tokens (B, N, width) after the final norm, of which fine-tuned encoders have none, in
            time, row, column order; and one vector of each clip, (B, D): the tokens' mean, for CLIP
            and ViCLIP their feature in the space shared with text, for ViViT and TimeSformer their
            class token.

        Raises:
            InputError: The clips are of another size, or their pixels not of these kinds.
        """
        grid = self.grid
        expected = (grid.frames, grid.height, grid.width, 3)
        if video.ndim != 5 or tuple(video.shape[1:]) != expected:
            sizes = ", ".join(map(str, expected))
            raise InputError(f"video is {tuple(video.shape)}; this encoder takes (B, {sizes})")
        device = next(self.encoder.parameters()).device
        return self.encoder.encode(_checked_pixels(torch.as_tensor(video, device=device)))

    def frame_features(self, video: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Mean token of each time slice (Figure 4): (B, T, H, W, 3) uint8 to (B, T', width)."""
        tokens, _ = self.features(video)
        return tokens.unflatten(1, (self.grid.slices, -1)).mean(2)


def _checked_pixels(video: torch.Tensor) -> torch.Tensor:
    """Pixels that encoders take: uint8, or float32 in 0..1."""
    if video.dtype == torch.uint8:
        return video
    if not video.is_floating_point():
        raise InputError(f"video is {video.dtype}; give uint8, or floats in 0..1")
    video = video.float()
    if video.numel():
        low, high = (float(bound) for bound in video.aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"video is floats from {low:g} to {high:g}; give uint8, or floats in 0..1: pixels "
                f"in 0..255 as uint8 or divided by 255, neither standardised"
            )
    return video


def load(path_or_hub_id: str | Path, *, heads: int | None = None) -> VideoEncoder:
    """Open an encoder, whoever trained it.

    Args:
        path_or_hub_id: A run, a checkpoint of ours, a published file of SMILE, VideoMAE and their
            family, pre-trained or fine-tuned, a folder that our models' `save_pretrained` or
            transformers' wrote (VideoMAE, V-JEPA 2, ViViT, TimeSformer), or the hub id of such a
            folder; `clip:` before a name, folder or file of a CLIP, `viclip:` before ViCLIP's file.
        heads: Attention heads of a published file, where neither it nor its width tells.

    Returns:
        The encoder in evaluation mode on the CPU.

    Raises:
        InputError: There is no such thing, or its weights do not fit.
    """
    kind, _, name = str(path_or_hub_id).partition(":")
    if kind == "clip":
        from smile_train.encoders.external import ClipFrames

        return VideoEncoder(ClipFrames.open(name), {"published": f"CLIP {name}"})
    if kind == "viclip":
        from smile_train.encoders.external import ViClip

        return VideoEncoder(ViClip.open(Path(name)), {"published": "ViCLIP"})
    path = local_path(Path(path_or_hub_id))
    if (tower := find_tower(path)) is not None:
        from smile_train.encoders.transformers_towers import TransformersTower

        return VideoEncoder(TransformersTower.open(path), {"published": TOWERS[tower]})
    backbone = open_backbone(path, heads=heads)
    return VideoEncoder(build_encoder(backbone), backbone.pretraining)


def hash_encoder(encoder: VideoEncoder) -> str:
    """SHA-256 of an encoder's weights, wherever they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        _add_tensor(digest, name, value)
    return digest.hexdigest()


def hash_settings(encoder: VideoEncoder) -> str:
    """SHA-256 of what features depend on besides weights: modules and their plain settings, such as
    heads, epsilons and the pixels' mean, and tables that are computed, such as positions."""
    digest = hashlib.sha256()
    for where, module in encoder.named_modules():
        kind = type(module)
        digest.update(f"{where} {kind.__module__}.{kind.__qualname__}".encode())
        for name, value in sorted(vars(module).items()):
            if name != "training" and not name.startswith("_") and _is_setting(value):
                digest.update(f"{name} {value!r}".encode())
    stored = encoder.state_dict()
    for name, value in sorted(encoder.named_buffers()):
        if name not in stored:
            _add_tensor(digest, name, value)
    return digest.hexdigest()


def _add_tensor(digest: Any, name: str, value: torch.Tensor) -> None:
    digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
    digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)


def _is_setting(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_setting(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str | TokenGrid)
