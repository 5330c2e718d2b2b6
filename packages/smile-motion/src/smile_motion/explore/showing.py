"""The clip that the controls mean, with its mask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from smile_motion.backgrounds import make_background
from smile_motion.backgrounds.base import Background
from smile_motion.clips.clip import Clip, ClipMaker
from smile_motion.errors import InputError
from smile_motion.explore.state import Controls, Sources
from smile_motion.masking.masks import (
    TokenMask,
    mask_official,
    mask_random,
    mask_trajectory,
    mask_tube,
)
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """What an uploaded video may be."""

    bytes: int
    """Largest file."""
    seconds: float
    """Longest video."""
    folder: Path | None = None
    """Where uploads lie: no other file is opened, whatever a request names; None: anywhere."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows."""

    maker: ClipMaker
    """Makes the clip: its number 0."""
    clip: Clip
    """The clip."""
    grid: TokenGrid
    """Its tokens."""
    mask: TokenMask
    """The tokens that a student sees, and those it does not."""


def make_shown(
    controls: Controls, sources: Sources, bank: ObjectBank, limits: UploadLimits
) -> Shown:
    """Render the clip and draw its mask.

    Raises InputError when the controls do not go together, or the upload cannot be used.
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
    """Draw the mask that the controls ask for, from the clip's own generator."""
    rng = keyed_generator(controls.seed, Stream.MASK)
    ratio = controls.mask_ratio
    match controls.masking:
        case "trajectory" if clip.plan.slots:
            return mask_trajectory(rng, grid, ratio, clip.truth.token_coverage(grid))
        case "official" if clip.plan.slots:
            return mask_official(rng, grid, ratio, clip.plan)
        case "random":
            return mask_random(rng, grid, ratio)
        case _:
            return mask_tube(rng, grid, ratio)


def check_upload(path: Path, limits: UploadLimits) -> None:
    """Raise InputError when an uploaded file is too large, too long, or no video."""
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
    """Backgrounds are kept, because folders of videos take long to search."""
    return make_background(kind, videos=videos, images=images, stride=stride, noise=noise)
