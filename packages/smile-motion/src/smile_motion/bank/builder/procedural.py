"""Objects from geometry and noise: no model, no download, thousands a minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smile_motion.bank.builder.silhouettes import SILHOUETTES, rasterise
from smile_motion.bank.builder.sources import SourceObject
from smile_motion.bank.builder.textures import TEXTURES, paint
from smile_motion.seeding import Stream, keyed_generator

VERSION = 2
"""Raised when the same number gives another object than before."""
SIDE_PX = 256
"""Longer side of a procedural object."""
CATEGORIES = tuple(f"{shape}-{texture}" for shape in SILHOUETTES for texture in TEXTURES)
"""Category names, silhouette and texture; object i belongs to category i modulo their number."""
ATTEMPTS = 20
"""Draws until a silhouette fills enough of its box to be seen."""


@dataclass(frozen=True, kw_only=True)
class ProceduralSource:
    """Varied silhouettes with varied surfaces; object `number` depends on it and the seed alone."""

    count: int
    """Objects."""
    seed: int = 0
    """Seed of all of them."""

    def make(self, number: int) -> SourceObject:
        """Make one object, its longer side 256 px."""
        category = CATEGORIES[number % len(CATEGORIES)]
        kind, texture = category.split("-")
        attempt = 0
        while True:
            rng = keyed_generator(self.seed, Stream.OBJECT, index=number, part=attempt)
            alpha = rasterise(SILHOUETTES[kind](rng), rng, SIDE_PX)
            attempt += 1
            fills = alpha.mean() > 0.15 * 255 and min(alpha.shape) >= SIDE_PX // 5
            if fills or attempt == ATTEMPTS:
                break
        name = f"{number // len(CATEGORIES):06d}"
        return SourceObject(name, category, paint(rng, texture, alpha), {"seed": self.seed})

    def card(self) -> dict[str, Any]:
        """What the bank's card says of the source."""
        return {
            "source": "procedural",
            "version": VERSION,
            "seed": self.seed,
            "side_px": SIDE_PX,
            "licence": "CC0-1.0: generated from random numbers, no rights reserved",
        }
