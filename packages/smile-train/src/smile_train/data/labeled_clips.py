"""Clips of labeled videos, to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import open_index, read_frames
from smile_motion.video.frames import FrameReader

from smile_train.data.augmentation import augment
from smile_train.data.sampling import SampleOrder, make_or_replace
from smile_train.data.views import Sampling, frame_range, square_crops, training_frames
from smile_train.datasets import LabeledVideo, LabeledVideos


@dataclass(frozen=True, kw_only=True)
class ClipAugmentation:
    """What is done to a training clip."""

    crop_area: float
    """Share of a frame's area that a crop has at least."""
    flip: bool
    """Mirror half of them; only where labels know no left and right."""
    rand_augment: str | None
    """timm's description."""
    erasing: float
    """Probability that a rectangle becomes noise."""


@dataclass(frozen=True, kw_only=True)
class LabeledClips:
    """Sample number -> augmented clips of a video, and its label; depends on the number alone.

    An item is `frames` (repeats, T, H, W, 3) uint8, `target` (class number, class marks, or
    repetitions a frame), its `number`, and `broken`, what is wrong with files that could not be
    used. Repeats are augmented apart but decoded once ("repeated augmentation").
    """

    preload_module: ClassVar[str] = "smile_train.data._preload_finetune"

    videos: LabeledVideos
    """The samples."""
    order: SampleOrder
    """Where a sample number points."""
    frames: int
    """Frames T of a clip."""
    size: int
    """Side of its frames, pixels."""
    stride: int
    """Video frames from one to the next, where sampling is dense."""
    sampling: Sampling
    """Which frames."""
    repeats: int
    """Clips of each sample."""
    augmentation: ClipAugmentation | None
    """What is done to a clip; none where it is cut as for testing."""
    seed: int
    """Seed of everything drawn."""
    reader: FrameReader = read_frames
    """Decodes frames."""

    @cached_property
    def targets(self) -> np.ndarray:
        """What is true of the samples."""
        return self.videos.targets()

    def shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of every tensor of a sample, by name."""
        target = self.targets
        return {
            "frames": ((self.repeats, self.frames, self.size, self.size, 3), torch.uint8),
            "target": (target.shape[1:], torch.from_numpy(target[:1]).dtype),
            "number": ((), torch.int64),
        }

    def file_of(self, index: int) -> Path:
        """The video of sample `index`."""
        return self.videos.videos[index].path

    def fill(self, numbers: Sequence[int], batch: dict[str, torch.Tensor]) -> list[str]:
        """Make samples into a batch's memory.

        Returns:
            What is wrong with files that could not be used. A broken video is replaced by another,
            with its label, that depends on the sample's number alone.

        Raises:
            InputError: Many in a row are broken.
        """
        broken: list[str] = []
        for place, number in enumerate(numbers):
            row = {name: values[place] for name, values in batch.items()}
            row["number"].fill_(number)
            broken += make_or_replace(self.order, number, partial(self._make, row=row))
        return broken

    def _make(self, epoch: int, index: int, row: dict[str, torch.Tensor]) -> None:
        """Make the clips of a video into a row of a batch."""
        self._draw(epoch, index, row["frames"].numpy())
        target = self.targets[index]
        if self.videos.task == "count":
            target = target / sample_length(self.videos.videos[index])
        row["target"].copy_(torch.as_tensor(target))

    def _draw(self, epoch: int, index: int, out: np.ndarray) -> None:
        video = self.videos.videos[index]
        rng = keyed_generator(self.seed, Stream.AUGMENT, epoch=epoch, index=index)
        images = read_training_frames(
            video,
            frames=self.frames,
            stride=self.stride,
            sampling=self.sampling,
            rng=rng,
            reader=self.reader,
        )
        kind = self.augmentation
        for repeat in range(self.repeats):
            own = keyed_generator(
                self.seed, Stream.AUGMENT, epoch=epoch, index=index, part=repeat + 1
            )
            if kind is None:
                out[repeat] = square_crops(images, self.size, 1)[0]
                continue
            out[repeat] = augment(
                images,
                self.size,
                own,
                crop_area=kind.crop_area,
                flip=kind.flip,
                rand_augment=kind.rand_augment,
                erasing=kind.erasing,
            )


def read_training_frames(
    video: LabeledVideo,
    *,
    frames: int,
    stride: int,
    sampling: Sampling,
    rng: np.random.Generator,
    reader: FrameReader = read_frames,
) -> np.ndarray:
    """Decode a random clip of a sample, (frames, H, W, 3) uint8.

    Raises:
        InputError: The video cannot be read.
    """
    index = open_index(video.path)
    first, end = frame_range(index, video)
    places = training_frames(end - first, frames=frames, stride=stride, sampling=sampling, rng=rng)
    return reader(index, first + places)


def sample_length(video: LabeledVideo) -> int:
    """Frames of a sample."""
    first, end = frame_range(open_index(video.path), video)
    return end - first
