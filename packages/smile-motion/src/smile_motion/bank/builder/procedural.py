"""Procedural objects from geometry and noise, thousands per minute, without a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import shapely
from shapely.affinity import affine_transform, rotate, scale, translate
from shapely.geometry.base import BaseGeometry

from smile_motion.bank.builder.sources import SourceObject
from smile_motion.bank.builder.textures import TEXTURES, paint
from smile_motion.seeding import Stream, keyed_generator

SUPERSAMPLING = 4
"""Sub-pixels per pixel and axis that soft edges are averaged from."""


def convex(rng: np.random.Generator) -> BaseGeometry:
    """Draw the convex hull of 3 to 9 points, with sharp or rounded corners."""
    angle = np.sort(rng.random(rng.integers(3, 10))) * 2 * np.pi
    radius = rng.uniform(0.75, 1.0, len(angle))
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    shape = shapely.MultiPoint(points).convex_hull
    if shape.area < 0.5:  # a sliver: all points on one side
        shape = shapely.MultiPoint([*points, (0.9, 0), (-0.5, 0.8), (-0.5, -0.8)]).convex_hull
    return shape.buffer(rng.choice([0.0, 0.08, 0.2]))


def star(rng: np.random.Generator) -> BaseGeometry:
    """Draw a star with 4 to 11 sharp or rounded tips."""
    tips = int(rng.integers(4, 12))
    angle = np.arange(2 * tips) * np.pi / tips
    radius = np.where(np.arange(2 * tips) % 2 == 0, 1.0, rng.uniform(0.35, 0.75))
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    rounding = rng.choice([0.0, 0.05, 0.1])
    return shapely.Polygon(points).buffer(-rounding).buffer(2 * rounding)


def blob(rng: np.random.Generator) -> BaseGeometry:
    """Draw a smooth closed curve: a circle whose radius is a random low-order Fourier series."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    order = np.arange(2, 7)
    weight = rng.normal(size=5) / order * rng.uniform(0.2, 0.6)
    phase = rng.uniform(0, 2 * np.pi, 5)
    wave = (weight[:, None] * np.cos(order[:, None] * angle + phase[:, None])).sum(axis=0)
    radius = np.exp(np.clip(wave, -0.7, 0.7))
    return shapely.Polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None])


def compound(rng: np.random.Generator) -> BaseGeometry:
    """Draw the union of a body with limbs: discs, boxes and bent capsules."""
    parts = (_disc, _box, _capsule)
    shape = parts[rng.integers(3)](rng)
    for _ in range(rng.integers(2, 6)):
        part = parts[rng.integers(3)](rng)
        part = scale(part, *rng.uniform(0.35, 0.75, 2))
        part = rotate(part, rng.uniform(0, 360))
        x, y = _edge_point(shape, rng.random())
        shape = shape.union(translate(part, x, y))
        shape = max(getattr(shape, "geoms", [shape]), key=lambda piece: piece.area)
    return shape


def pierced(rng: np.random.Generator) -> BaseGeometry:
    """Draw a convex shape, star or blob with a wide hole or one to four small ones."""
    shape = (convex, star, blob)[rng.integers(3)](rng)
    if rng.random() < 0.4:
        rim = shape.buffer(-rng.uniform(0.18, 0.35))
        return shape.difference(rim) if not rim.is_empty else shape
    holes = int(rng.integers(1, 5))
    turn = rng.uniform(0, 2 * np.pi)
    for place in turn + np.arange(holes) * 2 * np.pi / holes:
        hole = (_disc, _box)[rng.integers(2)](rng)
        width = rng.uniform(0.18, 0.3)
        hole = scale(hole, width, width)
        reach = 0.0 if holes == 1 else 0.42
        hole = translate(hole, reach * np.cos(place), reach * np.sin(place))
        shape = shape.difference(hole)
    return max(getattr(shape, "geoms", [shape]), key=lambda piece: piece.area)


SILHOUETTES: dict[str, Callable[[np.random.Generator], BaseGeometry]] = {
    "convex": convex,
    "star": star,
    "blob": blob,
    "compound": compound,
    "pierced": pierced,
}
"""Kinds of silhouette; each function returns a polygon of about unit radius."""


def rasterize(shape: BaseGeometry, rng: np.random.Generator, side: int) -> np.ndarray:
    """Stretch, rotate and rasterize a silhouette.

    Args:
        shape: Polygon.
        rng: Generator of the stretch and rotation.
        side: Longer side of the result, pixels.

    Returns:
        (H, W) uint8 alpha with a soft edge, tightly cropped.
    """
    from smile_motion.bank.builder._surfaces import average_4x4

    shape = scale(shape, 1.0, rng.uniform(0.6, 1.0))
    shape = rotate(shape, rng.uniform(0, 360))
    x0, y0, x1, y1 = shape.bounds
    zoom = side * SUPERSAMPLING / max(x1 - x0, y1 - y0)
    shape = affine_transform(shape, [zoom, 0, 0, zoom, -x0 * zoom, -y0 * zoom])
    height = max(1, round((y1 - y0) * zoom / SUPERSAMPLING))
    width = max(1, round((x1 - x0) * zoom / SUPERSAMPLING))
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    pieces = getattr(shape, "geoms", [shape])
    rings = [
        np.rint(ring.coords).astype(np.int32)
        for piece in pieces
        for ring in (piece.exterior, *piece.interiors)
    ]
    cv2.fillPoly(fine, rings, 255)
    alpha = np.empty((height, width), np.uint8)
    average_4x4(fine, alpha)
    return alpha


def _edge_point(shape: BaseGeometry, share: float) -> tuple[float, float]:
    """Point at a share, 0 to 1, of the way around a shape's edge."""
    at = shape.boundary.interpolate(share, normalized=True)
    return at.x, at.y


def _disc(rng: np.random.Generator) -> BaseGeometry:
    return shapely.Point(0, 0).buffer(rng.uniform(0.7, 1.0))


def _box(rng: np.random.Generator) -> BaseGeometry:
    width, height = rng.uniform(0.5, 1.0, 2)
    corner = rng.choice([0.0, 0.15])
    return shapely.box(-width, -height, width, height).buffer(corner)


def _capsule(rng: np.random.Generator) -> BaseGeometry:
    bend = rng.uniform(-0.8, 0.8)
    line = shapely.LineString([(-1, 0), (0, bend), (1, 0)])
    return line.buffer(rng.uniform(0.2, 0.4))


VERSION = 2
"""Incremented when a number gives another object than before."""
SIDE_PX = 256
"""Longer side of a procedural object."""
CATEGORIES = tuple(f"{shape}-{texture}" for shape in SILHOUETTES for texture in TEXTURES)
"""Category names, `silhouette-texture`; object i has category i modulo their number."""
ATTEMPTS = 20
"""Largest number of draws until a silhouette fills enough of its box."""


@dataclass(frozen=True, kw_only=True)
class ProceduralSource:
    """Varied silhouettes with varied textures; each depends on its number and the seed alone."""

    count: int
    """Number of objects."""
    seed: int = 0
    """Seed of all objects."""

    def make(self, number: int) -> SourceObject:
        """Make object `number`; its longer side is 256 px."""
        category = CATEGORIES[number % len(CATEGORIES)]
        kind, texture = category.split("-")
        attempt = 0
        while True:
            rng = keyed_generator(self.seed, Stream.OBJECT, index=number, part=attempt)
            alpha = rasterize(SILHOUETTES[kind](rng), rng, SIDE_PX)
            attempt += 1
            fills = alpha.mean() > 0.15 * 255 and min(alpha.shape) >= SIDE_PX // 5
            if fills or attempt == ATTEMPTS:
                break
        name = f"{number // len(CATEGORIES):06d}"
        return SourceObject(name, category, paint(rng, texture, alpha), {"seed": self.seed})

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the source."""
        return {
            "source": "procedural",
            "version": VERSION,
            "seed": self.seed,
            "side_px": SIDE_PX,
            "licence": "CC0-1.0: generated from random numbers, no rights reserved",
        }
