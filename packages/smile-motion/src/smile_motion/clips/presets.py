"""Named recipes, and baselines: generators of other papers, with objects and background.

The first seven are the progression of "Learning Video Representations without Natural Videos"
(arXiv 2410.24213, section 3.1), each built on the one before, on black; sources of the numbers are
in `motion.sizes`, `motion.paths`, `motion.transforms` and `bank.builder.shapes`. Its stage of crops
from an untrained StyleGAN is `accelerating-crops` with a folder of such pictures. `pseudo-motion`
is "Data Collection-free Masked Video Modeling" (arXiv 2409.06665): no objects, the background
moves.

Example:

    baseline = BASELINES["accelerating-crops"]
    maker = ClipMaker(bank=recipe_bank("accelerating-crops", images=Path("photographs")),
                      recipe=baseline.recipe(), background=make_background(baseline.background))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smile_motion.bank.builder.shapes import VERSION, ShapeKind, ShapeSource
from smile_motion.io.options import RecipeName
from smile_motion.motion.paths import AcceleratingPath
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.motion.sizes import DeadLeavesSize
from smile_motion.motion.transforms import SteadyRates

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

OBJECTS = 200
"""Objects in a clip. Ours: the code has 500, of which those on top hide nearly all others."""
BANK_OBJECTS = 600
"""Objects in a baseline's bank that is made on first use. Ours: the paper draws new ones, or has
300 000."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A generator of another paper."""

    recipe: Callable[[], MotionRecipe]
    """Function that returns its motion recipe."""
    objects: ShapeKind | None
    """Kind of its objects; None without objects."""
    background: Literal["black", "pseudo-motion"]
    """Background of its clips. Paper of each."""


def static_circles() -> MotionRecipe:
    """Overlapping flat circles that stand still, in random depth order."""
    return MotionRecipe(
        objects=OBJECTS,
        size=DeadLeavesSize(),
        path=AcceleratingPath(speed_px=(0.0, 0.0), acceleration_px=0.0),
        transform=SteadyRates(rotation_deg=0.0, scale=0.0),
        smaller_on_top=False,
    )


def moving_circles() -> MotionRecipe:
    """The circles move, each in its own direction at its own speed."""
    return replace(static_circles(), path=AcceleratingPath(acceleration_px=0.0))


def moving_shapes() -> MotionRecipe:
    """Triangles and quadrilaterals join the circles; the motion is that of `moving_circles`."""
    return moving_circles()


def transforming_shapes() -> MotionRecipe:
    """The shapes also rotate, and grow in width and height."""
    return replace(moving_shapes(), transform=SteadyRates())


def accelerating_shapes() -> MotionRecipe:
    """The shapes also accelerate or decelerate."""
    return replace(transforming_shapes(), path=AcceleratingPath())


def accelerating_textures() -> MotionRecipe:
    """Textures fill the shapes; the motion is that of `accelerating_shapes`."""
    return accelerating_shapes()


def accelerating_crops() -> MotionRecipe:
    """Crops of photographs fill the shapes; the motion is that of `accelerating_shapes`."""
    return accelerating_textures()


def pseudo_motion() -> MotionRecipe:
    """No objects: all motion is the background's."""
    return MotionRecipe(objects=0)


BASELINES: dict[RecipeName, Baseline] = {
    "static-circles": Baseline(recipe=static_circles, objects="circles", background="black"),
    "moving-circles": Baseline(recipe=moving_circles, objects="circles", background="black"),
    "moving-shapes": Baseline(recipe=moving_shapes, objects="shapes", background="black"),
    "transforming-shapes": Baseline(
        recipe=transforming_shapes, objects="shapes", background="black"
    ),
    "accelerating-shapes": Baseline(
        recipe=accelerating_shapes, objects="shapes", background="black"
    ),
    "accelerating-textures": Baseline(
        recipe=accelerating_textures, objects="textures", background="black"
    ),
    "accelerating-crops": Baseline(recipe=accelerating_crops, objects="crops", background="black"),
    "pseudo-motion": Baseline(recipe=pseudo_motion, objects=None, background="pseudo-motion"),
}
"""All baselines, from the simplest on."""


def recipe_bank(
    name: RecipeName, *, images: Path | None = None, count: int | None = None
) -> ObjectBank:
    """Open the bank of a recipe's objects, which is made on first use.

    A baseline has a bank of its own; all other recipes use the embedded one.

    Args:
        name: Name of the recipe.
        images: Folder of photographs for `accelerating-crops`; each folder has a bank of its own.
        count: Objects in the bank of a baseline; `BANK_OBJECTS` by default.

    Raises:
        InputError: Photographs are needed and not given.
    """
    from smile_motion.bank.builder.default import bank_on_first_use, embedded_bank

    baseline = BASELINES.get(name)
    kind = baseline.objects if baseline else None
    if kind is None:
        return embedded_bank()
    source = ShapeSource.open(kind, count=count or BANK_OBJECTS, images=images)
    mark = source.card().get("files_sha256", "")[:8]
    bank = "-".join(filter(None, (kind, str(source.count), mark)))
    version = "-".join(filter(None, (str(VERSION), source.mark())))
    return bank_on_first_use(bank, source, version=version)
