"""What clips show, as options of command lines."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smile_motion.errors import InputError
from smile_motion.files import parse_json

if TYPE_CHECKING:
    from smile_motion.backgrounds import BackgroundKind
    from smile_motion.clips import ClipMaker
    from smile_motion.recipe import MotionRecipe


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What clips show: the options that `render`, `preview` and training share."""

    background: Literal["natural", "frame", "places", "black", "noise", "pseudo-motion"] | None = (
        None
    )
    """Behind the objects: video, one of its frames, a photograph, black, or noise (Table 7), or a
    photograph in motion. Default: noise; behind a rival's motion, what its paper has."""
    bank: Path | None = None
    """Object bank. Default: the embedded one, for a rival's motion its own, made on first use."""
    videos: Path | None = None
    """Video, folder or list (`path label` lines) for --background natural or frame."""
    images: Path | None = None
    """Folder of photographs for --background places and pseudo-motion, and for crops of them."""
    noise: Literal["uniform", "gaussian", "spectral"] = "uniform"
    """Kind of noise for --background noise; `spectral` falls with frequency (1/f)."""
    noise_per_frame: bool = False
    """New noise in every frame. Paper: one image, repeated (Table 7)."""
    recipe: Literal[
        "paper",
        "official",
        "static-circles",
        "moving-circles",
        "moving-shapes",
        "transforming-shapes",
        "accelerating-shapes",
        "accelerating-textures",
        "accelerating-crops",
        "pseudo-motion",
    ] = "paper"
    """Motion as the paper describes it, as the published code draws it, or that of a rival:
    arXiv 2410.24213 (circles, shapes, textures, crops) or 2409.06665 (pseudo-motion)."""
    path: (
        Literal["gaussian", "linear", "bezier", "brownian", "harmonic", "bounce", "excursion"]
        | None
    ) = None
    """Kind of path, instead of the recipe's (both: gaussian)."""
    transform: Literal["both", "rotation", "scaling", "none"] = "both"
    """What changes besides the place (Table 4)."""
    objects: int | None = None
    """Objects in a clip. Default: the recipe's; 2 for paper and official (Table 4f)."""
    effects: tuple[
        Literal["motion-blur", "drop-shadow", "colour-drift", "depth-swaps", "appearance"], ...
    ] = ()
    """What else happens to the objects, with default settings. All are ours."""
    recipe_file: Path | None = None
    """Motion recipe as JSON (`MotionRecipe.to_json`) instead of --recipe and what changes it."""
    frames: int = 16
    """Frames in a clip. Paper: 16."""
    size: int = 224
    """Frame height, pixels. Paper: 224."""
    width: int | None = None
    """Frame width, pixels. Default: --size."""
    tubelet: int = 2
    """Frames in a token. Paper: 2."""
    patch: int = 16
    """Side of a token, pixels; of which the frame is a multiple. Paper: 16."""
    stride: int = 4
    """Video frames from one clip frame to the next. Paper: 4 on K400, 2 on SSv2."""
    seed: int = 0
    """Seed of all clips; clip i depends on it and i alone."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of a frame, pixels."""
        return self.size, self.size if self.width is None else self.width

    @property
    def background_kind(self) -> BackgroundKind:
        """The background that is asked for, or else the recipe's own."""
        from smile_motion.rivals import RIVALS

        rival = RIVALS.get(self.recipe)
        return self.background or (rival.background if rival else "noise")

    def make_recipe(self) -> MotionRecipe:
        """Read or name the recipe.

        Raises InputError when the file is no recipe.
        """
        from smile_motion.recipe import MotionRecipe

        if self.recipe_file is None:
            return MotionRecipe.named(
                self.recipe,
                objects=self.objects,
                path=self.path,
                transform=self.transform,
                effects=self.effects,
            )
        try:
            data = parse_json(self.recipe_file.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{self.recipe_file}: not JSON ({error})") from error
        except FileNotFoundError as error:
            raise InputError(f"{self.recipe_file}: no such file") from error
        return MotionRecipe.from_json(data, source=str(self.recipe_file))

    def make_maker(self) -> ClipMaker:
        """Open what the options name.

        Raises InputError when something does not exist or does not fit.
        """
        from smile_motion.backgrounds import make_background
        from smile_motion.bank import ObjectBank
        from smile_motion.clips import ClipMaker
        from smile_motion.rivals import recipe_bank
        from smile_motion.tokens import TokenGrid

        height, width = self.frame_size
        TokenGrid(frames=self.frames, height=height, width=width, tubelet=1, patch=self.patch)
        background = make_background(
            self.background_kind,
            videos=self.videos,
            images=self.images,
            stride=self.stride,
            noise=self.noise,
            noise_per_frame=self.noise_per_frame,
        )
        return ClipMaker(
            bank=ObjectBank.open(self.bank)
            if self.bank
            else recipe_bank(self.recipe, images=self.images),
            recipe=self.make_recipe(),
            background=background,
            frames=self.frames,
            size=self.frame_size,
            seed=self.seed,
        )

    def arguments(self) -> list[str]:
        """The options that differ from their defaults, as words of a command line."""
        words = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value == entry.default:
                continue
            option = entry.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{option}", *map(str, values)]
        return words
