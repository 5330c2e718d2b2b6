"""Testing over several views of each video, each video once, whatever the number of processes; and
the files of scores that an evaluation writes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically
from smile_motion.video import read_frames
from smile_motion.video.frames import FrameReader
from smile_motion.video.index import open_index
from torch.utils.data import Dataset

from smile_train.data.loader import open_batches, worker_errors_in_one_line
from smile_train.data.views import Sampling, TestViews, clip_frames, frame_range, square_crops
from smile_train.datasets import LabeledVideo, LabeledVideos
from smile_train.evaluation.metrics import average_precision, confusion, hits, per_class
from smile_train.evaluation.results import Results


@dataclass(frozen=True, kw_only=True)
class ViewShape:
    """What a test clip is like."""

    frames: int = 16
    """Frames T."""
    size: int = 224
    """Side, pixels."""
    stride: int = 4
    """Video frames from one to the next, where sampling is dense."""
    sampling: Sampling = "dense"
    """Which frames."""


def read_views(
    video: LabeledVideo, shape: ViewShape, views: TestViews, reader: FrameReader = read_frames
) -> np.ndarray:
    """Decode all views of a sample, once, by one of `smile_train.data.decoders`.

    Returns:
        (segments * crops, T, size, size, 3) uint8; crops of a segment follow each other.

    Raises:
        InputError: The video cannot be read.
    """
    index = open_index(video.path)
    first, end = frame_range(index, video)
    places = clip_frames(
        end - first,
        frames=shape.frames,
        stride=shape.stride,
        sampling=shape.sampling,
        segments=views.segments,
    )
    distinct, where = np.unique(first + places, return_inverse=True)
    squares = square_crops(reader(index, distinct), shape.size, views.crops)
    clips = squares[:, where.reshape(places.shape)]  # (crops, segments, T, ...)
    return np.ascontiguousarray(clips.swapaxes(0, 1)).reshape(-1, *clips.shape[2:])


class ViewReader(Dataset[tuple[int, Any]]):
    """Sample number -> all its views; a reason instead of pixels where it cannot be read."""

    def __init__(
        self,
        videos: LabeledVideos,
        shape: ViewShape,
        views: TestViews,
        reader: FrameReader = read_frames,
    ) -> None:
        self.videos, self.shape, self.views, self.reader = videos, shape, views, reader

    def __getitem__(self, number: int) -> tuple[int, torch.Tensor | str]:
        try:
            video = self.videos.videos[number]
            views = read_views(video, self.shape, self.views, self.reader)
        except InputError as error:
            return number, str(error)
        return number, torch.from_numpy(views)


def iterate_views(
    reader: ViewReader, numbers: Sequence[int], *, workers: int
) -> Iterator[tuple[int, torch.Tensor | str]]:
    """Read samples, in order, with worker processes."""
    batches = open_batches(reader, numbers, workers=workers)
    with worker_errors_in_one_line():
        yield from batches


def map_views(
    model: Callable[[torch.Tensor], torch.Tensor],
    samples: Iterable[tuple[int, torch.Tensor | str]],
    *,
    batch: int,
    device: torch.device,
) -> Iterator[tuple[int, torch.Tensor | str]]:
    """Pass samples' views through a model, in batches that samples share.

    Args:
        samples: Samples with their views, from `iterate_views`.
        batch: Views in a forward pass, at most.

    Yields:
        Each sample's number, in order, with its outputs (views, D) float32 on the CPU, or why it
        could not be read.
    """
    waiting: list[tuple[int, torch.Tensor | str]] = []
    views = 0

    def passed() -> Iterator[tuple[int, torch.Tensor | str]]:
        clips = [found for _, found in waiting if not isinstance(found, str)]
        found: Iterator[torch.Tensor] = iter(())
        if clips:
            together = torch.cat(clips)
            outputs = [model(part.to(device)).float() for part in together.split(batch)]
            found = iter(torch.cat(outputs).cpu().split([len(clip) for clip in clips]))
        for number, clip in waiting:
            yield number, clip if isinstance(clip, str) else next(found)

    for number, clips in samples:
        waiting.append((number, clips))
        views += 0 if isinstance(clips, str) else len(clips)
        if views >= batch:
            yield from passed()
            waiting, views = [], 0
    yield from passed()


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Scores of the samples of a split."""

    keys: tuple[str, ...]
    """Names of the samples."""
    scores: np.ndarray
    """(n, outputs) float32: mean over views."""
    targets: np.ndarray
    """What is true of them."""
    broken: tuple[str, ...]
    """Why samples were left out."""


def predict(
    model: Callable[[torch.Tensor], torch.Tensor],
    videos: LabeledVideos,
    *,
    outputs: int,
    shape: ViewShape,
    views: TestViews,
    accelerator: Accelerator,
    batch: int = 8,
    workers: int = 2,
    ensemble: Literal["mean", "max"] = "mean",
    allow_missing: bool = False,
    reader: FrameReader = read_frames,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Score every sample over its views; processes share the samples, none is scored twice.

    Args:
        model: Clips (n, T, H, W, 3) uint8 to what is averaged, (n, outputs): probabilities.
        batch: Views in a forward pass.
        ensemble: How views become one: their mean, or the highest of each output.
        reader: Decodes frames.

    Returns:
        The same in every process.

    Raises:
        InputError: A video cannot be read and `allow_missing` is not given.
    """
    count, device = len(videos), accelerator.device
    mine = range(accelerator.process_index, count, accelerator.num_processes)
    scores = torch.zeros((count, outputs), device=device)
    seen = torch.zeros(count, dtype=torch.int64, device=device)
    faults: list[tuple[int, str]] = []
    opened = ViewReader(videos, shape, views, reader)
    samples = iterate_views(opened, mine, workers=workers)

    def scored(clips: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), accelerator.autocast():
            return model(clips)

    found_of = map_views(scored, samples, batch=batch, device=device)
    for done, (number, found) in enumerate(found_of, start=1):
        if isinstance(found, str):
            faults.append((number, found))
            if not allow_missing:
                raise InputError(f"{found} (or go on without it: --allow-missing)")
        else:
            scores[number] = (found.mean(0) if ensemble == "mean" else found.amax(0)).to(device)
            seen[number] = 1
        on_progress(min(done * accelerator.num_processes, count), count)
    joined: Any = accelerator.reduce((scores, seen))
    gathered, times = (values.cpu().numpy() for values in joined)
    if times.max() > 1:
        raise AssertionError("a sample was scored more than once")
    broken = [fault for _, fault in sorted(gather_object(faults))]
    kept = np.flatnonzero(times)
    if not len(kept):
        raise InputError(f"{videos.name}, {videos.split}: no video could be read: {broken[0]}")
    return Predictions(
        keys=tuple(videos.videos[number].key for number in kept),
        scores=gathered[kept],
        targets=videos.targets()[kept],
        broken=tuple(broken),
    )


PREDICTIONS = "predictions.npz"
"""File of the scores that results are computed from."""
GRID = "grid.json"
"""File of what was tried, and how the choice was made."""


def write_evaluation(
    out: Path,
    results: Results,
    predictions: Predictions,
    videos: LabeledVideos,
    grid: Mapping[str, Any] | None = None,
) -> None:
    """Write results.json, predictions.npz, classes.json and, of classes, confusion.png.

    Args:
        grid: Settings tried, and scores that the choice was made by; written to grid.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        keys=np.array(predictions.keys),
        scores=predictions.scores,
        targets=predictions.targets,
    )
    write_atomically(out / PREDICTIONS, content.getvalue())
    if videos.task == "single-label":
        counts = confusion(predictions.scores, predictions.targets)
        scores, labels = predictions.scores, predictions.targets
        shares = {
            f"top{k}": per_class(hits(scores, labels, k), labels, scores.shape[1]) for k in (1, 5)
        }
        _write_classes(out, videos, shares, counts.sum(1))
        from smile_train.evaluation.figures.confusion import draw_confusion

        draw_confusion(counts, videos.classes, out / "confusion.png")
    elif videos.task == "multi-label":
        precision = average_precision(predictions.scores, predictions.targets)
        samples = predictions.targets.sum(0).astype(int)
        _write_classes(out, videos, {"average_precision": precision}, samples)
    if grid is not None:
        write_atomically(out / GRID, (json.dumps(grid, indent=2) + "\n").encode())
    results.write(out)


def _write_classes(
    out: Path, videos: LabeledVideos, shares: Mapping[str, np.ndarray], samples: np.ndarray
) -> None:
    content: dict[str, Any] = {"classes": list(videos.classes)}
    for name, values in shares.items():
        content[name] = [None if np.isnan(value) else float(value) for value in values]
    content["samples"] = samples.tolist()
    write_atomically(out / "classes.json", (json.dumps(content, indent=2) + "\n").encode())
