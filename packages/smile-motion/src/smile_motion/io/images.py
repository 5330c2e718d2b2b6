"""Opening image files that others made: bounded, upright, in 8 bits, as nothing but pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from smile_motion.errors import InputError

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""What is decoded, whatever a file's name ends in. Left to itself, Pillow would also hand
PostScript to Ghostscript."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""What files of these formats are called."""
UNREAD_SUFFIXES = (".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".tif", ".tiff")
"""What files of images in other formats are called; where they lie among data, it is said."""


def count_types(files: Iterable[Path]) -> dict[str, int]:
    """Count files by what their names end in, such as `.jpg files`, in order."""
    return dict(sorted(Counter(f"{path.suffix.lower()} files" for path in files).items()))


def say_counts(counts: dict[str, int]) -> str:
    """Counts in words: `3 .gif files, 1 .tif files`."""
    return ", ".join(f"{number} {what}" for what, number in counts.items())


_16_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Modes that Pillow gives 16-bit greyscale; converting clips them, so that most of it is white."""
_TO_8_BIT = 257
"""65535 is 255."""


@contextmanager
def open_image(
    path: Path,
    *,
    largest_px: int,
    remedy: str = "replace or delete it",
    restore: str = "check its path",
    name: str | None = None,
) -> Iterator[Image.Image]:
    """Open an image whose header promises a bounded size; its pixels are decoded inside.

    largest_px  the longest side that is read.
    remedy      what to do about a damaged file.
    restore     what to do about a missing one.
    name        what to call the file in errors; its path by default.
    Raises InputError when the file is missing, empty, too large or no readable image.
    """
    name = name or str(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if max(image.size) > largest_px:
                raise InputError(
                    f"{name}: {image.width} x {image.height} px, at most {largest_px} a side "
                    f"are read; make it smaller"
                )
            yield image
    except FileNotFoundError as error:
        raise InputError(f"{name}: missing; {restore}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: more pixels than are read; make it smaller") from error
    except PermissionError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        size = path.stat().st_size
        what = f"not a readable image ({size} bytes)" if size else "empty"
        raise InputError(f"{name}: {what}; {remedy}") from error


def decode_rgb(image: Image.Image) -> np.ndarray:
    """Decode an opened image, upright, whatever its mode: (H, W, 3) uint8 RGB.

    What is transparent shows white, as in a browser. Animated files give their first picture.
    """
    rgba = decode_rgba(image) if image.has_transparency_data else None
    if rgba is None:
        return np.asarray(_upright(image).convert("RGB"))
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def decode_rgba(image: Image.Image) -> np.ndarray:
    """Decode an opened image, upright, whatever its mode: (H, W, 4) uint8 straight-alpha RGBA."""
    return np.asarray(_upright(image).convert("RGBA"))


def _upright(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in _16_BIT:
        return upright
    values = np.asarray(upright).astype(np.int64)
    grey = Image.fromarray(((values + _TO_8_BIT // 2) // _TO_8_BIT).clip(0, 255).astype(np.uint8))
    clear = upright.info.get("transparency")
    if clear is not None:  # a value in 16 bits
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey
