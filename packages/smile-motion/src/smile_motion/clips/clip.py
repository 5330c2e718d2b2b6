"""Clips by number: background, motion, frames and ground truth; a clip's JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Interval

from smile_motion.backgrounds import redraw
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError, UnusableFile
from smile_motion.io.schema import read_record
from smile_motion.motion.plan import MotionPlan, require_clip_size
from smile_motion.motion.plan_json import plan_to_json, read_plan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import check_frames, render
from smile_motion.seeding import Stream, keyed_generator, reused_generator
from smile_motion.truth.instances import Truth

if TYPE_CHECKING:
    from smile_motion.backgrounds.base import Background, BackgroundClip


ATTEMPTS = 50
"""Largest number of files tried in place of a broken one."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered clip."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    plan: MotionPlan
    """The motion of its objects."""
    truth: Truth
    """Ground truth of its objects."""
    origin: dict[str, Any]
    """Origin of the background, as JSON values."""


@dataclass(frozen=True, kw_only=True)
class ClipMaker:
    """Makes the clips of an endless collection; a clip depends on the fields, the epoch and the
    index only.

    Example:

        maker = ClipMaker(bank=embedded_bank(), recipe=MotionRecipe.paper(),
                          background=make_background("noise"), seed=7)
        clip = maker.make(0)
        clip.frames, clip.truth.boxes, clip.truth.token_coverage(TokenGrid())
    """

    bank: ObjectBank
    """Bank to draw objects from."""
    recipe: MotionRecipe
    """Motion of the objects."""
    background: Background
    """Background of the clips."""
    frames: int = 16
    """Number of frames T. Paper: 16."""
    size: tuple[int, int] = (224, 224)
    """(height, width), pixels. Paper: 224 x 224."""
    seed: int = 0
    """Seed of the whole collection."""
    allow_broken: bool = False
    """Replace a file of the background that cannot be used by another one; the clip's origin lists
    the errors under `broken`."""

    def __post_init__(self) -> None:
        require_clip_size(self.frames, *self.size)
        if self.recipe.camera is not None and not self.background.is_static:
            raise InputError(
                "the recipe has a camera, which moves over a still image, and the background moves "
                "by itself; use frame, places, black or one image of noise, or no camera"
            )

    def make(
        self,
        index: int,
        epoch: int = 0,
        *,
        out: np.ndarray | None = None,
        behind: int | None = None,
    ) -> Clip:
        """Render one clip.

        Args:
            index: Number of the clip, and of the background file modulo their number.
            epoch: Pass over the data, which changes motion and crop.
            out: (T, H, W, 3) uint8 array, contiguous, to render into, such as a part of a batch; a
                new one by default.
            behind: Epoch whose stretch of video lies behind the clip, in another crop; by default
                its own. Such clips can share what is decoded once.

        Raises:
            UnusableFile: The background's file cannot be read.
            InputError: `out` does not fit.
        """
        if out is not None:
            check_frames(out, (self.frames, *self.size, 3))
        plan = self.plan(index, epoch)
        is_static = self.background.is_static
        drawn = self.draw_background(index, epoch, out=None if is_static else out, behind=behind)
        ids = np.empty((self.frames, *self.size), np.uint8)
        frames = render(drawn.frames, plan, self.bank, ids=ids, out=out)
        return Clip(frames, plan, Truth(plan, self.bank, ids=ids), drawn.origin)

    def plan(self, index: int, epoch: int = 0) -> MotionPlan:
        """Draw the motion of one clip, without rendering it."""
        rng = reused_generator(self.seed, Stream.MOTION, epoch=epoch, index=index)
        return self.recipe.plan(rng, self.bank, frames=self.frames, size=self.size)

    @property
    def background_size(self) -> tuple[int, int]:
        """(height, width) of the drawn backgrounds, pixels: under a camera, of its scene."""
        camera = self.recipe.camera
        return self.size if camera is None else camera.scene_size(self.size)

    def draw_background(
        self,
        index: int,
        epoch: int = 0,
        *,
        out: np.ndarray | None = None,
        behind: int | None = None,
    ) -> BackgroundClip:
        """Draw the background of one clip; arguments are those of `make`.

        The replacement of a broken file depends on seed, epoch and index only.

        Returns:
            The frames, only one if the background is still, and their origin. Under a camera it is
            the scene, of `background_size`.

        Raises:
            UnusableFile: The background's file cannot be read.
            InputError: `out` does not fit, or too many files are broken.
        """
        frames, size = 1 if self.background.is_static else self.frames, self.background_size
        if out is not None:
            check_frames(out, (frames, *size, 3))
        key = {"epoch": epoch if behind is None else behind, "index": index}
        more: dict[str, Any] = {}
        file, broken = index, dict[str, None]()
        for attempt in range(ATTEMPTS):
            if attempt:
                rng = keyed_generator(self.seed, Stream.REPLACEMENT, **key, part=attempt)
                file = int(rng.integers(len(self.background)))
            rng = reused_generator(self.seed, Stream.BACKGROUND, **key, part=attempt)
            if key["epoch"] != epoch:
                crop_rng = keyed_generator(
                    self.seed, Stream.BACKGROUND, epoch=epoch, index=index, part=attempt
                )
                more["crop_rng"] = crop_rng
            try:
                drawn = self.background.draw(
                    rng, index=file, frames=frames, size=size, out=out, **more
                )
            except InputError as error:
                if not len(self.background):
                    raise
                if not self.allow_broken:
                    raise UnusableFile(str(error)) from error
                broken[str(error)] = None
                continue
            return replace(drawn, origin=drawn.origin | {"broken": [*broken]}) if broken else drawn
        raise InputError(f"{ATTEMPTS} files in a row cannot be used, the last: {[*broken][-1]}")


FORMAT = 1
"""Version of a clip's JSON."""
POLYGON_TOLERANCE_PX = 0.2
"""Largest distance of a written polygon from the silhouette, pixels."""


@dataclass(frozen=True, kw_only=True)
class _ClipJson:
    """Schema of a clip's JSON besides its plan; `redraw` checks the background."""

    format: Literal[1]
    seed: Annotated[int, Interval(ge=0, lt=1 << 64)]
    epoch: Annotated[int, Interval(ge=0, lt=1 << 63)]
    index: Annotated[int, Interval(ge=0, lt=1 << 63)]
    background: dict[str, Any]


def clip_json(maker: ClipMaker, index: int, clip: Clip) -> dict[str, Any]:
    """Return everything needed to render a clip again, and its ground truth, as JSON values.

    Args:
        maker: Maker of the clip.
        index: Number of the clip, in epoch 0.
        clip: The clip.
    """
    folders = [str(folder) for folder in maker.bank.folders]
    return {
        "format": FORMAT,
        "seed": maker.seed,
        "epoch": 0,
        "index": index,
        "bank": folders[0] if len(folders) == 1 else folders,
        "background": clip.origin,
        "plan": plan_to_json(clip.plan, maker.bank),
        "truth": truth_json(clip),
    }


def read_clip(path: Path | str, bank: ObjectBank, *, background: Path | str | None = None) -> Clip:
    """Render a clip again from its JSON, bit by bit the same.

    Args:
        path: Path of a JSON such as `clip_000000.json`.
        bank: Bank that the clip was made with.
        background: Present path of the background's video or photograph; its stored path by
            default.

    Raises:
        InputError: The JSON, an object or the background is missing or does not fit.
    """
    path = Path(path)
    behind_it = None if background is None else Path(background)
    plan = read_plan(path, bank)
    described = read_record(path, _ClipJson, remedy="render the clip anew")
    seed, epoch, index = (described[name] for name in ("seed", "epoch", "index"))
    origin = described["background"]
    rng = keyed_generator(seed, Stream.BACKGROUND, epoch=epoch, index=index)
    if plan.camera is None:
        view: dict[str, Any] = {"frames": plan.frames, "size": (plan.height, plan.width)}
    else:
        view = {"frames": 1, "size": plan.camera.scene}
    behind = redraw(origin, rng, file=behind_it, **view)
    ids = np.empty((plan.frames, plan.height, plan.width), np.uint8)
    return Clip(render(behind, plan, bank, ids=ids), plan, Truth(plan, bank, ids=ids), origin)


def truth_json(clip: Clip) -> dict[str, Any]:
    """Return the ground truth of a clip as JSON values, in pixels rounded to a hundredth.

    Boxes are x0, y0, x1, y1 of the part inside the frame, null if there is none. Polygons are whole
    silhouettes, simplified by at most `POLYGON_TOLERANCE_PX`: a list of parts, each a list of rings
    of x, y, the outer ring first, then its holes. `rigid` is there, and false, where an animated
    object changes its pose; see `MotionPlan.is_rigid`.
    """
    truth = clip.truth
    return {
        "convention": "pixel centres at integers, x right, y down; degrees counter-clockwise",
        **({} if clip.plan.is_rigid else {"rigid": False}),
        "objects": [
            {
                "box": [_rounded(box) for box in truth.boxes[slot]],
                "full_box": [_rounded(box) for box in truth.full_boxes[slot]],
                "visible_share": np.round(truth.visible_share[slot], 4).tolist(),
                "polygon": [_polygon_json(polygon) for polygon in truth.polygons[slot]],
            }
            for slot in range(clip.plan.slots)
        ],
    }


def _rounded(box: np.ndarray) -> list[float] | None:
    return None if np.isnan(box).any() else np.round(box, 2).tolist()


def _polygon_json(shape: Any) -> list[list[list[list[float]]]]:
    simple = shape.simplify(POLYGON_TOLERANCE_PX)
    return [
        [np.round(ring.coords[:-1], 2).tolist() for ring in (part.exterior, *part.interiors)]
        for part in getattr(simple, "geoms", [simple])
    ]
