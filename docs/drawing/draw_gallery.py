"""Draw docs/pictures/gallery-*.webp: clips as the product makes them, and what is known of them.

uv run python docs/drawing/draw_gallery.py --bank BANK --videos DIR --images DIR
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from draw_recipes import choices, labelled
from smile_motion import ClipMaker, TokenGrid
from smile_motion.clips.options import ClipOptions
from smile_motion.clips.presets import BASELINES
from smile_motion.masking.masks import mask_trajectory
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import encode_animation
from smile_motion.visualize import draw_flow, draw_mask, draw_overlay, draw_tokens

QUALITIES = (70, 60, 50, 40, 30, 20)
"""Tried from the best on, until the picture is small enough."""
FRAMES = 24
"""Frames of a clip: three seconds."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw from, and where to."""

    bank: Path
    """Bank of cut-outs."""
    videos: Path
    """Videos, for natural backgrounds."""
    images: Path
    """Photographs."""
    out: Path = Path(__file__).parents[1] / "pictures"
    """Folder of the pictures."""
    bytes: int = 900_000
    """Largest size of a picture."""


def makers(options: Options) -> dict[str, dict[str, tuple[ClipMaker, int]]]:
    """Name and describe every clip of every picture: its maker, and its number."""
    films = ClipOptions(bank=options.bank, videos=options.videos, frames=FRAMES, stride=2)
    sources = {
        "natural": films,
        "frame": replace(films, background="frame", stride=ClipOptions.stride),
    }
    plain = ClipOptions(bank=options.bank, frames=FRAMES)
    for name in choices("background"):
        images = options.images if name in ("places", "pseudo-motion") else None
        sources.setdefault(name, replace(plain, background=name, images=images))
    over = films.make_maker()
    recipes = {
        f"{recipe}, {objects} object{'s' * (objects > 1)}": replace(
            films, recipe=recipe, objects=objects
        )
        for objects in (1, 2, 4)
        for recipe in ("paper", "official")
    }
    baselines = {
        name: ClipOptions(images=options.images, recipe=name, frames=FRAMES) for name in BASELINES
    }
    return {
        "clips": {
            name: (one.make_maker(), 2 * i + 5) for i, (name, one) in enumerate(recipes.items())
        },
        "backgrounds": {name: (one.make_maker(), 3) for name, one in sources.items()},
        "effects": {
            name: (replace(films, effects=(name,), objects=3).make_maker(), 8)
            for name in choices("effects")
        }
        | {
            "all of them": (
                replace(films, effects=tuple(choices("effects")), objects=3).make_maker(),
                8,
            )
        },
        "baselines": {name: (one.make_maker(), 4) for name, one in baselines.items()},
        "truth": {"": (over, 11)},
    }


def known(maker: ClipMaker, number: int) -> dict[str, np.ndarray]:
    """What is known of a clip, as pictures (T, H, W, 3) uint8."""
    clip = maker.make(number)
    grid = TokenGrid(frames=maker.frames, height=maker.size[0], width=maker.size[1])
    ids = np.array([(20, 20, 24), (255, 196, 0), (0, 214, 255), (255, 92, 138)], np.uint8)
    rng = keyed_generator(maker.seed, Stream.MASK, index=number)
    mask = mask_trajectory(rng, grid, 0.8, clip.truth.token_coverage(grid))
    return {
        "a clip": clip.frames,
        "boxes, outlines, paths": draw_overlay(clip)[:, ::2, ::2],
        "who is seen where": ids[clip.truth.ids],
        "optical flow": draw_flow(clip.truth.flow().vectors),
        "what tokens show": draw_tokens(clip, grid)[:, ::2, ::2],
        "a trajectory mask": draw_mask(clip, grid, mask),
    }


def main(options: Options) -> None:
    """Render, arrange, write."""
    for name, clips in makers(options).items():
        if name == "truth":
            shown = known(*clips[""])
        else:
            shown = {label: maker.make(number).frames for label, (maker, number) in clips.items()}
        drawn = [labelled(frames, label) for label, frames in shown.items()]
        columns = 4 if len(drawn) == 8 else 3
        rows = [np.concatenate(drawn[at : at + columns], 2) for at in range(0, len(drawn), columns)]
        pictures = np.concatenate(rows, 1)
        for quality in QUALITIES:
            data = encode_animation(pictures, quality=quality)
            if len(data) <= options.bytes:
                break
        path = options.out / f"gallery-{name}.webp"
        path.write_bytes(data)
        print(f"{path}: {len(data) / 1e3:.0f} kB at quality {quality}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
