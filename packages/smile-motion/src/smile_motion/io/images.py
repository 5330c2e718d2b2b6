"""Images: decoding within bounds, upright and in 8 bits; photographs; crops; PNG encoding."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from smile_motion.errors import InputError
from smile_motion.io.folders import find_files

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""What is decoded, whatever a file's name ends in. Left to itself, Pillow would also hand
PostScript to Ghostscript."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""What files of these formats are called."""
UNREAD_SUFFIXES = (".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".tif", ".tiff")
"""What files of images in other formats are called; where they lie among data, it is said."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""What most models standardise their input by, in 0..1."""


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

    Args:
        largest_px: The longest side that is read.
        remedy: What to do about a damaged file.
        restore: What to do about a missing one.
        name: What to call the file in errors; its path by default.

    Raises:
        InputError: The file is missing, empty, too large or no readable image.
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
    except (InputError, PermissionError):
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


LARGEST_IMAGE_PX = 12_000
"""Photographs with a longer side are refused before they are decoded."""


def find_photographs(folder: Path) -> tuple[Path, ...]:
    """Find the photographs in a folder, searched to the bottom, in order.

    A line on standard error counts images of types that are not read.

    Raises:
        InputError: There are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of photographs with --images")
    found = find_files(folder, (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES))
    files = tuple(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if others := count_types(path for path in found if path.suffix.lower() in UNREAD_SUFFIXES):
        print(
            f"{folder}: left out: {say_counts(others)}; of images {', '.join(IMAGE_SUFFIXES)} "
            f"are read",
            file=sys.stderr,
        )
    if not files:
        raise InputError(f"{folder}: no photograph below it ({', '.join(IMAGE_SUFFIXES)})")
    return files


def read_photograph(file: Path) -> np.ndarray:
    """Decode one photograph, upright.

    Returns:
        (H, W, 3) uint8 RGB; animated files give their first picture.

    Raises:
        InputError: It cannot be decoded, or is larger than `LARGEST_IMAGE_PX` a side.
    """
    with open_image(file, largest_px=LARGEST_IMAGE_PX) as image:
        return decode_rgb(image)


CROP_SCALES = (1.0, 0.875, 0.75, 0.66)
"""Shares of the shorter side that a crop's sides are drawn from. Official."""


def draw_crop(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Draw a multi-scale crop (VideoMAE family): x, y, width, height in pixels.

    Both sides are shares of the shorter side from `CROP_SCALES`, at most one step apart.
    """
    shorter = min(height, width)
    first = int(rng.integers(len(CROP_SCALES)))
    near = [place for place in (first - 1, first, first + 1) if 0 <= place < len(CROP_SCALES)]
    second = near[int(rng.integers(len(near)))]
    crop_w, crop_h = (max(1, int(shorter * CROP_SCALES[place])) for place in (first, second))
    x = int(rng.integers(width - crop_w + 1))
    y = int(rng.integers(height - crop_h + 1))
    return x, y, crop_w, crop_h


def cut(images: np.ndarray, crop: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Crop (n, H, W, 3) uint8 images and resize them to `size` (height, width)."""
    x, y, width, height = crop
    shrinks = width > size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    target = np.empty((len(images), *size, 3), np.uint8)
    for image, place in zip(images, target, strict=True):
        cv2.resize(
            image[y : y + height, x : x + width], (size[1], size[0]), place, interpolation=how
        )
    return target


def encode_fast(image: np.ndarray) -> bytes:
    """Encode (H, W), (H, W, 3) or (H, W, 4) uint8 as PNG, four times as fast as by default and
    as small."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 4]
    settings += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    settings += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    match image.shape[2:]:
        case (3,):
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        case (4,):
            image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(".png", image, settings)[1].tobytes()


def opaque(images: np.ndarray) -> np.ndarray:
    """Put images (N, H, W, 3 or 4) uint8 on white: (N, H, W, 3) uint8."""
    if images.shape[-1] == 3:
        return images
    alpha = images[..., 3:].astype(np.uint16)
    mixed = images[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
