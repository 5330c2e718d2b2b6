"""Features of a data set's videos, computed once and kept."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, replacing, write_atomically
from smile_motion.video import read_frames
from smile_motion.video.frames import FrameReader
from smile_motion.video.tar import ARCHIVE

from smile_train.data.views import TestViews
from smile_train.datasets import LabeledVideos
from smile_train.encoders.video_encoder import VideoEncoder, hash_encoder, hash_settings
from smile_train.evaluation.predict import ViewReader, ViewShape, iterate_views, map_views

PART = 256
"""Samples in a file of features; what a killed extraction loses at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """One vector for each view of each sample that could be read."""

    keys: tuple[str, ...]
    """Names of the samples."""
    values: np.ndarray
    """(n, views, D) float32: the tokens' mean, or the means of time slices one after the other."""
    targets: np.ndarray
    """What is true of the samples."""
    broken: tuple[str, ...]
    """Samples that could not be read."""


def extract_features(
    encoder: VideoEncoder,
    videos: LabeledVideos,
    *,
    shape: ViewShape,
    views: TestViews,
    cache: Path,
    accelerator: Accelerator,
    pooling: Literal["pooled", "slices"] = "pooled",
    batch: int = 8,
    workers: int = 2,
    allow_missing: bool = False,
    reader: FrameReader = read_frames,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Encode all views of a split, or read what was encoded before.

    Args:
        cache: Folder; what is in it is named by the encoder's weights and settings, the samples,
            the views and the precision, so that nothing else is ever taken for it. Processes share
            the work; an interrupted extraction goes on where it was. Parts that are damaged, of
            files that have changed since, or without samples that may not be missing are read
            again.
        reader: Decodes frames.

    Returns:
        The same in every process.

    Raises:
        InputError: A video cannot be read and `allow_missing` is not given.
    """
    described = {
        "encoder_sha256": hash_encoder(encoder),
        "settings_sha256": hash_settings(encoder),
        "samples_sha256": videos.sha256,
        "shape": asdict(shape),
        "views": asdict(views),
        "precision": accelerator.mixed_precision,
    } | ({} if pooling == "pooled" else {"pooling": pooling})
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]
    (key,) = broadcast_object_list([key])
    folder = cache / f"{videos.name}-{videos.split}-{key}"
    if accelerator.is_main_process:
        write_atomically(folder / "features.json", dump_json(described))
    accelerator.wait_for_everyone()
    parts = -(-len(videos) // PART)
    stamps = _stamps(videos)
    numbers: list[int] = []
    for part in range(accelerator.process_index, parts, accelerator.num_processes):
        own = range(len(videos))[part * PART : (part + 1) * PART]
        if not _is_current(_name(folder, part), stamps[own], allow_missing):
            numbers += own
    opened = ViewReader(videos, shape, views, reader)
    found: list[np.ndarray | None] = []
    done = len(videos) - len(numbers) * accelerator.num_processes
    samples = iterate_views(opened, numbers, workers=workers)

    def pooled(clips: torch.Tensor) -> torch.Tensor:
        with accelerator.autocast():
            if pooling == "slices":
                return encoder.frame_features(clips).flatten(1)
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
            first = number // PART * PART
            _write_part(_name(folder, number // PART), found, stamps[first : number + 1])
            found = []
        on_progress(max(0, done) + count * accelerator.num_processes, len(videos))
    accelerator.wait_for_everyone()
    return _read_parts(folder, parts, videos)


def _name(folder: Path, part: int) -> Path:
    return folder / f"part_{part:05d}.safetensors"


def _stamps(videos: LabeledVideos) -> np.ndarray:
    """Size and time of change of each sample's file, of members of a tar the tar's: (n, 2) int64,
    -1 where there is none."""

    @functools.cache
    def stamp(file: Path) -> tuple[int, int]:
        try:
            state = file.stat()
        except OSError:
            return -1, -1
        return state.st_size, state.st_mtime_ns

    return np.array([stamp(_file_of(video.path)) for video in videos.videos], np.int64)


def _file_of(path: Path) -> Path:
    archives = (place for place in path.parents if place.suffix == ARCHIVE and place.is_file())
    return next(archives, path)


def _is_current(path: Path, stamps: np.ndarray, allow_missing: bool) -> bool:
    """Whether a part is whole, of the files as they are now, and lacks none that it may not."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as part:
            same = np.array_equal(part.get_tensor("stamps"), stamps)
            return same and (allow_missing or bool(part.get_tensor("present").all()))
    except (SafetensorError, OSError):
        return False


def _write_part(path: Path, found: list[np.ndarray | None], stamps: np.ndarray) -> None:
    from safetensors.numpy import save_file

    kept = [vectors for vectors in found if vectors is not None]
    present = np.array([vectors is not None for vectors in found])
    tensors: dict[str, Any] = {"present": present, "stamps": stamps}
    if kept:
        tensors["features"] = np.stack(kept)
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def _read_parts(folder: Path, parts: int, videos: LabeledVideos) -> Features:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    present, values = [], []
    for part in range(parts):
        try:
            tensors = load_file(_name(folder, part))
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{_name(folder, part)}: cannot be read ({error}); run this again"
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
