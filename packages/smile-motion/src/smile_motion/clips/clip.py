"""Clips by number: a background, a motion drawn for it, and what is true of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.errors import InputError, UnusableFile
from smile_motion.motion.plan import MotionPlan, require_clip_size
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import check_frames, render
from smile_motion.seeding import Stream, keyed_generator, lent_generator
from smile_motion.truth.instances import Truth

if TYPE_CHECKING:
    from smile_motion.backgrounds.base import Background, BackgroundClip
    from smile_motion.bank import ObjectBank

ATTEMPTS = 50
"""Files tried in place of a broken one before giving up."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered clip."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    plan: MotionPlan
    """The motion of its objects."""
    truth: Truth
    """What is where."""
    origin: dict[str, Any]
    """Where the background comes from, as JSON values."""


@dataclass(frozen=True, kw_only=True)
class ClipMaker:
    """Makes any clip of an endless collection; a clip depends on the fields, the epoch and the
    index alone.

    Example::

        maker = ClipMaker(bank=embedded_bank(), recipe=MotionRecipe.paper(),
                          background=make_background("noise"), seed=7)
        clip = maker.make(0)
        clip.frames, clip.truth.boxes, clip.truth.token_coverage(TokenGrid())
    """

    bank: ObjectBank
    """Where objects come from."""
    recipe: MotionRecipe
    """How they move."""
    background: Background
    """What lies behind them."""
    frames: int = 16
    """Frames T in a clip. Paper: 16."""
    size: tuple[int, int] = (224, 224)
    """(height, width), pixels. Paper: 224 x 224."""
    seed: int = 0
    """Seed of the whole collection."""
    allow_broken: bool = False
    """Put another file of the background's behind a clip whose own cannot be used; the clip's
    origin says so under `broken`, a message a file."""

    def __post_init__(self) -> None:
        require_clip_size(self.frames, *self.size)

    def make(self, index: int, epoch: int = 0, *, out: np.ndarray | None = None) -> Clip:
        """Render one clip.

        index  number of the clip; also selects the background file, counted round.
        epoch  pass over the data; another epoch gives other motion and another crop.
        out    (T, H, W, 3) uint8, contiguous: frames to render into, such as a clip's place in
               a batch; new ones by default.
        Raises UnusableFile when the background's file cannot be read, and InputError when `out`
        does not fit.
        """
        if out is not None:
            check_frames(out, (self.frames, *self.size, 3))
        plan = self.plan(index, epoch)
        still = self.background.is_still
        behind = self.draw_background(index, epoch, out=None if still else out)
        ids = np.empty((self.frames, *self.size), np.uint8)
        frames = render(behind.frames, plan, self.bank, ids=ids, out=out)
        return Clip(frames, plan, Truth(plan, self.bank, ids=ids), behind.origin)

    def plan(self, index: int, epoch: int = 0) -> MotionPlan:
        """Draw the motion of one clip, without rendering it."""
        rng = lent_generator(self.seed, Stream.MOTION, epoch=epoch, index=index)
        return self.recipe.plan(rng, self.bank, frames=self.frames, size=self.size)

    def draw_background(
        self, index: int, epoch: int = 0, *, out: np.ndarray | None = None
    ) -> BackgroundClip:
        """Draw what lies behind one clip; arguments as of `make`.

        returns  its frames, a single one where the background is still.
        Which file takes the place of a broken one depends on seed, epoch and index alone.
        """
        frames = 1 if self.background.is_still else self.frames
        if out is not None:
            check_frames(out, (frames, *self.size, 3))
        key = {"epoch": epoch, "index": index}
        file, broken = index, dict[str, None]()
        for attempt in range(ATTEMPTS):
            if attempt:
                rng = keyed_generator(self.seed, Stream.REPLACEMENT, **key, part=attempt)
                file = int(rng.integers(len(self.background)))
            rng = lent_generator(self.seed, Stream.BACKGROUND, **key, part=attempt)
            try:
                drawn = self.background.draw(
                    rng, index=file, frames=frames, size=self.size, out=out
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
