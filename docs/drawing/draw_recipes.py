"""Draw docs/pictures/recipes.webp: every kind of path, effect, background and rival, moving.

uv run python docs/drawing/draw_recipes.py --videos DIR --images DIR --out FILE
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont
from smile_motion.clip_options import ClipOptions
from smile_motion.video import encode_animation

CELL_PX, LABEL_PX, COLUMNS = 128, 18, 6


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw from, and where to."""

    videos: Path
    """Videos, for natural backgrounds."""
    images: Path
    """Photographs."""
    out: Path
    """The picture."""
    bank: Path | None = None
    """Object bank; the embedded one by default."""


def cells(options: Options) -> dict[str, ClipOptions]:
    """Name and describe every cell."""
    given = {"bank": options.bank, "videos": options.videos, "images": options.images}
    photograph = {**given, "background": "places"}
    found = {}
    for path in ("gaussian", "linear", "bezier", "brownian", "harmonic", "bounce"):
        found[f"path: {path}"] = ClipOptions(**photograph, path=path)
    for effect in ("motion-blur", "drop-shadow", "colour-drift", "depth-swaps", "appearance"):
        found[effect] = ClipOptions(**photograph, effects=(effect,), objects=3)
    found["official"] = ClipOptions(**photograph, recipe="official")
    for name in ("natural", "frame", "places", "black", "noise"):
        found[f"on {name}"] = ClipOptions(**given, background=name)
    found["on 1/f noise"] = ClipOptions(**given, background="noise", noise="spectral")
    for rival in (
        "moving-circles",
        "moving-shapes",
        "transforming-shapes",
        "accelerating-textures",
        "accelerating-crops",
        "pseudo-motion",
    ):
        found[rival] = ClipOptions(images=options.images, recipe=rival)
    return found


def labelled(frames: np.ndarray, label: str) -> np.ndarray:
    """Shrink (T, H, W, 3) frames to a cell and write a label under them."""
    font = ImageFont.load_default(12)
    drawn = []
    for frame in frames:
        cell = Image.new("RGB", (CELL_PX + 4, CELL_PX + LABEL_PX + 4), "white")
        cell.paste(Image.fromarray(frame).resize((CELL_PX, CELL_PX), Image.Resampling.BOX), (2, 2))
        ImageDraw.Draw(cell).text(
            (CELL_PX / 2 + 2, CELL_PX + 4), label, fill="black", font=font, anchor="ma"
        )
        drawn.append(np.asarray(cell))
    return np.stack(drawn)


def main(options: Options) -> None:
    """Render, arrange, write."""
    drawn = []
    for number, (label, cell) in enumerate(cells(options).items()):
        drawn.append(labelled(cell.make_maker().make(number).frames, label))
    rows = [np.concatenate(drawn[at : at + COLUMNS], 2) for at in range(0, len(drawn), COLUMNS)]
    options.out.write_bytes(encode_animation(np.concatenate(rows, 1), quality=60))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
