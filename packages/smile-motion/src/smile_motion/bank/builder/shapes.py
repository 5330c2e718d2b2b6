"""Circles and polygons filled with a color, noise or a photograph: the objects of arXiv 2410.24213.

"Learning Video Representations without Natural Videos" is "the paper" here; "the code" is its
published code, github.com/Unicorn53547/Synthetic-Video-Representations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from smile_motion.bank.builder.sources import SourceObject
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, sha256
from smile_motion.io.images import find_photographs, read_photograph
from smile_motion.seeding import Stream, keyed_generator

ShapeKind = Literal["circles", "shapes", "textures", "crops"]
"""Circles or shapes of one color; the shapes filled with noise, or with crops of photographs."""

VERSION = 2
"""Incremented when a number gives another object than before."""
CORNERS: dict[str, int] = {
    "circle": 128,
    "square": 4,
    "oriented-square": 4,
    "rectangle": 4,
    "triangle": 3,
    "quadrilateral": 4,
}
"""Number of corners on the unit circle of each shape; shapes are equally frequent (the code)."""
SIDE_PX = 256
"""Side of an object's image, pixels; it spans the circle of the corners (ours)."""
SUPERSAMPLING = 4
"""Sub-pixels per pixel and axis that soft edges are averaged from (ours)."""
SMALLEST_SHARE = 0.02
"""Smallest share of the image that a shape covers; thinner ones are drawn again (ours)."""
CROP_SHARE = (0.25, 1.0)
"""Range of a crop's side, as a share of its photograph's shorter side (ours)."""


@dataclass(frozen=True, kw_only=True)
class ShapeSource:
    """Objects of one stage of the paper; an object depends on its number and the fields alone.

    Images are not cropped to the shape but span its circle, so that the size is the circle's
    diameter and rotation is about its center.
    """

    kind: ShapeKind
    """Kind of object."""
    count: int
    """Number of objects. Color, texture and crop are drawn once per object: use many."""
    seed: int = 0
    """Seed of all objects."""
    root: Path = Path()
    """Folder that `files` are relative to."""
    files: tuple[str, ...] = ()
    """Photographs that crops are taken from. Paper: ImageNet, or images of a random network."""

    @classmethod
    def open(
        cls, kind: ShapeKind, *, count: int, seed: int = 0, images: Path | None = None
    ) -> ShapeSource:
        """Open a source, finding the photographs where the kind needs them.

        Args:
            kind: Kind of object.
            count: Number of objects.
            seed: Seed of all objects.
            images: Folder of photographs, for `crops`.

        Raises:
            InputError: `crops` without a folder, or with one that contains no photographs.
        """
        if kind != "crops":
            return cls(kind=kind, count=count, seed=seed)
        if images is None:
            raise InputError("crops need photographs: add --images DIR")
        files = tuple(path.relative_to(images).as_posix() for path in find_photographs(images))
        return cls(kind=kind, count=count, seed=seed, root=images, files=files)

    def make(self, number: int) -> SourceObject:
        """Make object `number`, 256 x 256 px.

        Raises:
            InputError: The photograph that it is cropped from cannot be read.
        """
        names = ["circle"] if self.kind == "circles" else list(CORNERS)
        category = names[number % len(names)]
        attempt = 0
        while True:
            rng = keyed_generator(self.seed, Stream.OBJECT, index=number, part=attempt)
            alpha = fill(corners(rng, category))
            if alpha.mean() >= SMALLEST_SHARE * 255:
                break
            attempt += 1
        details: dict[str, Any] = {"seed": self.seed}
        match self.kind:
            case "circles" | "shapes":
                surface = np.full((SIDE_PX, SIDE_PX, 3), rng.integers(0, 256, 3), np.uint8)
            case "textures":
                surface = texture(rng, SIDE_PX)
            case "crops":
                file = self.files[int(rng.integers(len(self.files)))]
                surface, crop = _crop(rng, read_photograph(self.root / file))
                details |= {"original": file, "crop": list(crop)}
        name = f"{number // len(names):06d}"
        image = np.dstack([surface, alpha])
        return SourceObject(name, category, cv2.bitwise_and(image, image, mask=alpha), details)

    def mark(self) -> str:
        """Hash that tells the photographs from others of the same names; "" without any."""
        if not self.files:
            return ""
        photographs = [(name, (self.root / name).stat()) for name in self.files]
        lines = ([name, there.st_size, there.st_mtime_ns] for name, there in photographs)
        root = str(self.root.resolve())
        return sha256(dump_lines([{"folder": root}, *({"file": line} for line in lines)]))[:8]

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the source."""
        card = {"source": self.kind, "version": VERSION, "seed": self.seed, "side_px": SIDE_PX}
        if self.kind != "crops":
            return card | {"licence": "CC0-1.0: generated from random numbers, no rights reserved"}
        return card | {
            "folder": self.root.name,
            "files": len(self.files),
            "files_sha256": sha256(dump_lines({"file": file} for file in self.files)),
            "licence": "that of the photographs",
        }


def corners(rng: np.random.Generator, shape: str) -> np.ndarray:
    """Draw the corners of a shape on the unit circle (the code).

    Args:
        rng: Generator of the angles.
        shape: Key of `CORNERS`.

    Returns:
        (n, 2) float64, x then y, in order.
    """
    count = CORNERS[shape]
    match shape:
        case "circle":
            angle = np.arange(count) * 2 * np.pi / count
        case "square":
            angle = (np.arange(4) + 0.5) * np.pi / 2
        case "oriented-square":
            angle = rng.uniform(0, 2 * np.pi) + np.arange(4) * np.pi / 2
        case "rectangle":
            half = rng.uniform(0, np.pi / 2)
            angle = np.array([half, np.pi - half, np.pi + half, -half])
        case _:
            angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def fill(points: np.ndarray) -> np.ndarray:
    """Rasterize a polygon with soft edges; those of the code are hard.

    Args:
        points: (n, 2) float64 corners within the unit circle, x then y.

    Returns:
        (SIDE_PX, SIDE_PX) uint8 alpha.
    """
    from smile_motion.bank.builder._surfaces import average_4x4

    side = SIDE_PX * SUPERSAMPLING
    fine = np.zeros((side, side), np.uint8)
    cv2.fillPoly(fine, [np.rint((points + 1) / 2 * side - 0.5).astype(np.int32)], 255)
    alpha = np.empty((SIDE_PX, SIDE_PX), np.uint8)
    average_4x4(fine, alpha)
    return alpha


def texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw colored noise.

    It replaces the paper's statistical images (arXiv 2106.05963) and has their spectrum and color
    model: amplitude 1 / (|fx|^a + |fy|^b), a and b near a slope uniform in 0.5 to 3.5; mean and
    principal axes of 3 to 22 random colors. Their wavelet statistics are left out.

    Args:
        rng: Generator of spectrum, colors and noise.
        side: Height and width, pixels.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    slope, skew = rng.uniform(0.5, 3.5), rng.normal() * 0.05
    falls = np.abs(np.fft.fftfreq(side))[:, None] ** (slope - skew) + np.abs(np.fft.rfftfreq(side))[
        None
    ] ** (slope + skew)
    falls[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((3, side, side))) / falls
    noise = np.fft.irfft2(spectrum, s=(side, side))
    noise /= noise.std(axis=(1, 2), keepdims=True)
    colors = rng.uniform(0, 255, size=(int(rng.integers(3, 23)), 3))
    share = rng.uniform(0.001, 1.001, len(colors))
    mean = np.average(colors, axis=0, weights=share)
    spread, axes = np.linalg.eigh(np.cov(colors.T, aweights=share, ddof=0))
    rgb = mean + np.einsum("chw,c,rc->hwr", noise, np.sqrt(np.maximum(spread, 0)), axes)
    return np.rint(np.clip(rgb, 0, 255)).astype(np.uint8)


def _crop(
    rng: np.random.Generator, image: np.ndarray
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Crop a random square, (SIDE_PX, SIDE_PX, 3) uint8; also returns its x, y, width, height."""
    height, width = image.shape[:2]
    side = max(1, round(rng.uniform(*CROP_SHARE) * min(height, width)))
    x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    how = cv2.INTER_AREA if side > SIDE_PX else cv2.INTER_LINEAR
    cropped = image[y : y + side, x : x + side]
    return cv2.resize(cropped, (SIDE_PX, SIDE_PX), interpolation=how), (x, y, side, side)
