"""Features of a data set's videos, computed once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from smile_motion.errors import InputError
from smile_motion.files import replacing

from smile_train.data.views import TestViews
from smile_train.datasets import LabelledVideos
from smile_train.encoder import VideoEncoder
from smile_train.evaluate.testing import ViewReader, ViewShape, iterate_views, map_views

PART = 256
"""Samples in a file of features; what a killed extraction loses at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """One vector for each view of each sample that could be read."""

    keys: tuple[str, ...]
    """Names of the samples."""
    values: np.ndarray
    """(n, views, D) float32: mean of the tokens after the encoder's final norm."""
    targets: np.ndarray
    """What is true of the samples."""
    broken: tuple[str, ...]
    """Samples that could not be read."""


def hash_encoder(encoder: VideoEncoder) -> str:
    """SHA-256 of an encoder's weights, wherever they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def extract_features(
    encoder: VideoEncoder,
    videos: LabelledVideos,
    *,
    shape: ViewShape,
    views: TestViews,
    cache: Path,
    accelerator: Accelerator,
    batch: int = 8,
    workers: int = 2,
    allow_missing: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Encode all views of a split, or read what was encoded before.

    cache    folder; what is in it is named by the encoder's weights, the samples, the views and the
             precision, so that nothing else is ever taken for it. Processes share the work; an
             interrupted extraction goes on where it was.
    returns  the same in every process.
    Raises InputError when a video cannot be read and `allow_missing` is not given.
    """
    described = {
        "encoder_sha256": hash_encoder(encoder),
        "samples_sha256": videos.sha256,
        "shape": asdict(shape),
        "views": asdict(views),
        "precision": accelerator.mixed_precision,
    }
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache / f"{videos.name}-{videos.split}-{key}"
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "features.json").write_text(json.dumps(described, indent=2) + "\n")
    accelerator.wait_for_everyone()
    parts = -(-len(videos) // PART)
    mine = [
        part
        for part in range(accelerator.process_index, parts, accelerator.num_processes)
        if not _name(folder, part).is_file()
    ]
    numbers = [n for part in mine for n in range(part * PART, min((part + 1) * PART, len(videos)))]
    reader = ViewReader(videos, shape, views)
    found: list[np.ndarray | None] = []
    done = len(videos) - len(numbers) * accelerator.num_processes
    samples = iterate_views(reader, numbers, workers=workers)

    def pooled(clips: torch.Tensor) -> torch.Tensor:
        with accelerator.autocast():
            return encoder.features(clips)[1]

    encoded = map_views(pooled, samples, batch=batch, device=accelerator.device)
    for count, (number, vectors) in enumerate(encoded, start=1):
        if isinstance(vectors, str):
            if not allow_missing:
                raise InputError(f"{vectors} (or go on without it: --allow-missing)")
            found.append(None)
        else:
            found.append(vectors.numpy())
        if (number + 1) % PART == 0 or number + 1 == len(videos):
            _write_part(_name(folder, number // PART), found)
            found = []
        on_progress(max(0, done) + count * accelerator.num_processes, len(videos))
    accelerator.wait_for_everyone()
    return _read_parts(folder, parts, videos)


def _name(folder: Path, part: int) -> Path:
    return folder / f"part_{part:05d}.safetensors"


def _write_part(path: Path, found: list[np.ndarray | None]) -> None:
    from safetensors.numpy import save_file

    kept = [vectors for vectors in found if vectors is not None]
    tensors: dict[str, Any] = {"present": np.array([vectors is not None for vectors in found])}
    if kept:
        tensors["features"] = np.stack(kept)
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def _read_parts(folder: Path, parts: int, videos: LabelledVideos) -> Features:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    present, values = [], []
    for part in range(parts):
        try:
            tensors = load_file(_name(folder, part))
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{_name(folder, part)}: damaged ({error}); delete it and extract again"
            ) from error
        present.append(tensors["present"])
        if "features" in tensors:
            values.append(tensors["features"])
    kept = np.flatnonzero(np.concatenate(present))
    if not len(kept):
        raise InputError(f"{videos.name}, {videos.split}: no video of it could be read")
    lost = sorted({video.key for video in videos.videos} - {videos.videos[n].key for n in kept})
    return Features(
        keys=tuple(videos.videos[number].key for number in kept),
        values=np.concatenate(values),
        targets=videos.targets()[kept],
        broken=tuple(lost),
    )
