"""Encoders that a probe asks, the controls beside them, and what they are shown of a clip."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import cv2
import numpy as np
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.encoders.video_encoder import VideoEncoder, hash_encoder, hash_settings
from smile_train.models.layers import initialize
from smile_train.models.mae import Encoder
from smile_train.motion_probe.config import Kept

Shown = Literal["clip", "first frame", "shuffled"]
SHOWN: tuple[Shown, ...] = get_args(Shown)
"""Ways to show a clip; all but the first are controls that must not do better than guessing."""
PLACES = 4
"""Places along each side of a frame that attentive read-outs see. Ours: enough for the scenes, and
features of a ViT-B stay below 200 KiB a clip."""
PIXELS_SIDE = 14
"""Side of the frames of raw pixels."""


class FrozenEncoder(Protocol):
    """Turns clips into vectors of time slices, and of places in them."""

    def encode(self, clips: np.ndarray, kept: Sequence[Kept]) -> dict[Kept, np.ndarray]:
        """Encode (B, T, S, S, 3) uint8.

        Returns:
            What is asked for: `slices` (B, slices, D) float32, `places` (B, slices, rows, columns,
            D) float16.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelEncoder:
    """No encoder: small gray frames."""

    def encode(self, clips: np.ndarray, kept: Sequence[Kept]) -> dict[Kept, np.ndarray]:
        """Shrink each frame to 14 x 14 gray values in 0..1; a frame has one place."""
        gray = clips.astype(np.float32).mean(-1).reshape(-1, *clips.shape[2:4]) / 255
        side = (PIXELS_SIDE, PIXELS_SIDE)
        small = np.stack([cv2.resize(frame, side, interpolation=cv2.INTER_AREA) for frame in gray])
        slices = small.reshape(*clips.shape[:2], -1)
        found: dict[Kept, np.ndarray] = {"slices": slices}
        if "places" in kept:
            found["places"] = slices[:, :, None, None].astype(np.float16)
        return {name: found[name] for name in kept}


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceEncoder:
    """An encoder, its tokens averaged over each time slice, or over places of each."""

    encoder: VideoEncoder
    """The encoder, on its device."""

    def encode(self, clips: np.ndarray, kept: Sequence[Kept]) -> dict[Kept, np.ndarray]:
        """Fit clips to the encoder and average its tokens."""
        fitted = fit_clips(clips, self.encoder.grid)
        tokens, _ = self.encoder.features(torch.from_numpy(fitted))
        tokens = tokens.float().unflatten(1, self.encoder.grid.shape)
        found: dict[Kept, np.ndarray] = {}
        for name in kept:
            if name == "slices":
                found[name] = tokens.flatten(2, 3).mean(2).cpu().numpy()
            else:
                found[name] = _pool_places(tokens).half().cpu().numpy()
        return found


def _pool_places(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens (B, slices, rows, columns, D) averaged over 4 x 4 places; fewer stay as they are."""
    _, slices, rows, columns, _ = tokens.shape
    sides = min(PLACES, rows), min(PLACES, columns)
    flat = tokens.flatten(0, 1).permute(0, 3, 1, 2)
    pooled = torch.nn.functional.adaptive_avg_pool2d(flat, sides)
    return pooled.permute(0, 2, 3, 1).unflatten(0, (-1, slices))


def fit_clips(clips: np.ndarray, grid: TokenGrid) -> np.ndarray:
    """Resample clips (B, T, S, S, 3) to the frames and the size of an encoder.

    Frames are the nearest in time; sizes are resampled by area, or bilinearly where they grow.
    """
    frames = clips.shape[1]
    if frames != grid.frames:
        clips = clips[:, np.rint(np.linspace(0, frames - 1, grid.frames)).astype(int)]
    size = (grid.height, grid.width)
    if clips.shape[2:4] == size:
        return np.ascontiguousarray(clips)
    how = cv2.INTER_AREA if size[0] < clips.shape[2] else cv2.INTER_LINEAR
    flat = clips.reshape(-1, *clips.shape[2:])
    sized = [cv2.resize(frame, size[::-1], interpolation=how) for frame in flat]
    return np.stack(sized).reshape(len(clips), grid.frames, *size, 3)


def describe_fit(name: str, grid: TokenGrid, frames: int, size: int) -> str | None:
    """Say how clips are fitted to an encoder; none where they fit.

    Raises:
        InputError: For one that takes single frames: they have no motion.
    """
    if grid.frames < 2:
        raise InputError(f"{name}: takes {grid.frames} frame; motion needs an encoder of 2 or more")
    said = []
    if grid.frames != frames:
        said.append(
            f"{grid.frames} of {frames} frames, the nearest in time"
            + (", some of them twice" if grid.frames > frames else "")
        )
    if (grid.height, grid.width) != (size, size):
        said.append(f"{size} x {size} px resized to {grid.width} x {grid.height}")
    return f"{name}: shown {' and '.join(said)}" if said else None


def show(clips: np.ndarray, how: Shown, orders: np.ndarray) -> np.ndarray:
    """Clips (B, T, S, S, 3) as they are, or as a control has them.

    Args:
        orders: (B, T): of frames, for `shuffled`.
    """
    match how:
        case "clip":
            return clips
        case "first frame":
            return np.repeat(clips[:, :1], clips.shape[1], axis=1)
        case "shuffled":
            return clips[np.arange(len(clips))[:, None], orders]


def untrained(encoder: VideoEncoder, seed: int) -> VideoEncoder:
    """The same architecture with random weights.

    Layers that know how to begin do so; other weights of an architecture that is not ours are put
    in a random order, so that they keep their sizes.
    """
    other = copy.deepcopy(encoder)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in other.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
                continue
            for parameter in module.parameters(recurse=False):
                flat = parameter.flatten()
                parameter.copy_(flat[torch.randperm(len(flat))].view_as(parameter))
        if isinstance(other.encoder, Encoder):
            other.encoder.apply(initialize)
            for name, parameter in other.encoder.named_parameters():
                if name.endswith(("q_bias", "v_bias")):
                    parameter.zero_()
    return other


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """An encoder that is asked."""

    name: str
    """Name in tables."""
    encoder: Callable[[int], FrozenEncoder]
    """Opens the encoder of a draw, counted from 0; random weights differ from draw to draw."""
    sha256: str
    """Hash of weights and settings; the seed stands for random weights."""
    shown: tuple[Shown, ...] = SHOWN
    """What it is shown."""


def trained_and_untrained(
    name: str, encoder: VideoEncoder, seed: int, precision: str
) -> list[Candidate]:
    """An encoder with all its controls, and its architecture with random weights.

    Args:
        precision: Precision of the encoder, which features depend on.
    """
    settings = f"{hash_settings(encoder)} {precision}"
    trained = hashlib.sha256(f"{hash_encoder(encoder)} {settings}".encode()).hexdigest()
    return [
        Candidate(name=name, encoder=lambda draw: SliceEncoder(encoder=encoder), sha256=trained),
        Candidate(
            name=f"{name}, random weights",
            encoder=lambda draw: SliceEncoder(encoder=untrained(encoder, seed + draw)),
            sha256=f"random {seed} of {trained}",
            shown=("clip",),
        ),
    ]


def pixels() -> Candidate:
    """Small gray frames, and no encoder."""
    return Candidate(name="raw pixels", encoder=lambda draw: PixelEncoder(), sha256="pixels 14")
