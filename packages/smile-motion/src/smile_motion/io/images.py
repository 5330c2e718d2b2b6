"""Images: decoding within bounds, upright and in 8 bits; photographs; crops; PNG encoding."""

from __future__ import annotations

import logging
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from smile_motion.errors import InputError
from smile_motion.io.folders import find_files

_LOGGER = logging.getLogger(__name__)
FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""Formats that are decoded, whatever the suffix. By default Pillow would also pass PostScript to
Ghostscript."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Suffixes of files in these formats."""
UNREAD_SUFFIXES = (".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".tif", ".tiff")
"""Suffixes of images in other formats; files with them are reported, not read."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation per channel that most models standardize by, in 0..1."""


def count_types(files: Iterable[Path]) -> dict[str, int]:
    """Count files by suffix; keys are such as `.jpg files`, sorted."""
    return dict(sorted(Counter(f"{path.suffix.lower()} files" for path in files).items()))


def say_counts(counts: dict[str, int]) -> str:
    """Format counts as text: `3 .gif files, 1 .tif files`."""
    return ", ".join(f"{number} {what}" for what, number in counts.items())


_16_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of 16-bit grayscale; `Image.convert` would clip their values to 255."""
_TO_8_BIT = 257
"""Factor from 8 to 16 bits: 65535 is 255."""


@contextmanager
def open_image(
    path: Path,
    *,
    largest_px: int,
    remedy: str = "replace or delete it",
    restore: str = "check its path",
    name: str | None = None,
    formats: tuple[str, ...] = FORMATS,
) -> Iterator[Image.Image]:
    """Open an image of bounded size; errors of decoding it in the block name the file.

    Args:
        path: Path of the image.
        largest_px: Largest width or height that is accepted, pixels.
        remedy: Remedy for a damaged file, named in errors.
        restore: Remedy for a missing file, named in errors.
        name: Name of the file in errors; its path by default.
        formats: Pillow's names of the formats that are decoded.

    Raises:
        InputError: The file is missing, empty, too large, or not a readable image.
    """
    name = name or str(path)
    try:
        with Image.open(path, formats=formats) as image:
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
    except (OSError, EOFError, SyntaxError, ValueError) as error:
        size = path.stat().st_size
        what = f"not a readable image ({size} bytes)" if size else "empty"
        raise InputError(f"{name}: {what}; {remedy}") from error


def decode_rgb(image: Image.Image) -> np.ndarray:
    """Decode an opened image of any mode, rotated by its EXIF orientation: (H, W, 3) uint8 RGB.

    Transparent pixels are white, as in a browser. Of an animation the first frame is decoded.
    """
    rgba = decode_rgba(image) if image.has_transparency_data else None
    if rgba is None:
        return np.asarray(_upright(image).convert("RGB"))
    if rgba[..., 3].min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])  # What follows would give.
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def decode_rgba(image: Image.Image) -> np.ndarray:
    """Decode an opened image of any mode, upright: (H, W, 4) uint8 RGBA with straight alpha."""
    return np.asarray(_upright(image).convert("RGBA"))


def _upright(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in _16_BIT:
        return upright
    values = np.asarray(upright).astype(np.int64)
    gray = Image.fromarray(((values + _TO_8_BIT // 2) // _TO_8_BIT).clip(0, 255).astype(np.uint8))
    clear = upright.info.get("transparency")
    if clear is not None:  # a value in 16 bits
        gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return gray


LARGEST_IMAGE_PX = 12_000
"""Largest width or height of a photograph, pixels; larger ones are refused before decoding."""


def find_photographs(folder: Path) -> tuple[Path, ...]:
    """Find the photographs in a folder and its subfolders, sorted.

    A logged warning counts images in formats that are not read.

    Raises:
        InputError: The folder is missing, or has no photograph.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of photographs with --images")
    found = find_files(folder, (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES))
    files = tuple(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if others := count_types(path for path in found if path.suffix.lower() in UNREAD_SUFFIXES):
        _LOGGER.warning(
            "%s: left out: %s; of images %s are read",
            *(folder, say_counts(others), ", ".join(IMAGE_SUFFIXES)),
        )
    if not files:
        raise InputError(f"{folder}: no photograph below it ({', '.join(IMAGE_SUFFIXES)})")
    return files


def read_photograph(file: Path) -> np.ndarray:
    """Decode one photograph, upright.

    Returns:
        (H, W, 3) uint8 RGB; of an animation the first frame.

    Raises:
        InputError: The file cannot be decoded, or a side is longer than `LARGEST_IMAGE_PX`.
    """
    with open_image(file, largest_px=LARGEST_IMAGE_PX) as image:
        return decode_rgb(image)


CROP_SCALES = (1.0, 0.875, 0.75, 0.66)
"""Side lengths of crops, as shares of the image's shorter side. Official."""


def draw_crop(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Draw a multi-scale crop (VideoMAE family): x, y, width, height in pixels.

    Width and height are two of the `CROP_SCALES`, at most one step apart, times the shorter side.

    Args:
        rng: Generator of the crop.
        height: Height of the image, pixels.
        width: Width of the image, pixels.
    """
    shorter = min(height, width)
    first = int(rng.integers(len(CROP_SCALES)))
    near = [place for place in (first - 1, first, first + 1) if 0 <= place < len(CROP_SCALES)]
    second = near[int(rng.integers(len(near)))]
    crop_w, crop_h = (max(1, int(shorter * CROP_SCALES[place])) for place in (first, second))
    x = int(rng.integers(width - crop_w + 1))
    y = int(rng.integers(height - crop_h + 1))
    return x, y, crop_w, crop_h


def cut(
    images: np.ndarray | Iterable[np.ndarray],
    crop: tuple[int, int, int, int],
    size: tuple[int, int],
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Crop images and resize them.

    Args:
        images: (n, H, W, 3) uint8; with `out` also one after the other.
        crop: x, y, width, height, pixels; see `draw_crop`.
        size: (height, width) of the result, pixels.
        out: (n, *size, 3) uint8 array to cut into; a new one by default.

    Returns:
        (n, *size, 3) uint8: area average if the width shrinks, else bilinear.
    """
    x, y, width, height = crop
    shrinks = width > size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if out is None:
        assert isinstance(images, np.ndarray)
        out = np.empty((len(images), *size, 3), np.uint8)
    for image, place in zip(images, out, strict=True):
        cv2.resize(
            image[y : y + height, x : x + width], (size[1], size[0]), place, interpolation=how
        )
    return out


_UP = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
_LEVEL = cv2.IMWRITE_PNG_COMPRESSION
PNG_PHOTOGRAPH = (_LEVEL, 4, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, *_UP)
"""As small as by default in a quarter of the time, for photographs."""
PNG_OBJECT = (_LEVEL, 1, *_UP)
"""A third of the time of trying every filter at level 4, and a seventh larger, for cut-outs."""
PNG_FRAME = (_LEVEL, 4)
"""Every filter is tried."""


def encode_png(image: np.ndarray, settings: tuple[int, ...] = PNG_FRAME) -> bytes:
    """Encode an image as PNG; the same pixels and settings always give the same bytes.

    Args:
        image: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA; uint8 or uint16.
        settings: OpenCV's parameters and their values, such as `PNG_OBJECT`.
    """
    match image.shape[2:]:
        case (3,):
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        case (4,):
            image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(".png", image, settings)[1].tobytes()


def encode_apng(
    images: Sequence[np.ndarray], delay_ms: int, settings: tuple[int, ...] = PNG_OBJECT
) -> bytes:
    """Encode images of one size as an animated PNG that repeats for ever.

    Each is stored whole, so that any decoder gives their exact pixels; a decoder that knows no
    animation shows the first.

    Args:
        images: As for `encode_png`, at least one.
        delay_ms: Duration of each, 1 to 65535 milliseconds.
        settings: As for `encode_png`.
    """
    parts = [_PNG_START]
    sequence = 0
    for number, image in enumerate(images):
        chunks = list(_png_chunks(encode_png(image, settings)))
        if number == 0:
            parts += [_png_chunk(*chunks[0])]
            parts += [_png_chunk(b"acTL", struct.pack(">II", len(images), 0))]
        height, width = image.shape[:2]
        # At (0, 0), replacing what was there: the APNG specification's fcTL.
        control = (sequence, width, height, 0, 0, delay_ms, 1000, 0, 0)
        parts.append(_png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control)))
        sequence += 1
        for kind, data in chunks:
            if kind != b"IDAT":
                continue
            if number:
                data = struct.pack(">I", sequence) + data
                sequence += 1
            parts.append(_png_chunk(b"fdAT" if number else b"IDAT", data))
    return b"".join([*parts, _png_chunk(b"IEND", b"")])


_PNG_START = b"\x89PNG\r\n\x1a\n"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of the chunks of a PNG."""
    at = len(_PNG_START)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def opaque(images: np.ndarray) -> np.ndarray:
    """Composite images (n, H, W, 3 or 4) uint8 onto white: (n, H, W, 3) uint8."""
    if images.shape[-1] == 3:
        return images
    alpha = images[..., 3:].astype(np.uint16)
    mixed = images[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
