"""Opening image files that others made: bounded, and as nothing but pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

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
