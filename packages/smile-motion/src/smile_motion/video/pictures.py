"""Videos that are pictures: folders of numbered images, and animated WebP and APNG."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from smile_motion.errors import InputError
from smile_motion.io.folders import is_data
from smile_motion.io.images import IMAGE_SUFFIXES, decode_rgb, open_image
from smile_motion.video.decoder import LARGEST_SIDE_PX

RATE_HZ = 25.0
"""Frame rate of a folder of images, which has none. Ours."""
ANIMATIONS = (".webp", ".apng")
"""Suffixes of animations that Pillow decodes; FFmpeg reads GIF, as any video."""
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>[0-9]{1,18})")
_UNTIMED_S = 0.1
"""Duration of a frame that states none, as in browsers, seconds."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Where the frames of such a video are."""

    files: tuple[Path, ...]
    """A file a frame, in order; or the one animation."""
    is_animation: bool
    """Whether all frames are in one file."""


def is_animation(path: Path) -> bool:
    """Whether a file is an APNG by its suffix, or a WebP that says that it moves."""
    if path.suffix.lower() != ".webp":
        return path.suffix.lower() in ANIMATIONS
    with path.open("rb") as file:
        head = file.read(21)
    # A still WebP begins with another chunk, or has this bit of the extended header clear.
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def numbered_images(folder: Path) -> tuple[Path, ...]:
    """Images of a folder that holds nothing but numbered images, in order; else none.

    Names are such as `frame_0001.png`: one text, a number, one suffix. Hidden files do not count.
    """
    found: dict[int, Path] = {}
    kinds = set[tuple[str, str]]()
    for path in folder.iterdir():
        if not is_data(path.name):
            continue
        match = _NUMBERED.fullmatch(path.stem)
        if match is None or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            return ()
        kinds.add((match["before"], path.suffix))
        if len(kinds) > 1 or int(match["number"]) in found:
            return ()
        found[int(match["number"])] = path
    return tuple(found[number] for number in sorted(found)) if len(found) > 1 else ()


def find_pictures(path: Path) -> Pictures | None:
    """Find the frames of a folder of numbered images, or of an animation; None for others.

    Raises:
        InputError: Numbers are missing in a folder.
    """
    if path.is_dir():
        files = numbered_images(path)
        if not files:
            return None
        numbers = [int(_NUMBERED.fullmatch(file.stem)["number"]) for file in files]  # type: ignore[index]
        steps = np.diff(numbers)
        if (steps != steps.min()).any():
            at = int(np.argmax(steps != steps.min()))
            raise InputError(
                f"{path}: no image between {files[at].name} and {files[at + 1].name}, where others "
                f"are {steps.min()} apart; add what is missing, or number them anew"
            )
        return Pictures(files=files, is_animation=False)
    if path.suffix.lower() in ANIMATIONS and path.is_file():
        return Pictures(files=(path,), is_animation=True)
    return None


def frame_times_ms(pictures: Pictures) -> np.ndarray:
    """Start of every frame and the end of the last one, (N + 1,) int64 milliseconds.

    An animation is decoded for it.

    Raises:
        InputError: A frame of an animation cannot be decoded.
    """
    if not pictures.is_animation:
        return np.rint(np.arange(len(pictures.files) + 1) * (1000 / RATE_HZ)).astype(np.int64)
    lengths = []
    with _opened(pictures.files[0]) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
            lengths.append(round(frame.info.get("duration") or 1000 * _UNTIMED_S) or 1)
    return np.cumsum([0, *lengths])


def iterate_pictures(pictures: Pictures, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Decode frames of ascending numbers.

    Args:
        pictures: The frames.
        numbers: (n,) frame numbers, each at most once.

    Yields:
        (H, W, 3) uint8 RGB; transparent pixels are white.

    Raises:
        InputError: A frame cannot be decoded.
    """
    if pictures.is_animation:
        yield from _iterate_animation(pictures.files[0], numbers)
        return
    for number in numbers:
        with _opened(pictures.files[number]) as image:
            yield decode_rgb(image)


KEPT_BYTES = 1 << 27
"""Most that is kept of an animation's frames, bytes: 383 of 456 x 256 px. Ours."""
_kept = threading.local()


def _iterate_animation(path: Path, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Decode frames of an animation, read-only.

    Each builds on the one before, so that a frame needs all that come first: those of an animation
    that is read twice in a row are kept, the first ones where they are too large together.
    """
    key = None
    with suppress(OSError):  # `_opened` says what is wrong.
        state = path.stat()
        key = path, state.st_mtime_ns, state.st_size
    again = key is not None and getattr(_kept, "key", None) == key
    if not again:
        _kept.key, _kept.frames = key, []
    frames: list[np.ndarray] = _kept.frames
    if max(numbers, default=-1) < len(frames):
        yield from (frames[number] for number in numbers)
        return
    with _opened(path) as image:
        most = KEPT_BYTES // max(1, 3 * image.width * image.height) if again else 0
        for number in numbers:
            while len(frames) <= min(number, most - 1):
                image.seek(len(frames))
                frames.append(decode_rgb(image))
                frames[-1].setflags(write=False)
            if number >= len(frames):
                image.seek(number)
            yield frames[number] if number < len(frames) else decode_rgb(image)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with open_image(
        path, largest_px=LARGEST_SIDE_PX, remedy="replace it or leave the video out"
    ) as image:
        try:
            yield image
        except EOFError as error:
            raise OSError("fewer frames than it says") from error
