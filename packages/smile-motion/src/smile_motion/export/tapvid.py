"""Point tracks through clips, with the fields of TAP-Vid (arXiv 2211.03726) and of its Kubric."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from smile_motion.errors import InputError
from smile_motion.export.base import LooseFiles, NumberedClip, require_rigid
from smile_motion.io.files import write_atomically
from smile_motion.io.options import PointsOn
from smile_motion.seeding import Stream, keyed_generator

if TYPE_CHECKING:
    from smile_motion.clips.clip import ClipMaker


@dataclass(frozen=True, kw_only=True)
class TapVid(LooseFiles):
    """`clip_000000.npz` with points followed, and `clip_000000.json`.

    Evaluation, as TAP-Vid's data sets: `video` (T, H, W, 3) uint8, `points` (n, T, 2) float32 x, y
    as shares of the frame, `occluded` (n, T) bool. TAP-Vid itself is a pickle, which can execute
    code when it is opened; `numpy.load` opens these with `allow_pickle=False`.

    Training, as what Kubric's `point_tracking` makes of MOVi: `video` (T, H, W, 3) uint8, which
    training divides by 127.5 and lowers by 1; `query_points` (n, 3) float32 t, y, x;
    `target_points` (n, T, 2) float32 x, y; `occluded` (n, T) bool. Both are in pixels from the
    frame's upper left corner, so that the center of the first pixel is at 0.5.
    """

    contents: ClassVar[str] = (
        "`clip_000000.npz` with `video`, `points` and `occluded` as TAP-Vid has them, and "
        "`clip_000000.json`, with plan and truth: a pair a clip."
    )

    points: int = 256
    """Points per clip."""
    points_on: PointsOn = "all"
    """What the points are on."""
    fields: Literal["evaluation", "training"] = "evaluation"
    """Arrays of a file."""

    suffixes: ClassVar[Mapping[str, str]] = {"points": "npz"}

    def __post_init__(self) -> None:
        if self.points < 1:
            raise InputError(f"--points is {self.points}; follow at least 1 point")

    def require_fitting(self, maker: ClipMaker) -> None:
        """Raise InputError where points are to be on a background that moves by itself, or on
        animated objects."""
        if self.points_on != "background":
            require_rigid(maker, "tracks")
        if self.points_on == "background" and not maker.background.is_static:
            raise InputError(
                "--points-on background: what is behind the clips moves by itself, so that its "
                "tracks are unknown; use a still background, under a --camera if it is to move"
            )

    def write_files(self, clip: NumberedClip, paths: Mapping[str, Path]) -> None:
        """Write the arrays of a clip."""
        self.require_fitting(clip.maker)
        rng = keyed_generator(clip.maker.seed, Stream.POINTS, index=clip.index)
        frame, positions, visible = follow_points(clip, rng, self.points, self.points_on)
        # From pixel centers at integers to the frame's upper left corner at 0.
        raster = positions + 0.5
        arrays: dict[str, Any] = {"video": clip.clip.frames}
        if self.fields == "training":
            queried = raster[np.arange(len(frame)), frame]
            arrays["query_points"] = np.column_stack([frame, queried[:, ::-1]]).astype(np.float32)
            arrays["target_points"] = raster.astype(np.float32)
        else:
            size = np.array([clip.clip.plan.width, clip.clip.plan.height])
            arrays["points"] = (raster / size).astype(np.float32)
        target = io.BytesIO()
        np.savez_compressed(target, **arrays, occluded=~visible)
        write_atomically(paths["points"], target.getvalue())


def follow_points(
    clip: NumberedClip, rng: np.random.Generator, count: int, points_on: PointsOn = "all"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw points and track them.

    Args:
        clip: The clip, of T frames.
        rng: Generator of the points.
        count: Number of points.
        points_on: What they are on in the frame that each is drawn in, a random one of those that
            show such a thing.

    Returns:
        Frame that each point is drawn in, (n,) int64; positions, (n, T, 2) float64, pixels, x then
        y; and visibility, (n, T) bool. n is `count`, or 0 if no frame shows what points are to be
        on.
    """
    truth, plan = clip.clip.truth, clip.clip.plan
    is_known = clip.maker.background.is_static
    fits = np.ones(256, bool)
    fits[0] = is_known and points_on != "objects"
    fits[1:] = points_on != "background"
    shown = [np.flatnonzero(np.bincount(ids.ravel(), minlength=256) * fits) for ids in truth.ids]
    frames = np.array([t for t, labels in enumerate(shown) if len(labels)], np.int64)
    drawn = frames[rng.integers(len(frames), size=count)] if len(frames) else frames
    tracks = []
    for frame in np.unique(drawn):
        ids, pixels = truth.ids[frame], []
        for label in rng.choice(shown[frame], size=(drawn == frame).sum()):
            y, x = np.nonzero(fits[ids] if points_on == "pixels" else ids == label)
            chosen = rng.integers(len(y))
            pixels.append((x[chosen], y[chosen]))
        # Within the pixel, short of its edge, where rounding would give the next one.
        points = np.array(pixels) + rng.uniform(-0.49, 0.49, (len(pixels), 2))
        tracks.append(truth.track(points, int(frame)))
    positions = [np.empty((0, plan.frames, 2)), *(found.positions for found in tracks)]
    visible = [np.empty((0, plan.frames), bool), *(found.visible for found in tracks)]
    return np.sort(drawn), np.concatenate(positions), np.concatenate(visible)
