"""What the labelled movements can be told by without an encoder: they must not be told by a frame.

    python -m benchmarks.evidence.controls --data runs/evidence/movements

Logistic regressions, their penalty chosen on a fifth of the training clips, of 14 x 14 grey pixels:
of the middle frame; of the mean frame; of differences of eight frames, in order and shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from smile_motion.io.files import dump_json, write_atomically
from smile_motion.runtime.progress import progress_bar
from smile_motion.video import open_index, read_frames
from smile_train.datasets import LabeledVideos, open_split
from smile_train.datasets.registry import DatasetPlace

SIDE, SLICES = 14, 8
"""Grey pixels along a side; frames whose differences are taken."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties tried."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked."""

    data: Path
    """Folder of labelled movements."""
    out: Path | None = None
    """File of the results, as JSON."""
    seed: int = 0
    """Of shuffles and of what the penalty is chosen by."""


def read_grey(videos: LabeledVideos) -> np.ndarray:
    """Eight frames of each video, grey and small, (n, 8, 14 * 14) float32 in 0..1."""
    import cv2

    found = np.empty((len(videos), SLICES, SIDE * SIDE), np.float32)
    with progress_bar() as on_progress:
        for number, video in enumerate(videos.videos):
            index = open_index(video.path)
            places = np.linspace(0, len(index) - 1, SLICES).round().astype(np.int64)
            grey = read_frames(index, places).mean(-1) / 255
            for place, frame in enumerate(grey):
                small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
                found[number, place] = small.ravel()
            on_progress(f"{videos.split} frames", number + 1, len(videos))
    return found


def measure_controls(data: Path, seed: int = 0) -> dict[str, float]:
    """Accuracy of each control on the validation part, per cent, and chance."""
    place = DatasetPlace(name="folder", root=data)
    splits = [open_split(place, split) for split in ("train", "validation")]
    train, test = (read_grey(videos) for videos in splits)
    known, asked = (videos.targets() for videos in splits)
    rng = np.random.default_rng(seed)

    def shuffled(grey: np.ndarray) -> np.ndarray:
        return np.stack([clip[rng.permutation(SLICES)] for clip in grey])

    views = {
        "middle frame": (train[:, SLICES // 2], test[:, SLICES // 2]),
        "mean frame": (train.mean(1), test.mean(1)),
        "differences": tuple(
            np.diff(part, axis=1).reshape(len(part), -1) for part in (train, test)
        ),
        "differences, shuffled": tuple(
            np.diff(shuffled(part), axis=1).reshape(len(part), -1) for part in (train, test)
        ),
    }
    found = {"chance": 100 / len(splits[0].classes)}
    for name, (learn, judge) in views.items():
        found[name] = 100 * _accuracy(learn, known, judge, asked, rng)
    return found


def _accuracy(
    learn: np.ndarray,
    known: np.ndarray,
    judge: np.ndarray,
    asked: np.ndarray,
    rng: np.random.Generator,
) -> float:
    from sklearn.linear_model import LogisticRegression

    mean, deviation = learn.mean(0), learn.std(0) + 1e-6
    learn, judge = (learn - mean) / deviation, (judge - mean) / deviation
    order = rng.permutation(len(learn))
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    tried = []
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=300).fit(learn[kept], known[kept])
        tried.append(model.score(learn[held], known[held]))
    best = PENALTIES[int(np.argmax(tried))]
    return float(LogisticRegression(C=best, max_iter=300).fit(learn, known).score(judge, asked))


def main(options: Options) -> None:
    """Measure and print."""
    found = measure_controls(options.data, options.seed)
    for name, value in found.items():
        print(f"{name:24} {value:5.1f} %")
    if options.out is not None:
        write_atomically(options.out, dump_json(found))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
