"""Segmenters, which find the object of an image; `open_segmenter` opens one by a short text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.bank.candidates.segmenters.clipseg import DEFAULT_MODEL, ClipSegSegmenter
from smile_motion.bank.candidates.segmenters.onnx import WELL_KNOWN, ModelDescription, OnnxSegmenter
from smile_motion.bank.candidates.types import Category, Mask, Segmenter
from smile_motion.errors import InputError

__all__ = [
    "WELL_KNOWN",
    "ClipSegSegmenter",
    "FullSegmenter",
    "ModelDescription",
    "OnnxSegmenter",
    "open_segmenter",
]


def open_segmenter(
    spec: str, *, device: str = "cpu", batch: int = 8, threads: int | None = None
) -> Segmenter:
    """Open a segmenter.

    Example:

        isnet = open_segmenter("models/isnet-general-use.onnx", device="cuda")
        masks = isnet.segment(images, [Category("fire engine")] * len(images))

    Args:
        spec: `isnet-general-use.onnx`, a path to an ONNX file (see `ModelDescription.beside`);
            `clipseg`, or `clipseg=` with a folder or a hub name; `full`, for images with alpha.
            `NAME=` before any of these sets its name in records; otherwise that is the file's stem
            or the kind.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        batch: Images per batch.
        threads: Number of threads of an ONNX model on the CPU; one per core by default.

    Raises:
        InputError: The text names no segmenter, or the model cannot be opened.
    """
    if batch < 1:
        raise InputError(f"a segmenter's batch of {batch}; expected at least 1")
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads for a segmenter; expected at least 1")
    name, kind = _split(spec)
    if kind == "full":
        return FullSegmenter(name=name or "full")
    if kind == "clipseg" or kind.startswith("clipseg="):
        model = kind.partition("=")[2] or DEFAULT_MODEL
        return ClipSegSegmenter.open(model, name=name or "clipseg", device=device, batch=batch)
    if kind.endswith(".onnx"):
        path = Path(kind)
        return OnnxSegmenter.open(path, name=name, device=device, batch=batch, threads=threads)
    raise InputError(
        f"segmenter {spec!r}: expected a path to an .onnx file, clipseg, clipseg=FOLDER or full"
    )


def _split(spec: str) -> tuple[str | None, str]:
    """Divide `NAME=KIND`; a path may contain `=` too."""
    head, equals, rest = spec.partition("=")
    if equals and head != "clipseg" and re.fullmatch(r"[\w.-]+", head):
        return head, rest
    return None, spec


@dataclass(frozen=True, kw_only=True)
class FullSegmenter:
    """Returns an image's own alpha as its mask."""

    name: str = "full"
    """Name in records."""

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        """Return the alpha of each image, not normalized.

        Args:
            images: (N, H, W, 4) uint8 RGBA.
            categories: Category of each image; not used.

        Raises:
            InputError: The images have no alpha channel.
        """
        if images.shape[-1] != 4:
            raise InputError(
                f"segmenter {self.name}: images of category {categories[0].name!r} have no alpha "
                f"channel; use RGBA images, or a segmenter that finds the object"
            )
        return [Mask(image[..., 3].copy(), float(image[..., 3].max()) / 255) for image in images]

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the segmenter."""
        return {"name": self.name, "kind": "full"}
