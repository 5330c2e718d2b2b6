"""Options of commands that make clips."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from smile_motion.errors import InputError, OptionError
from smile_motion.io.options import (
    ONE_FOLDER,
    AnimationName,
    BackgroundKind,
    Banks,
    CameraName,
    EffectName,
    FrameCount,
    Gathered,
    Groups,
    NoiseKind,
    ObjectCount,
    OnlyWith,
    PathName,
    Positive,
    RecipeName,
    Seed,
    Side,
    Stride,
    TransformName,
    Tubelet,
    conditions_of,
    require_within,
)

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank
    from smile_motion.clips.clip import ClipMaker
    from smile_motion.motion.recipe import MotionRecipe

_LOGGER = logging.getLogger(__name__)
MOST_PIXELS = 1 << 28
"""Largest number of pixels of a clip, 0.8 GB of RGB; hundreds of times the paper's. Ours."""
_OF_VIDEOS = ("natural", "frame")
_OF_IMAGES = ("places", "pseudo-motion")
"""Backgrounds from --images; those above are from --videos."""
BANK_FIELDS = ("bank", "bank_weights", "categories", "exclude_categories")
"""Fields of `BankOptions`."""
_OF_SEVERAL = OnlyWith(lambda options: len(given_banks(options.bank)) > 1, "with several of --bank")
_MOVING = OnlyWith(
    lambda options: getattr(options, "objects", None) != 0, "with --objects 1 or more"
)
_OVER_NOISE = OnlyWith(
    lambda options: options.background_kind == "noise", "with --background noise"
)
_OVER_VIDEO = OnlyWith(
    lambda options: options.background_kind == "natural", "with --background natural"
)
OVER_FILES = OnlyWith(
    lambda options: options.background_kind not in ("noise", "black"),
    "with a --background that comes from --videos or --images",
)
"""Condition of options on the files of backgrounds."""
_OVER_STILLS = OnlyWith(
    lambda options: (
        options.background_kind not in ("natural", "pseudo-motion")
        and not (options.background_kind == "noise" and options.noise_per_frame)
    ),
    "over a still image, with --background frame, places, black, or noise without "
    "--noise-per-frame",
)
_BY_NAME = OnlyWith(lambda options: options.recipe_file is None, "without --recipe-file")


@dataclass(frozen=True, kw_only=True)
class BankOptions:
    """Where objects come from, and which of them are drawn how often."""

    bank: Banks = None
    """Object bank, or several as one: `--bank A B` is what `bank merge A B` would write. Default:
    the embedded one, for a baseline its own, made on first use."""
    bank_weights: Annotated[tuple[Positive, ...] | None, Gathered(), _OF_SEVERAL, _MOVING] = None
    """How often each bank is drawn from, such as `2 1`: two objects of three are from the first.
    Default: all categories of all banks alike."""
    categories: Annotated[tuple[str, ...] | None, Gathered(), _MOVING] = None
    """Draw objects of these categories only. Default: all that the bank has."""
    exclude_categories: Annotated[tuple[str, ...] | None, Gathered(), _MOVING] = None
    """Draw no objects of these categories."""

    def __post_init__(self) -> None:
        require_within(self)
        if self.bank_weights is not None and len(self.bank_weights) != len(given_banks(self.bank)):
            raise OptionError(
                f"--bank-weights are {len(self.bank_weights)} and --bank names "
                f"{len(given_banks(self.bank))}; give a weight for each bank"
            )

    def open_bank(self, default: Callable[[], ObjectBank]) -> ObjectBank:
        """Open the bank or banks, to be drawn from as the options say.

        Args:
            default: Opens the bank that is meant where none is named.

        Raises:
            InputError: As `open_banks` and `draw_from` do.
        """
        from smile_motion.bank import draw_from

        bank = open_banks(self.bank) if self.bank else default()
        if self.bank_weights is self.categories is self.exclude_categories is None:
            return bank
        return draw_from(
            bank,
            categories=self.categories,
            exclude=self.exclude_categories,
            weights=self.bank_weights,
        )


@dataclass(frozen=True, kw_only=True)
class ClipOptions(BankOptions):
    """Content of clips: the options that `render`, `preview` and training share."""

    GROUPS: ClassVar[Groups] = {
        "what moves": (
            *("recipe", "recipe_file", "objects", "path", "transform", "effects", "animation"),
        ),
        "what it moves over": ("background", "noise", "noise_per_frame", "camera"),
        "where from": (*BANK_FIELDS, "videos", "images"),
        "how large": ("frames", "size", "width", "stride", "tubelet", "patch", "seed"),
    }

    background: BackgroundKind | None = None
    """Behind the objects: video, one of its frames, a photograph, black, or noise (Table 7), or a
    photograph in motion. Default: natural with --videos, places with --images; else noise, and
    behind a baseline's motion what its paper has."""
    videos: Annotated[Path | None, ONE_FOLDER] = None
    """Video, folder or list (`path label` lines) for --background natural, which they imply, or
    frame."""
    images: Annotated[Path | None, ONE_FOLDER] = None
    """Folder of photographs for --background places and pseudo-motion, and for crops of them."""
    noise: Annotated[NoiseKind, _OVER_NOISE] = "uniform"
    """Kind of noise for --background noise; `spectral` falls with frequency (1/f)."""
    noise_per_frame: Annotated[bool, _OVER_NOISE] = False
    """New noise in every frame. Paper: one image, repeated (Table 7)."""
    camera: Annotated[CameraName, _BY_NAME, _OVER_STILLS] = "none"
    """Smooth path of a camera over a still background, which is drawn larger than the frame: pan,
    pan and zoom, or with roll as well. Objects do not follow it. Ours."""
    recipe: Annotated[RecipeName, _BY_NAME] = "paper"
    """Motion as the paper describes it, as the published code draws it, or that of a baseline:
    arXiv 2410.24213 (circles, shapes, textures, crops) or 2409.06665 (pseudo-motion)."""
    path: Annotated[PathName | None, _BY_NAME, _MOVING] = None
    """Kind of path, instead of the recipe's (both: gaussian)."""
    transform: Annotated[TransformName, _BY_NAME, _MOVING] = "both"
    """What changes besides the place (Table 4)."""
    objects: Annotated[ObjectCount | None, _BY_NAME] = None
    """Objects in a clip. Default: the recipe's; 2 for paper and official (Table 4f)."""
    effects: Annotated[tuple[EffectName, ...], _BY_NAME, _MOVING] = ()
    """What else happens to the objects, with default settings. All are ours."""
    animation: Annotated[AnimationName, _BY_NAME, _MOVING] = "ping-pong"
    """How animated objects of the bank run through their poses: to and fro, in a loop, or each as a
    still, of which flow and tracks are exact. Ours."""
    recipe_file: Path | None = None
    """Motion recipe as JSON (`MotionRecipe.to_json`) instead of --recipe and what changes it."""
    frames: FrameCount = 16
    """Frames in a clip. Paper: 16."""
    size: Side = 224
    """Frame height, pixels. Paper: 224."""
    width: Side | None = None
    """Frame width, pixels. Default: --size."""
    tubelet: Tubelet = 2
    """Frames in a token. Paper: 2."""
    patch: Side = 16
    """Side of a token, pixels. Paper: 16."""
    stride: Annotated[Stride, _OVER_VIDEO] = 4
    """Video frames from one clip frame to the next. Paper: 4 on K400, 2 on SSv2."""
    seed: Seed = 0
    """Seed of all clips; clip i depends on it and i alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tubelet != ClipOptions.tubelet and self.frames % self.tubelet:
            raise OptionError(
                f"--tubelet is {self.tubelet}, which does not divide --frames {self.frames}"
            )
        height, width = self.frame_size
        if self.patch != ClipOptions.patch and (height % self.patch or width % self.patch):
            raise OptionError(
                f"--patch is {self.patch}, which does not divide frames of {width} x {height} px"
            )
        if (pixels := self.frames * height * width) > MOST_PIXELS:
            raise OptionError(
                f"--frames {self.frames} of {width} x {height} px are {pixels} pixels; clips of at "
                f"most {MOST_PIXELS} are made"
            )
        if self.videos is not None and self.background_kind not in _OF_VIDEOS:
            raise OptionError(
                f"--videos goes with --background natural or frame, and is not used by "
                f"--background {self.background_kind}; leave one of them out"
            )
        if self.images is not None and not (
            self.background_kind in _OF_IMAGES or self._objects_from_images
        ):
            raise OptionError(
                f"--images goes with --background places or pseudo-motion, or --recipe "
                f"accelerating-crops, and is not used by --background {self.background_kind}; "
                f"leave one of them out"
            )

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of a frame, pixels."""
        return self.size, self.size if self.width is None else self.width

    @property
    def background_kind(self) -> BackgroundKind:
        """Kind of the background: as given, or implied by other options or the recipe."""
        if self.background is not None:
            return self.background
        if self.videos is not None:
            return "natural"
        from smile_motion.clips.presets import BASELINES

        if (baseline := BASELINES.get(self.recipe)) is not None and (
            self.images is None or self._objects_from_images or baseline.background in _OF_IMAGES
        ):
            return baseline.background
        return "noise" if self.images is None else "places"

    @property
    def _objects_from_images(self) -> bool:
        """Whether the recipe's own bank is cut out of --images."""
        from smile_motion.clips.presets import BASELINES

        return (
            self.bank is None
            and self.recipe in BASELINES
            and BASELINES[self.recipe].objects == "crops"
        )

    def make_recipe(self) -> MotionRecipe:
        """Read the recipe from its file, or make it by name.

        Raises:
            InputError: The file does not exist or is not a recipe.
        """
        from smile_motion.io.schema import read_record
        from smile_motion.motion.recipe import MotionRecipe

        if self.recipe_file is None:
            return MotionRecipe.named(
                self.recipe,
                objects=self.objects,
                path=self.path,
                transform=self.transform,
                effects=self.effects,
                camera=self.camera,
                animation=self.animation,
            )
        try:
            data = read_record(self.recipe_file, dict[str, Any], remedy="write the recipe anew")
        except FileNotFoundError as error:
            raise InputError(f"{self.recipe_file}: no such file") from error
        return MotionRecipe.from_json(data, source=str(self.recipe_file))

    def make_maker(self) -> ClipMaker:
        """Open bank and background and make the recipe.

        Raises:
            InputError: A file does not exist or cannot be read, or options do not fit together.
        """
        from smile_motion.backgrounds import make_background
        from smile_motion.clips.clip import ClipMaker
        from smile_motion.clips.presets import recipe_bank

        background = make_background(
            self.background_kind,
            videos=self.videos,
            images=self.images,
            stride=self.stride,
            noise=self.noise,
            noise_per_frame=self.noise_per_frame,
        )
        bank = self.open_bank(lambda: recipe_bank(self.recipe, images=self.images))
        if self.animation != ClipOptions.animation and not bank.draws_animated:
            raise InputError(
                f"--animation {self.animation}: no object that is drawn from {bank.name} is "
                f"animated; leave it out"
            )
        return ClipMaker(
            bank=bank,
            recipe=self.make_recipe(),
            background=background,
            frames=self.frames,
            size=self.frame_size,
            seed=self.seed,
        )

    def arguments(self) -> list[str]:
        """Return the options that differ from their defaults, as words of a command line."""
        words = []
        needs = dict(conditions_of(type(self)))
        for entry in fields(self):
            value = getattr(self, entry.name)
            option = entry.name.replace("_", "-")
            idle = any(not condition.has_effect(self) for condition in needs[option])
            if value == entry.default or idle:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{option}", *map(str, values)]
        return words


def given_banks(bank: Path | tuple[Path, ...] | None) -> tuple[Path, ...]:
    """Return the folders of --bank."""
    return () if bank is None else bank if isinstance(bank, tuple) else (bank,)


def open_banks(bank: Path | tuple[Path, ...]) -> ObjectBank:
    """Open what --bank names, and say which objects are used once.

    Raises:
        InputError: As `open_bank` does.
    """
    from smile_motion.bank import open_bank

    opened = open_bank(*given_banks(bank))
    if len(opened.folders) > 1 and (duplicates := opened.card["duplicates"]):
        _LOGGER.warning(
            "%s: %d objects that two of them have are used once", opened.name, duplicates
        )
    return opened
