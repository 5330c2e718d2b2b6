"""Draw the pictures of docs/concepts.md: from a background to a mask; paths; kinds of mask.

uv run python docs/drawing/draw_concepts.py --videos DIR
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from smile_motion import ClipMaker, MotionRecipe, TokenGrid, embedded_bank, make_background
from smile_motion.masking.masks import mask_official, mask_random, mask_trajectory, mask_tube
from smile_motion.motion.paths import GaussianPath
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.visualize import draw_mask, draw_overlay, draw_tokens

PICTURES = Path(__file__).parents[1] / "pictures"
MOMENT = 8
"""The frame that stills show."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw from."""

    videos: Path
    """Videos, for the background."""
    seed: int = 21
    """Of the clip."""


def panels(count: int, height: float = 2.7) -> tuple[Figure, np.ndarray]:
    """A figure with square panels in a row."""
    figure = Figure(figsize=(2.55 * count, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for one in axes:
        one.set_xticks([])
        one.set_yticks([])
    return figure, axes


def save(figure: Figure, name: str) -> None:
    """Write a figure as WebP."""
    figure.savefig(PICTURES / name, dpi=110, pil_kwargs={"quality": 85})


def main(options: Options) -> None:
    """Draw all."""
    bank, grid = embedded_bank(), TokenGrid()

    def make(objects: int):
        return ClipMaker(
            bank=bank,
            recipe=MotionRecipe.paper(objects=objects),
            background=make_background("natural", videos=options.videos),
            seed=options.seed,
        ).make(0)

    clip = make(2)
    coverage = clip.truth.token_coverage(grid)
    rng = keyed_generator(options.seed, Stream.MASK)
    mask = mask_trajectory(rng, grid, 0.8, coverage)
    figure, axes = panels(5)
    views = {
        "background": make(0).frames,
        "+ plan, rendered = clip": clip.frames,
        "truth": draw_overlay(clip),
        "token coverage": draw_tokens(clip, grid),
        "mask: what the student sees": draw_mask(clip, grid, mask),
    }
    for one, (title, frames) in zip(axes, views.items(), strict=True):
        one.imshow(frames[MOMENT])
        one.set_title(title, fontsize=9)
    save(figure, "concepts.webp")

    figure, axes = panels(4)
    for one, sigma in zip(axes, (1, 4, 8, 16), strict=True):
        path = replace(GaussianPath(), sigma=float(sigma))
        for number in range(3):
            rng = keyed_generator(number, Stream.MOTION)
            centres = path.draw(rng, 16, (224, 224), np.full((1, 2), 64.0))[0]
            one.plot(*centres.T, "o-", ms=3, lw=1.2)
        one.set(xlim=(0, 224), ylim=(224, 0), aspect="equal")
        one.set_title(f"sigma {sigma}" + (" (published)" if sigma == 8 else ""), fontsize=9)
    save(figure, "paths.webp")

    figure, axes = panels(4)
    rng = keyed_generator(options.seed, Stream.MASK)
    masks = {
        "random": mask_random(rng, grid, 0.8),
        "tube": mask_tube(rng, grid, 0.8),
        "trajectory": mask,
        "official": mask_official(rng, grid, 0.8, clip.plan),
    }
    for one, (title, drawn) in zip(axes, masks.items(), strict=True):
        hidden = np.ones(grid.tokens)
        hidden[drawn.visible] = 0
        share = hidden.reshape(grid.shape).mean(axis=0)
        one.imshow(share, cmap="magma", vmin=0, vmax=1)
        covered = (coverage.sum(axis=0) > 0).mean(axis=0)
        one.contour(covered, levels=[0.1], colors="deepskyblue", linewidths=1.2)
        one.set_title(title, fontsize=9)
    save(figure, "masks.webp")


if __name__ == "__main__":
    main(tyro.cli(Options))
