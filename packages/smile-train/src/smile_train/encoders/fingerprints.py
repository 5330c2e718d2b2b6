"""Hashes of encoders: their weights, and the settings that features depend on."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from smile_motion.tokens import TokenGrid

from smile_train.encoders.video_encoder import VideoEncoder


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
