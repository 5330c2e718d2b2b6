"""Draw docs/pictures/recipes-*.webp: a moving picture of every choice of every option.

uv run python docs/drawing/draw_recipes.py --videos DIR --images DIR
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import cv2
import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont
from smile_motion.bank import FolderSource, build
from smile_motion.clips.options import ClipOptions
from smile_motion.clips.presets import BASELINES
from smile_motion.video import encode_animation

CELL_PX, LABEL_PX, COLUMNS = 144, 20, 3
NUMBER = 12
"""The clip that is shown, the same for every choice."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw from, and where to."""

    videos: Path
    """Videos, for natural backgrounds."""
    images: Path
    """Photographs."""
    out: Path = Path(__file__).parents[1] / "pictures"
    """Folder of the pictures."""
    number: int = NUMBER
    """The clip that is shown."""
    only: tuple[str, ...] = ()
    """Names of the pictures to draw; all by default."""
    birds: Path = Path("object_banks/birds")
    """Bank of an animated bird, made where it is missing."""


def choices(name: str) -> list[str]:
    """What an option of clips may be, in its order."""

    def flatten(kind: Any) -> list[str]:
        if isinstance(kind, str):
            return [kind]
        return [value for part in get_args(kind) if part is not NoneType for value in flatten(part)]

    return flatten(get_type_hints(ClipOptions)[name])


def cells(options: Options) -> dict[str, dict[str, ClipOptions]]:
    """Name and describe every cell of every picture."""
    films, photographs = {"videos": options.videos}, {"images": options.images}
    sources = {"natural": films, "frame": films, "places": photographs}
    sources["pseudo-motion"] = photographs
    still = {**photographs, "background": "places"}
    backgrounds = {
        name: ClipOptions(**sources.get(name, {}), background=name)
        for name in choices("background")
    }
    noises = {name: ClipOptions(background="noise", noise=name) for name in choices("noise")}
    noises["each frame anew"] = ClipOptions(background="noise", noise_per_frame=True)
    recipes = {name: ClipOptions(**still, recipe=name) for name in choices("recipe")}
    return {
        "recipe": {name: recipe for name, recipe in recipes.items() if name not in BASELINES},
        "objects": {str(count): ClipOptions(**still, objects=count) for count in (1, 2, 3)},
        "path": {name: ClipOptions(**still, path=name, objects=1) for name in choices("path")},
        "transform": {
            name: ClipOptions(**still, transform=name, objects=1) for name in choices("transform")
        },
        "background": backgrounds,
        "noise": noises,
        "camera": {name: ClipOptions(**still, camera=name) for name in choices("camera")},
        "effects": {"no effect": ClipOptions(**still)}
        | {name: ClipOptions(**still, effects=(name,)) for name in choices("effects")},
        "animation": {
            name: ClipOptions(**still, objects=2, bank=options.birds, animation=name)
            for name in choices("animation")
        },
        "baselines": {
            name: ClipOptions(images=options.images, recipe=name)
            for name in recipes
            if name in BASELINES
        },
    }


def build_birds(bank: Path) -> None:
    """Draw a bird that flaps its wings, and build a bank of it."""
    y, x = np.mgrid[:160, :240].astype(np.float32) - np.array([80, 120])[:, None, None]
    flaps = []
    for moment in np.arange(16) / 16 * 2 * np.pi:
        across = np.abs(x) / 110
        wing = y + 62 * across * np.sin(moment) + 18 * across**2
        body = (x / 14) ** 2 + (y / 34) ** 2 < 1
        feathers = (np.abs(wing) < 24 * np.sqrt(np.clip(1 - across, 0, 1))) & (across < 1)
        colors = np.dstack([220 - 120 * across, 110 + 60 * across, 60 + 180 * across])
        colors[body] = (250, 215, 120)
        solid = cv2.GaussianBlur(255.0 * (body | feathers), (0, 0), 0.8)
        flaps.append(Image.fromarray(np.dstack([colors, solid]).clip(0, 255).astype(np.uint8)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bird.webp"
        flaps[0].save(
            path, save_all=True, append_images=flaps[1:], duration=60, loop=0, lossless=True
        )
        build(FolderSource.open(Path(folder)), bank, workers=0)


def labelled(frames: np.ndarray, label: str) -> np.ndarray:
    """Shrink (T, H, W, 3) frames to a cell and write a label under them."""
    font = ImageFont.load_default(13)
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
    build_birds(options.birds)
    for name, picture in cells(options).items():
        if options.only and name not in options.only:
            continue
        drawn = [
            labelled(cell.make_maker().make(options.number).frames, label)
            for label, cell in picture.items()
        ]
        columns = 4 if len(drawn) == 4 else COLUMNS
        blank = np.full_like(drawn[0], 255)
        drawn += [blank] * (-len(drawn) % min(columns, len(drawn)))
        rows = [np.concatenate(drawn[at : at + columns], 2) for at in range(0, len(drawn), columns)]
        path = options.out / f"recipes-{name}.webp"
        path.write_bytes(encode_animation(np.concatenate(rows, 1), quality=55))
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
