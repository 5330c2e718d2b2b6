"""Labeled videos: what every data set is turned into before anything is learned or measured."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smile_motion.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Task = Literal["single-label", "multi-label", "count"]
"""One class of each video; any number of classes; how often something is repeated."""
Split = Literal["train", "validation", "test"]
Target = int | tuple[int, ...] | float
"""A class number, several of them in ascending order, or a count, by task."""


@dataclass(frozen=True)
class Span:
    """A part of a file."""

    begin: float
    """Where it begins."""
    end: float
    """Where it ends; of frames, the one after its last."""
    unit: Literal["s", "frames"] = "s"
    """Seconds from the first frame, or frame numbers from 0: as the annotations count."""


@dataclass(frozen=True, kw_only=True)
class LabeledVideo:
    """A video, or a part of one, and what is asked about it."""

    key: str
    """Name within the data set; no two samples of a split share one."""
    path: Path
    """The file, or a member of a tar as if that were a folder."""
    target: Target
    """What is true of it."""
    span: Span | None = None
    """The part; the whole file where there is none."""


@dataclass(frozen=True, kw_only=True)
class LabeledVideos:
    """A split of a data set, as read from its own annotations."""

    name: str
    """The data set's name, such as `ssv2`."""
    split: Split
    """Which part of it."""
    task: Task = "single-label"
    """What is asked."""
    videos: tuple[LabeledVideo, ...]
    """The samples, in the order of the annotations."""
    classes: tuple[str, ...] = ()
    """Names of the classes by number; none where the task is to count."""
    flip_safe: bool = True
    """Whether a mirrored video keeps its label; not where left or right is part of one."""
    partial: bool = False
    """Whether it lacks samples that the official split has, left out on purpose or not."""
    missing: bool = False
    """Whether videos of samples are not there."""

    def __post_init__(self) -> None:
        where = f"{self.name}, {self.split}"
        if not self.videos:
            raise InputError(f"{where}: no video in it; check the annotations")
        keys = Counter(video.key for video in self.videos)
        if len(keys) < len(self.videos):
            key, count = keys.most_common(1)[0]
            raise InputError(f"{where}: {key} is listed {count} times; list each sample once")
        if self.task == "count":
            wrong = next((v for v in self.videos if min(_numbers(v.target)) < 0), None)
            if wrong is not None:
                raise InputError(f"{where}: {wrong.key} has the count {wrong.target}; not below 0")
            return
        for video in self.videos:
            for number in _numbers(video.target):
                if not 0 <= number < len(self.classes):
                    raise InputError(
                        f"{where}: {video.key} has the label {number}, there are "
                        f"{len(self.classes)} classes, 0 to {len(self.classes) - 1}; "
                        f"mend the list, or give the annotations that belong to it"
                    )

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.videos)

    @cached_property
    def sha256(self) -> str:
        """Hash of what is asked of which samples; independent of where the files are."""
        content = [[v.key, v.target, v.span and astuple(v.span)] for v in self.videos]
        text = json.dumps([self.name, self.task, list(self.classes), content])
        return hashlib.sha256(text.encode()).hexdigest()

    def targets(self) -> np.ndarray:
        """What is true of the samples.

        Returns:
            (n,) int64 class numbers; (n, classes) float32 of 0 and 1 for several labels; (n,)
            float32 counts.
        """
        import numpy as np

        if self.task == "single-label":
            return np.array([video.target for video in self.videos], np.int64)
        if self.task == "count":
            return np.array([video.target for video in self.videos], np.float32)
        marks = np.zeros((len(self.videos), len(self.classes)), np.float32)
        for row, video in zip(marks, self.videos, strict=True):
            row[list(video.target)] = 1  # type: ignore[arg-type]
        return marks

    def only(self, keys: Iterable[str]) -> LabeledVideos:
        """Take the samples with these keys, in the order of the keys.

        Raises:
            InputError: For a key that is not there.
        """
        found = {video.key: video for video in self.videos}
        wanted = list(keys)
        missing = [key for key in wanted if key not in found]
        if missing:
            raise InputError(
                f"{self.name}, {self.split}: no sample {missing[0]} "
                f"({len(missing)} of {len(wanted)} keys are unknown); use keys of this split"
            )
        return replace(self, videos=tuple(found[key] for key in wanted), partial=True)

    def few(self, count: int, rng: np.random.Generator) -> LabeledVideos:
        """Draw `count` samples of every class, all of a class that has fewer."""
        import numpy as np

        if self.task != "single-label":
            raise InputError(f"{self.name}: {self.task}; few-shot subsets need one label a sample")
        targets = self.targets()
        chosen: list[int] = []
        for number in range(len(self.classes)):
            own = np.flatnonzero(targets == number)
            chosen += sorted(rng.permutation(own)[:count].tolist())
        return replace(self, videos=tuple(self.videos[i] for i in chosen), partial=True)


def _numbers(target: Target) -> tuple[float, ...]:
    return target if isinstance(target, tuple) else (target,)


def require_fitting(train: LabeledVideos, test: LabeledVideos) -> None:
    """Raise InputError when two splits do not ask the same thing, or share a sample: the same part
    of the same file, under whatever key."""
    if (train.task, train.classes) != (test.task, test.classes):
        raise InputError(
            f"{train.name}: the {train.split} split has {len(train.classes)} classes "
            f"({train.task}), the {test.split} split {len(test.classes)} ({test.task}); give both "
            f"from one version of the annotations"
        )
    learned = {_place(video) for video in train.videos}
    shared = [video for video in test.videos if _place(video) in learned]
    if shared:
        raise InputError(
            f"{test.name}: {len(shared):,} of {len(test):,} {test.split} samples are in the "
            f"{train.split} split too, such as {shared[0].path}; remove them from one of the two"
        )


def _place(video: LabeledVideo) -> tuple[str, Span | None]:
    # Links are not followed, which would ask the disk for each of many files.
    return os.path.abspath(video.path), video.span  # noqa: PTH100
