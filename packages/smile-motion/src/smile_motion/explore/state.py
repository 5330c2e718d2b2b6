"""What the explorer's page asks, and the recipe that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smile_motion.choices import EffectName, NoiseKind, PathName
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.masking.masks import MaskingName
from smile_motion.motion.keyframes import KeyframeRates, KeyframeValues
from smile_motion.motion.paths import GaussianPath
from smile_motion.motion.recipe import MotionRecipe, OwnAspectSize, StretchedSize

if TYPE_CHECKING:
    from smile_motion.choices import BackgroundKind

LARGEST_SEED = 2**31 - 1
"""Seeds that the page takes."""
MOST_OBJECTS, MOST_FRAMES, LARGEST_SIDE_PX = 16, 32, 448
"""What the page renders at most, whoever asks."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the explorer's clips come from: its command's options."""

    bank: Path | None = None
    """Object bank; the embedded one by default."""
    videos: Path | None = None
    """Video, folder or list to move objects over."""
    images: Path | None = None
    """Folder of photographs to move objects over."""

    @property
    def backgrounds(self) -> tuple[BackgroundKind, ...]:
        """Backgrounds that can be chosen, besides an uploaded video; the first one at first."""
        films = ("natural", "frame") if self.videos else ()
        return (*films, *(("places",) if self.images else ()), "noise", "black")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Every control of the page."""

    recipe: Literal["paper", "official"] = "paper"
    """What the motion starts from."""
    objects: int = 2
    """Objects in the clip. Paper: 2."""
    smallest_px: float = 32.0
    """Least size before scaling, pixels at 224. Paper: 32."""
    largest_px: float = 128.0
    """Largest size before scaling, pixels at 224. Paper: 128."""
    path: PathName = "gaussian"
    """Kind of path."""
    smoothness: float = 8.0
    """Standard deviation of the filter of Gaussian paths, in way-points. Official: 8."""
    shortest_px: float = 40.0
    """Least extent of Gaussian paths, pixels at 224. Official: 40."""
    longest_px: float = 180.0
    """Largest extent of Gaussian paths, pixels at 224. Official: 180."""
    rotation_deg: float = 90.0
    """Paper: largest angle at a keyframe, degrees, either way."""
    smallest_scale: float = 0.5
    """Paper: least scale at a keyframe."""
    largest_scale: float = 1.5
    """Paper: largest scale at a keyframe."""
    turn_deg: float = 6.0
    """Official: largest turn, degrees a frame."""
    growth: float = 0.025
    """Official: largest change of the logarithm of the scale, a frame."""
    effects: tuple[EffectName, ...] = ()
    """What else happens to the objects."""
    shutter: float = 0.5
    """Share of the time between frames that motion blur averages over."""
    background: BackgroundKind = "noise"
    """What lies behind, where no video is uploaded."""
    noise: NoiseKind = "uniform"
    """Kind of noise."""
    upload: Path | None = None
    """An uploaded video, which then lies behind the objects."""
    upload_still: bool = False
    """Repeat one frame of it."""
    stride: int = 4
    """Video frames from one clip frame to the next. Paper: 4."""
    frames: int = 16
    """Frames in the clip. Paper: 16."""
    side: int = 224
    """Height and width of the clip, pixels. Paper: 224."""
    masking: MaskingName = "trajectory"
    """How tokens are masked."""
    mask_ratio: float = 0.8
    """Share of the tokens that is masked. Paper: 0.8."""
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
        """The recipe that the controls mean.

        Raises InputError when they do not go together.
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

    def clip_options(self, sources: Sources) -> ClipOptions:
        """The same as options of commands, where they can say it; otherwise but for the motion."""
        videos = self.upload or sources.videos
        films = self.background_kind in ("natural", "frame")
        return ClipOptions(
            background=self.background_kind,
            bank=sources.bank,
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
        """What lies behind."""
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
    """Two sliders that may have been pushed past each other."""
    return (float(min(one, other)), float(max(one, other)))
