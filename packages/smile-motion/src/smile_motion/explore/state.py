"""State of the explorer: its controls, their recipe, and the resulting clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smile_motion.backgrounds import make_background
from smile_motion.backgrounds.base import Background
from smile_motion.clips.clip import Clip, ClipMaker
from smile_motion.clips.options import BANK_FIELDS, BankOptions, ClipOptions
from smile_motion.errors import InputError
from smile_motion.io.options import EffectName, NoiseKind, PathName
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
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank
    from smile_motion.io.options import BackgroundKind


LARGEST_SEED = 2**31 - 1
"""Largest seed that the page accepts."""
MOST_OBJECTS, MOST_FRAMES, LARGEST_SIDE_PX = 16, 32, 448
"""Limits of what the server renders."""


@dataclass(frozen=True, kw_only=True)
class ExplorerInputs(BankOptions):
    """Bank and background files of the explorer's clips, from the options of its command."""

    videos: Path | None = None
    """Video, folder or list to move objects over."""
    images: Path | None = None
    """Folder of photographs to move objects over."""

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

    def __post_init__(self) -> None:
        for name, most in (
            ("objects", MOST_OBJECTS),
            ("frames", MOST_FRAMES),
            ("side", LARGEST_SIDE_PX),
            ("stride", 1000),
            ("seed", LARGEST_SEED),
        ):
            least = 0 if name in ("objects", "seed") else 1
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}; give {least} to {most}")

    def make_recipe(self) -> MotionRecipe:
        """Make the recipe of the controls.

        Raises:
            InputError: The controls do not fit each other.
        """
        recipe = MotionRecipe.named(
            self.recipe, objects=self.objects, path=self.path, effects=self.effects
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
            frames=self.frames,
            size=self.side,
            stride=self.stride if films else ClipOptions.stride,
            seed=self.seed,
        )

    @property
    def background_kind(self) -> BackgroundKind:
        """Kind of background, uploads included."""
        if self.upload is None:
            return self.background
        return "frame" if self.upload_still else "natural"

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


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """Limits of an uploaded video."""

    bytes: int
    """Largest file, bytes."""
    seconds: float
    """Longest video, seconds."""
    folder: Path | None = None
    """Folder of uploads; no other file is opened. None allows any folder."""


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
        check_upload(controls.upload, limits)
    options = controls.clip_options(sources)
    maker = ClipMaker(
        bank=bank,
        recipe=controls.make_recipe(),
        background=_background(
            controls.background_kind,
            options.videos,
            options.images,
            options.stride,
            options.noise,
        ),
        frames=controls.frames,
        size=(controls.side, controls.side),
        seed=controls.seed,
    )
    grid = TokenGrid(frames=controls.frames, height=controls.side, width=controls.side)
    clip = maker.make(0)
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


def check_upload(path: Path, limits: UploadLimits) -> None:
    """Raise InputError where an upload is too large, too long, or not a video."""
    from smile_motion.video import open_index

    name = path.name
    if limits.folder is not None and not path.resolve().is_relative_to(limits.folder.resolve()):
        raise InputError(f"{name}: was not uploaded here; upload it")
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"{name}: is no longer here; upload it again") from error
    if size > limits.bytes:
        raise InputError(
            f"{name}: {size / 1e6:.0f} MB; uploads may have {limits.bytes / 1e6:.0f} MB, "
            f"see --max-upload-mb"
        )
    try:
        video = open_index(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from error
    seconds = len(video) / video.rate_hz
    if seconds > limits.seconds:
        raise InputError(
            f"{name}: {seconds:.0f} s long; uploads may have {limits.seconds:g} s, cut it or see "
            f"--max-upload-seconds"
        )


@lru_cache(maxsize=8)
def _background(kind, videos, images, stride, noise) -> Background:
    """Cached, because searching folders of videos takes long."""
    return make_background(kind, videos=videos, images=images, stride=stride, noise=noise)
