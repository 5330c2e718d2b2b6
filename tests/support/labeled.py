"""Small labelled data sets, cut from real videos."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from smile_motion.video import index_video, read_frames, write_video


def cut_clips(video: Path, folder: Path, count: int, *, first: int = 0, frames: int = 8) -> None:
    """Write short clips, 64 x 64, of different moments of a real video."""
    index = index_video(video)
    starts = np.linspace(first, len(index) - 3 * frames - 1, count).astype(int)
    folder.mkdir(parents=True)
    for number, start in enumerate(starts):
        images = read_frames(index, start + 2 * np.arange(frames))
        height, width = images.shape[1:3]
        left = (width - height) // 2
        small = [cv2.resize(image[:, left : left + height], (64, 64)) for image in images]
        write_video(folder / f"{number:02d}.mp4", np.stack(small), rate_hz=8)


def write_class_folders(root: Path, videos: dict[str, Path], *, train: int, test: int) -> Path:
    """A folder per class, `train/bikes/00.mp4`, …: test clips are of later moments."""
    for name, video in videos.items():
        cut_clips(video, root / "all" / name, train + test)
        clips = sorted((root / "all" / name).iterdir())
        for split, part in (("train", clips[:train]), ("validation", clips[train:])):
            (root / split / name).mkdir(parents=True)
            for clip in part:
                clip.rename(root / split / name / clip.name)
    return root


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
