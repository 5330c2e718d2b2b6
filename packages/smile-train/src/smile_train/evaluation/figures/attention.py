"""Where an encoder looks: attention of its last block, over space and time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.models.layers import Attention


@dataclass(frozen=True, kw_only=True)
class Query:
    """Whose attention is shown: that of the mean query, or of one token."""

    slice: int | None = None
    """Time slice of the token; none for the mean over all tokens' queries."""
    row: int = 0
    """Row of the token."""
    column: int = 0
    """Column of the token."""

    def number(self, grid: TokenGrid) -> int | None:
        """The token's number; none for the mean query.

        Raises:
            InputError: It lies outside the grid.
        """
        if self.slice is None:
            return None
        place = (self.slice, self.row, self.column)
        if not all(0 <= value < size for value, size in zip(place, grid.shape, strict=True)):
            raise InputError(
                f"token {place} lies outside the grid of {grid.shape} slices, rows, columns; "
                f"count from 0"
            )
        return int(np.ravel_multi_index(place, grid.shape))


@torch.no_grad()
def attention_map(encoder: VideoEncoder, video: torch.Tensor, query: Query) -> np.ndarray:
    """Attention of the last block, mean over its heads.

    Args:
        video: (T, H, W, 3) uint8 on the encoder's device.

    Returns:
        (T', rows, columns) float64 that sum to 1: how much each token is attended to.

    Raises:
        InputError: The encoder is of another kind, or the token is not there.
    """
    number = query.number(encoder.grid)
    attention, x = attention_input(encoder, video)
    return last_attention(attention, x, number).cpu().numpy().reshape(encoder.grid.shape)


@torch.no_grad()
def attention_input(encoder: VideoEncoder, video: torch.Tensor) -> tuple[Attention, torch.Tensor]:
    """Attention module of the last block, and what it is given of a clip.

    Args:
        video: (T, H, W, 3) uint8 on the encoder's device.

    Returns:
        The module and (1, N, width), as `last_attention` takes them.

    Raises:
        InputError: The encoder is of another kind.
    """
    blocks = getattr(encoder.encoder, "blocks", None)
    last = getattr(blocks[-1], "attn", None) if isinstance(blocks, torch.nn.ModuleList) else None
    if not isinstance(last, Attention):
        raise InputError(
            "this encoder has no blocks of ours; attention is shown of SMILE, VideoMAE and "
            "their family"
        )
    seen: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        encoder.features(video[None])
    finally:
        hook.remove()
    return last, seen[0]


def last_attention(attention: Attention, x: torch.Tensor, token: int | None) -> torch.Tensor:
    """Attention weights of one query, mean over heads.

    Args:
        x: (1, N, width): what the module is given.
        token: Whose query; none for the mean of all queries, head by head.

    Returns:
        (N,) float64 that sum to 1.
    """
    width, heads = x.shape[-1], attention.heads
    q_weight, k_weight = attention.qkv.weight.double().split(width)[:2]
    tokens = x[0].double()
    # Queries are linear in the tokens, so the mean query is that of the mean token.
    asking = tokens.mean(0) if token is None else tokens[token]
    query = (q_weight @ asking + attention.q_bias.double()).view(heads, -1)
    keys = (tokens @ k_weight.T).view(len(tokens), heads, -1)
    scores = torch.einsum("hd,nhd->hn", query, keys) / query.shape[1] ** 0.5
    return scores.softmax(-1).mean(0)


def describe_map(weights: np.ndarray) -> dict[str, object]:
    """Numbers of a map: how spread out it is, when and where it is highest.

    Returns:
        `spread`, the entropy over that of uniform attention, from 0 (one token) to 1 (all alike);
        `slices`, the share of each time slice; `peak`, slice, row and column of the highest;
        `shown`, the ends of the color scale as multiples of uniform attention; `map`, all weights.
    """
    flat = weights[weights > 0]
    entropy = -(flat * np.log(flat)).sum() / np.log(weights.size)
    peak = np.unravel_index(weights.argmax(), weights.shape)
    return {
        "spread": round(float(entropy), 6),
        "slices": weights.sum((1, 2)).round(6).tolist(),
        "peak": [int(value) for value in peak],
        "shown": [round(weights.size * value, 3) for value in shown_range(weights)],
        "map": weights.round(8).tolist(),
    }


def shown_range(weights: np.ndarray) -> tuple[float, float]:
    """Weights that are drawn darkest and brightest: the 2nd and the 99.5th percentile of a clip."""
    low, high = np.quantile(weights, (0.02, 0.995))
    return float(low), float(high)


def paint_attention(
    frames: np.ndarray, weights: np.ndarray, grid: TokenGrid, query: Query
) -> np.ndarray:
    """Lay attention over the frames: brighter and warmer is more, on one scale for the clip.

    Args:
        frames: (T, H, W, 3) uint8; weights (T', rows, columns).

    Returns:
        (T, H, W, 3) uint8.
    """
    from matplotlib import colormaps

    low, high = shown_range(weights)
    strength = np.clip((weights - low) / max(high - low, 1e-12), 0, 1).astype(np.float32)
    size = (grid.width, grid.height)
    smooth = np.stack([cv2.resize(s, size, interpolation=cv2.INTER_LINEAR) for s in strength])
    smooth = smooth.repeat(grid.tubelet, axis=0)
    colors = colormaps["inferno"](smooth)[..., :3] * 255
    gray = frames.mean(-1, keepdims=True).repeat(3, -1) * 0.7
    share = (0.35 + 0.45 * smooth)[..., None]
    painted = (gray * (1 - share) + colors * share).round().astype(np.uint8)
    if query.slice is not None:
        y, x = query.row * grid.patch, query.column * grid.patch
        for frame in painted[query.slice * grid.tubelet :][: grid.tubelet]:
            cv2.rectangle(frame, (x, y), (x + grid.patch - 1, y + grid.patch - 1), (0, 255, 255), 1)
    return painted
