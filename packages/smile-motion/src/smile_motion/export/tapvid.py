"""Point tracks through clips, with the fields of TAP-Vid (arXiv 2211.03726)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from smile_motion.errors import InputError
from smile_motion.export.base import LooseFiles, NumberedClip
from smile_motion.io.files import write_atomically
from smile_motion.seeding import Stream, keyed_generator


@dataclass(frozen=True, kw_only=True)
class TapVid(LooseFiles):
    """`clip_000000.npz` with `video`, `points` and `occluded`, and `clip_000000.json`.

    TAP-Vid itself is a pickle, which can execute code when it is opened; the NPZ file contains the
    same arrays, and `numpy.load` opens it with `allow_pickle=False`.
    """

    contents: ClassVar[str] = (
        "`clip_000000.npz` with `video`, `points` and `occluded` as TAP-Vid has them, and "
        "`clip_000000.json`, with plan and truth: a pair a clip."
    )

    points: int = 256
    """Points per clip."""

    suffixes: ClassVar[Mapping[str, str]] = {"points": "npz"}

    def __post_init__(self) -> None:
        if self.points < 1:
            raise InputError(f"--points is {self.points}; follow at least 1 point")

    def write_files(self, clip: NumberedClip, paths: Mapping[str, Path]) -> None:
        """Write the arrays of a clip."""
        rng = keyed_generator(clip.maker.seed, Stream.POINTS, index=clip.index)
        positions, visible = follow_points(clip, rng, self.points)
        size = np.array([clip.clip.plan.width, clip.clip.plan.height])
        target = io.BytesIO()
        np.savez_compressed(
            target,
            video=clip.clip.frames,
            # From pixel centers at integers to a frame that spans 0 to 1.
            points=((positions + 0.5) / size).astype(np.float32),
            occluded=~visible,
        )
        write_atomically(paths["points"], target.getvalue())


def follow_points(
    clip: NumberedClip, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points and track them.

    Each point is drawn in a random frame, on an object drawn among those visible there; a static
    background counts as an object.

    Args:
        clip: The clip, of T frames.
        rng: Generator of the points.
        count: Number of points.

    Returns:
        Positions, (n, T, 2) float64, pixels, x then y, and visibility, (n, T) bool; n is `count`,
        or less where a frame with a moving background shows no object.
    """
    truth, plan = clip.clip.truth, clip.clip.plan
    nowhere = np.empty((0, plan.frames, 2)), np.empty((0, plan.frames), bool)
    followed = [nowhere]
    lowest = 0 if clip.maker.background.is_static else 1
    at = np.bincount(rng.integers(plan.frames, size=count), minlength=plan.frames)
    for frame in np.flatnonzero(at):
        ids = truth.ids[frame]
        seen = [value for value in np.unique(ids) if value >= lowest]
        if not seen:
            continue
        pixels = []
        for value in rng.choice(seen, size=at[frame]):
            y, x = np.nonzero(ids == value)
            chosen = rng.integers(len(y))
            pixels.append((x[chosen], y[chosen]))
        # Within the pixel, short of its edge, where rounding would give the next one.
        points = np.array(pixels) + rng.uniform(-0.49, 0.49, (len(pixels), 2))
        tracks = truth.track(points, int(frame))
        followed.append((tracks.positions, tracks.visible))
    positions, visible = zip(*followed, strict=True)
    return np.concatenate(positions), np.concatenate(visible)
