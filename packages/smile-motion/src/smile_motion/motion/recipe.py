"""Motion recipes: distributions of the size, path, rotation, scale and effects of objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.components import Kinds, component_to_json, require_bounds
from smile_motion.io.options import (
    AnimationName,
    CameraName,
    EffectName,
    PathName,
    RecipeName,
    TransformName,
)
from smile_motion.io.schema import parse_component
from smile_motion.motion.camera import CAMERAS, CameraPath
from smile_motion.motion.effects import (
    EFFECTS,
    Appearance,
    ColourDrift,
    DepthSwaps,
    DropShadow,
    MotionBlur,
)
from smile_motion.motion.paths import (
    PATHS,
    REFERENCE_PX,
    AcceleratingPath,
    CentrePath,
    GaussianPath,
)
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.sizes import DeadLeavesSize, OwnAspectSize, StretchedSize
from smile_motion.motion.transforms import Animation, KeyframeRates, KeyframeValues, SteadyRates

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


@dataclass(frozen=True, kw_only=True)
class MotionRecipe:
    """All settings of the motion; `paper()` and `official()` are the published ones.

    Distances in pixels are for a frame of 224 px and scale with its shorter side.
    """

    objects: int = 2
    """Objects in a clip. Paper: 2 is best (Table 4f)."""
    size: OwnAspectSize | StretchedSize | DeadLeavesSize = field(default_factory=OwnAspectSize)
    """Size before scaling."""
    path: Annotated[
        CentrePath, Kinds(*(type(path) for path in PATHS.values()), AcceleratingPath)
    ] = field(default_factory=GaussianPath)
    """Path of the center."""
    transform: KeyframeValues | KeyframeRates | SteadyRates = field(default_factory=KeyframeValues)
    """Rotation and scale over time."""
    whole_pixels: bool = False
    """Boxes rounded to whole pixels, angles truncated to whole degrees. Official."""
    smaller_on_top: bool = True
    """Draw order by mean area, the largest at the bottom; otherwise random."""
    motion_blur: MotionBlur | None = None
    """Motion blur of the objects."""
    drop_shadow: DropShadow | None = None
    """Shadow under each object."""
    colour_drift: ColourDrift | None = None
    """Brightness and colors that change over time."""
    depth_swaps: DepthSwaps | None = None
    """Changes of the draw order."""
    appearance: Appearance | None = None
    """Transform of the objects' colors by albumentations."""
    camera: CameraPath | None = None
    """Path of a camera over the background, which must be still; None if it does not move."""
    animation: Animation = field(default_factory=Animation)
    """How animated objects run through their poses."""

    def __post_init__(self) -> None:
        if not 0 <= self.objects <= 255:
            raise InputError(f"objects is {self.objects}; a clip can have 0 to 255")
        require_bounds(self)

    @classmethod
    def paper(cls, objects: int = 2) -> MotionRecipe:
        """Return the paper's settings (sections 3.3, 4.1), with paths stretched as in its code."""
        return cls(objects=objects)

    @classmethod
    def official(cls, objects: int = 2) -> MotionRecipe:
        """Return the published code's settings: slow rotation, stretched objects, whole pixels."""
        return cls(
            objects=objects,
            size=StretchedSize(),
            path=GaussianPath(shared_extent=True, whole_pixels=True),
            transform=KeyframeRates(),
            whole_pixels=True,
        )

    @classmethod
    def named(
        cls,
        name: RecipeName,
        *,
        objects: int | None = None,
        path: PathName | None = None,
        transform: TransformName = "both",
        effects: tuple[EffectName, ...] = (),
        camera: CameraName = "none",
        animation: AnimationName = "ping-pong",
    ) -> MotionRecipe:
        """Return a named recipe, with the settings that are given changed.

        Args:
            name: Name of the recipe: `paper`, `official` or a baseline.
            objects: Number of objects; the recipe's own by default.
            path: Kind of path; the recipe's own by default.
            transform: Changes over time besides position (Table 4).
            effects: Effects to turn on with their default settings.
            camera: Path of the camera; the recipes themselves have none.
            animation: How animated objects run through their poses.
        """
        match name:
            case "paper":
                recipe = cls.paper()
            case "official":
                recipe = cls.official()
            case _:
                from smile_motion.clips.presets import BASELINES

                recipe = BASELINES[name].recipe()
        return replace(
            recipe,
            objects=recipe.objects if objects is None else objects,
            path=recipe.path
            if path is None or isinstance(recipe.path, type(PATHS[path]))
            else PATHS[path],
            transform=recipe.transform.only(
                rotation=transform in ("both", "rotation"), scaling=transform in ("both", "scaling")
            ),
            **{name.replace("-", "_"): EFFECTS[name] for name in effects},
            camera=CAMERAS[camera],
            animation=Animation(play=animation),
        )

    def to_json(self) -> dict[str, Any]:
        """Convert all settings to JSON values; components name their `kind`.

        A camera is written only if there is one, and an animation if it is not the default, so that
        settings without are as they were.
        """
        values = component_to_json(self)
        if self.camera is None:
            del values["camera"]
        if self.animation == Animation():
            del values["animation"]
        return values

    @classmethod
    def from_json(cls, data: dict[str, Any], *, source: str = "recipe") -> MotionRecipe:
        """Read a recipe written by `to_json`.

        Args:
            data: JSON values.
            source: Source of the values named in errors, such as a path.

        Raises:
            InputError: A kind or a field is unknown, or a value is refused.
        """
        return parse_component(data, cls, source)

    def plan(
        self,
        rng: np.random.Generator,
        bank: ObjectBank,
        *,
        frames: int = 16,
        size: tuple[int, int] = (224, 224),
    ) -> MotionPlan:
        """Draw a clip's motion.

        Args:
            rng: Generator of `Stream.MOTION` for this clip.
            bank: Bank to draw objects from.
            frames: Number of frames T, at least 1.
            size: (height, width) of the frame, pixels.

        Raises:
            InputError: The path has fewer way-points than frames, or the clip is too large.
        """
        from smile_motion.motion._kernels import order_by_area

        height, width = size
        chosen = bank.sample(rng, self.objects)
        base_size = self.size.draw(rng, bank.aspect(chosen), min(size))
        centre = self.path.draw(rng, frames, size, base_size)
        angle_deg, scale = self.transform.draw(rng, self.objects, frames)
        if self.whole_pixels:
            # Boxes run between pixel edges, half a pixel beyond the centers of the pixels inside.
            middle = centre + 0.5
            sides = base_size[:, None] * scale
            first, last = np.rint(middle - sides / 2), np.rint(middle + sides / 2)
            base_size = np.maximum(last - first, 1)[:, 0]
            scale = np.maximum(last - first, 1) / base_size[:, None]
            centre = (first + last - 1) / 2
            angle_deg = np.trunc(angle_deg)
        order = np.empty((frames, self.objects), np.int64)
        if self.smaller_on_top:
            order_by_area(base_size, scale, order)
        else:
            order[:] = np.arange(self.objects)
        if self.depth_swaps is not None:
            order = self.depth_swaps.draw(rng, order)
        tint = self.colour_drift and self.colour_drift.draw(rng, self.objects, frames)
        shadow = self.drop_shadow and self.drop_shadow.draw(rng, min(size) / REFERENCE_PX)
        seed = self.appearance and rng.integers(0, 1 << 31, size=self.objects)
        # Last, so that objects move alike with and without.
        camera = self.camera and self.camera.draw(rng, frames, size)
        pose = self.animation.draw(rng, bank.count_poses(chosen), frames)
        return MotionPlan(
            height=height,
            width=width,
            objects=chosen,
            base_size=base_size,
            centre=centre,
            angle_deg=angle_deg,
            scale=scale,
            order=order,
            blur=self.motion_blur,
            shadow=shadow,
            tint=tint,
            appearance=self.appearance,
            appearance_seed=seed,
            camera=camera,
            pose=pose,
        )
