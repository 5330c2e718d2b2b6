"""State of the explorer: its controls, their recipe, and the resulting clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from smile_motion.backgrounds import make_background
from smile_motion.backgrounds.base import Background, BackgroundClip
from smile_motion.clips.clip import Clip, ClipMaker
from smile_motion.clips.options import BANK_FIELDS, BankOptions, ClipOptions
from smile_motion.clips.presets import BASELINES, recipe_bank
from smile_motion.errors import InputError
from smile_motion.io.options import (
    AnimationName,
    BackgroundKind,
    CameraName,
    EffectName,
    NoiseKind,
    PathName,
    RecipeName,
)
from smile_motion.masking.masks import (
    MaskingName,
    TokenMask,
    mask_motion_bins,
    mask_official,
    mask_random,
    mask_trajectory,
    mask_tube,
)
from smile_motion.motion.paths import GaussianPath
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.motion.sizes import OwnAspectSize, StretchedSize
from smile_motion.motion.transforms import KeyframeRates, KeyframeValues
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth.instances import Truth

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank
    from smile_motion.explore.guard import UploadLimits


LIMITS: dict[str, tuple[float, float]] = {
    "objects": (0, 16),
    "smallest_px": (8, 224),
    "largest_px": (8, 224),
    "smoothness": (0.5, 24),
    "shortest_px": (0, 224),
    "longest_px": (0, 224),
    "rotation_deg": (0, 180),
    "smallest_scale": (0.1, 3),
    "largest_scale": (0.1, 3),
    "turn_deg": (0, 30),
    "growth": (0, 0.2),
    "shutter": (0.05, 1),
    "stride": (1, 16),
    "frames": (2, 32),
    "side": (64, 448),
    "mask_ratio": (0.05, 0.95),
    "seed": (0, 2**31 - 1),
}
"""Smallest and largest value of every number: what the page offers and the server renders."""


@dataclass(frozen=True, kw_only=True)
class ExplorerInputs(BankOptions):
    """Bank and background files of the explorer's clips, from the options of its command."""

    videos: Path | None = None
    """Video, folder or list to move objects over."""
    images: Path | None = None
    """Folder of photographs to move objects over."""
    uploads: Path | None = None
    """Folder that keeps uploads; None where they are deleted when the page closes."""

    @property
    def recipes(self) -> tuple[RecipeName, ...]:
        """Recipes to compare with; those of photographs only where there are some."""
        needing = [
            name
            for name, one in BASELINES.items()
            if one.objects == "crops" or one.background == "pseudo-motion"
        ]
        hidden = needing if self.images is None else []
        return tuple(name for name in ("paper", "official", *BASELINES) if name not in hidden)

    @property
    def backgrounds(self) -> tuple[BackgroundKind, ...]:
        """Kinds of background to choose from, besides uploads; the first is the default."""
        films = ("natural", "frame") if self.videos else ()
        return (*films, *(("places",) if self.images else ()), "noise", "black")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Values of all controls of the page."""

    recipe: Literal["paper", "official"] = "paper"
    """Named recipe that the controls change."""
    objects: int = 2
    """Number of objects. Paper: 2."""
    smallest_px: float = 32.0
    """Smallest size before scaling, pixels at 224. Paper: 32."""
    largest_px: float = 128.0
    """Largest size before scaling, pixels at 224. Paper: 128."""
    path: PathName = "gaussian"
    """Kind of path."""
    smoothness: float = 8.0
    """Standard deviation of the filter of Gaussian paths, in way-points. Official: 8."""
    shortest_px: float = 40.0
    """Smallest extent of Gaussian paths, pixels at 224. Official: 40."""
    longest_px: float = 180.0
    """Largest extent of Gaussian paths, pixels at 224. Official: 180."""
    rotation_deg: float = 90.0
    """Paper: largest angle at a keyframe, degrees, either way."""
    smallest_scale: float = 0.5
    """Paper: smallest scale at a keyframe."""
    largest_scale: float = 1.5
    """Paper: largest scale at a keyframe."""
    turn_deg: float = 6.0
    """Official: largest rotation, degrees per frame."""
    growth: float = 0.025
    """Official: largest change of the logarithm of the scale per frame."""
    effects: tuple[EffectName, ...] = ()
    """Effects on the objects."""
    shutter: float = 0.5
    """Share of the time between frames that motion blur averages over."""
    background: BackgroundKind = "noise"
    """Kind of background where no video is uploaded."""
    noise: NoiseKind = "uniform"
    """Kind of noise."""
    camera: CameraName = "none"
    """Path of the camera over a still background; a video has none."""
    animation: AnimationName = "ping-pong"
    """How animated objects run through their poses."""
    upload: Path | None = None
    """Uploaded video, used as the background."""
    upload_still: bool = False
    """Repeat one frame of the upload."""
    stride: int = 4
    """Video frames from one clip frame to the next. Paper: 4."""
    frames: int = 16
    """Number of frames. Paper: 16."""
    side: int = 224
    """Height and width of the clip, pixels. Paper: 224."""
    masking: MaskingName = "trajectory"
    """Kind of token mask."""
    mask_ratio: float = 0.8
    """Share of masked tokens. Paper: 0.8."""
    seed: int = 0
    """Seed of the clip."""

    compare: RecipeName | None = None
    """Named recipe that is shown beside the controls' own, with the same seed."""

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; give {low:g} to {high:g}")

    def make_recipe(self) -> MotionRecipe:
        """Make the recipe of the controls.

        Raises:
            InputError: The controls do not fit each other.
        """
        recipe = MotionRecipe.named(
            self.recipe,
            objects=self.objects,
            path=self.path,
            effects=self.effects,
            camera=self._camera,
            animation=self.animation,
        )
        path = recipe.path
        if isinstance(path, GaussianPath):
            extent = _ascending(self.shortest_px, self.longest_px)
            path = replace(path, sigma=float(self.smoothness), extent_px=extent)
        blur = recipe.motion_blur and replace(recipe.motion_blur, shutter=float(self.shutter))
        return replace(
            recipe, size=self._size(), path=path, transform=self._transform(), motion_blur=blur
        )

    def clip_options(self, sources: ExplorerInputs) -> ClipOptions:
        """Options of commands with the same clip, but for recipes that options cannot express."""
        videos = self.upload or sources.videos
        films = self.background_kind in ("natural", "frame")
        return ClipOptions(
            background=self.background_kind,
            **{name: getattr(sources, name) for name in BANK_FIELDS},
            videos=videos if films else None,
            images=sources.images if self.background_kind == "places" else None,
            noise=self.noise if self.background_kind == "noise" else "uniform",
            recipe=self.recipe,
            path=None if self.path == "gaussian" else self.path,
            objects=None if self.objects == MotionRecipe().objects else self.objects,
            effects=self.effects,
            camera=self._camera,
            animation=self.animation,
            frames=self.frames,
            size=self.side,
            stride=self.stride if films else ClipOptions.stride,
            seed=self.seed,
        )

    def compared_options(self, sources: ExplorerInputs) -> ClipOptions:
        """Options of the clip beside it: a named recipe as it is, with the same seed.

        A baseline brings its own objects and background; all others have those of the page.

        Raises:
            InputError: The recipe is not offered.
        """
        if self.compare not in sources.recipes:
            raise InputError(
                f"recipe {self.compare} is not among {', '.join(sources.recipes)}; baselines of "
                f"photographs need --images"
            )
        own = self.clip_options(sources)
        plain = {"recipe": self.compare, "path": None, "objects": None, "effects": ()}
        baseline = BASELINES.get(self.compare)
        if baseline is None:
            return replace(own, **plain)
        photographs = baseline.objects == "crops" or baseline.background == "pseudo-motion"
        return ClipOptions(
            recipe=self.compare, frames=self.frames, size=self.side, seed=self.seed,
            background=baseline.background, images=sources.images if photographs else None,
        )  # fmt: skip

    @property
    def background_kind(self) -> BackgroundKind:
        """Kind of background, uploads included."""
        if self.upload is None:
            return self.background
        return "frame" if self.upload_still else "natural"

    @property
    def _camera(self) -> CameraName:
        return "none" if self.background_kind == "natural" else self.camera

    def _size(self) -> OwnAspectSize | StretchedSize:
        low, high = _ascending(self.smallest_px, self.largest_px)
        if self.recipe == "paper":
            return OwnAspectSize(range_px=(low, high))
        sides = tuple(side for side in StretchedSize().sides_px if low <= side <= high)
        if not sides:
            raise InputError(
                f"none of the published code's sizes {StretchedSize().sides_px} lies within "
                f"{low:g} to {high:g} px; widen the range"
            )
        return StretchedSize(sides_px=sides)

    def _transform(self) -> KeyframeValues | KeyframeRates:
        if self.recipe == "paper":
            turn = float(self.rotation_deg)
            scale = _ascending(self.smallest_scale, self.largest_scale)
            return KeyframeValues(rotation_deg=(-turn, turn), scale=scale)
        return KeyframeRates(rotation_deg=float(self.turn_deg), log_scale=float(self.growth))


def _ascending(one: float, other: float) -> tuple[float, float]:
    """Range of two sliders, in whatever order they are."""
    return (float(min(one, other)), float(max(one, other)))


@dataclass(frozen=True, eq=False)
class Shown:
    """The clip and mask that the page shows."""

    maker: ClipMaker
    """Maker of the clip, its number 0."""
    clip: Clip
    """The clip."""
    grid: TokenGrid
    """Token grid of the clip."""
    mask: TokenMask
    """Token mask."""


def make_shown(
    controls: Controls, sources: ExplorerInputs, bank: ObjectBank, limits: UploadLimits
) -> Shown:
    """Render the clip of the controls and draw its mask.

    Args:
        controls: Values of the controls.
        sources: Bank and background files of the explorer.
        bank: The opened bank.
        limits: Limits of uploaded videos.

    Raises:
        InputError: The controls do not fit each other, or the upload cannot be used.
    """
    if controls.upload is not None:
        limits.check(controls.upload)
    return _show(controls, controls.clip_options(sources), controls.make_recipe(), bank)


def make_compared(
    controls: Controls, sources: ExplorerInputs, bank: ObjectBank, limits: UploadLimits
) -> Shown:
    """Render the clip beside the controls' own; arguments are those of `make_shown`.

    Raises:
        InputError: The recipe needs what the explorer was not given.
    """
    if controls.upload is not None:
        limits.check(controls.upload)
    options = controls.compared_options(sources)
    if options.recipe in BASELINES:
        bank = recipe_bank(options.recipe, images=options.images)
    return _show(controls, options, options.make_recipe(), bank)


def _show(
    controls: Controls, options: ClipOptions, recipe: MotionRecipe, bank: ObjectBank
) -> Shown:
    kept = (options.background_kind, options.videos, options.images, options.stride, options.noise)
    maker = ClipMaker(
        bank=bank,
        recipe=recipe,
        background=_background(*kept),
        frames=options.frames,
        size=options.frame_size,
        seed=options.seed,
    )
    tubelet = 2 if options.frames % 2 == 0 else 1
    grid = TokenGrid(
        frames=options.frames, height=options.size, width=options.size, tubelet=tubelet
    )
    # Decoding takes most of the time, and most knobs leave the background as it is.
    behind = _drawn(*kept, options.frames, maker.background_size, options.seed)
    plan = maker.plan(0)
    ids = np.empty((plan.frames, plan.height, plan.width), np.uint8)
    frames = render(behind.frames, plan, bank, ids=ids)
    clip = Clip(frames, plan, Truth(plan, bank, ids=ids), behind.origin)
    return Shown(maker, clip, grid, draw_clip_mask(controls, clip, grid))


def draw_clip_mask(controls: Controls, clip: Clip, grid: TokenGrid) -> TokenMask:
    """Draw the mask of the controls, with the clip's own generator."""
    rng = keyed_generator(controls.seed, Stream.MASK)
    ratio = controls.mask_ratio
    match controls.masking:
        case "trajectory" if clip.plan.slots:
            return mask_trajectory(rng, grid, ratio, clip.truth.token_coverage(grid))
        case "official" if clip.plan.slots:
            return mask_official(rng, grid, ratio, clip.plan)
        case "motion-bins":
            return mask_motion_bins(rng, grid, ratio, clip.truth.token_motion(grid).by_position())
        case "random":
            return mask_random(rng, grid, ratio)
        case _:
            return mask_tube(rng, grid, ratio)


@lru_cache(maxsize=8)
def _background(kind, videos, images, stride, noise) -> Background:
    """Cached, because searching folders of videos takes long."""
    return make_background(kind, videos=videos, images=images, stride=stride, noise=noise)


@lru_cache(maxsize=4)
def _drawn(kind, videos, images, stride, noise, frames, size, seed) -> BackgroundClip:
    """The background of clip 0, read-only."""
    background = _background(kind, videos, images, stride, noise)
    rng = keyed_generator(seed, Stream.BACKGROUND, epoch=0, index=0)
    count = 1 if background.is_static else frames
    drawn = background.draw(rng, index=0, frames=count, size=size)
    drawn.frames.flags.writeable = False
    return drawn
