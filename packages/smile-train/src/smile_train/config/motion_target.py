"""Motion as a second target: a shallow decoder that predicts how what is in masked tokens moves.

Importable without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from smile_motion.errors import InputError
from smile_motion.io.options import (
    ONE_FOLDER,
    MotionReading,
    OnlyWith,
    Positive,
    Share,
    Within,
)

MotionNorm = Literal["size", "token", "none"]

_OR_TRACKS = (
    ", which alone are known to move, and --objects is 0; give some, or a --camera, or tracks "
    "with --motion-target official"
)
_LEARNED = OnlyWith(lambda options: options.motion_target != "none", "with a --motion-target")
_EXACT = OnlyWith(
    lambda options: options.motion_target == "displacement", "with --motion-target displacement"
)
_USED = OnlyWith(
    lambda options: options.motion_target != "none" or options.masking == "motion-bins",
    "with a --motion-target, or with --masking motion-bins",
)


@dataclass(frozen=True, kw_only=True)
class MotionTargetOptions:
    """What a student learns of motion besides its other target."""

    motion_target: Literal["none", "displacement", "official"] = "none"
    """Second target of masked tokens: none; the exact displacement in pixels of what is in them to
    the next time slice, from the clip's plan; or that of tracks computed elsewhere (--tracks), with
    the plan's where objects are. Tokens of which nothing is known are left out. Ours: none."""
    tracks: Annotated[
        Path | None,
        ONE_FOLDER,
        OnlyWith(
            lambda options: options.motion_target == "official", "with --motion-target official"
        ),
    ] = None
    """Folder of tracks, NAME.npz for each video NAME.mp4, for --motion-target official."""
    motion_reading: Annotated[MotionReading, _USED] = "present"
    """Whose displacement a token has: what is there when its slice begins (ours), or what was in
    its place in the clip's first frame, wherever that has gone (TrackMAE)."""
    motion_points: Annotated[int, Within(1, 16), _USED] = 2
    """Points along each side of a token. TrackMAE: 2, so that a token has 8 values."""
    motion_visibility: Annotated[bool, _EXACT] = False
    """Also predict whether each point is visible now and in the next slice: cross-entropy. Ours."""
    motion_rates: Annotated[bool, _EXACT] = False
    """Also predict how the object that each point is on turns and grows: radians, and logarithms of
    its two sides, a slice; with --motion-norm none degrees and logarithms a frame. Known of
    the background under a --camera alone. Ours."""
    motion_norm: Annotated[MotionNorm, _LEARNED] = "size"
    """Displacements divided by the token's side (ours); per token over its points, each axis by
    itself, which turns a rigid shift into zeros (TrackMAE); or as they are, in pixels."""
    motion_weight: Annotated[Positive | None, _LEARNED] = None
    """Weight of the motion loss beside the other. Default, as TrackMAE: 1 for pixels, 0.25 for
    features."""
    motion_depth: Annotated[int, Within(1, 64), _LEARNED] = 2
    """Blocks of the motion decoder; its width and heads are those of the other. TrackMAE: 2."""
    motion_share: Annotated[
        Share,
        OnlyWith(lambda options: options.masking == "motion-bins", "with --masking motion-bins"),
    ] = 0.5
    """Of the visible positions, the share drawn from the half that moves most. TrackMAE: 0.5."""

    @property
    def motion_dim(self: Any) -> int:
        """Values of a token's motion; 0 where none is learned: in clips without objects or a
        camera, such as those of a second stage, exact displacements tell nothing."""
        if self.motion_target == "none":
            return 0
        known = self.motion_target == "official" or self.moves
        return sum(self.motion_parts.values()) if known else 0

    @property
    def motion_parts(self: Any) -> dict[str, int]:
        """What a token's motion is made of, in order, and how many values each part has: x and y of
        its points one after the other, whether each is visible, three rates of each."""
        points = self.motion_points**2
        parts = {"displacement": 2 * points}
        if self.motion_visibility:
            parts["visibility"] = points
        if self.motion_rates:
            parts["rates"] = 3 * points
        return parts

    @property
    def motion_by_workers(self: Any) -> bool:
        """Whether workers find motion, as masks or files of tracks have it, rather than the device
        that renders the clips; none is found where none is used."""
        binned = self.masking == "motion-bins"
        learned = self.motion_dim and (self.render == "cpu" or self.motion_target == "official")
        return binned or bool(learned)

    @property
    def motion_factor(self: Any) -> float:
        """Weight of the motion loss, settled."""
        if self.motion_weight is not None:
            return self.motion_weight
        return 1.0 if self.target == "pixel" else 0.25

    @property
    def moves(self: Any) -> bool:
        """Whether something moves as a plan says: objects, or what is behind them."""
        return self.objects != 0 or self.camera != "none"

    @property
    def has_still_background(self: Any) -> bool:
        """Whether what is behind the objects stays, so that its displacement is known: 0, or the
        camera's."""
        kind = self.background_kind
        return kind in ("frame", "places", "black") or (
            kind == "noise" and not self.noise_per_frame
        )

    def require_moving_objects(self: Any) -> None:
        """Raise InputError where objects are to tell of motion, and there are none at all."""
        if self.motion_target == "displacement" and not self.moves:
            raise InputError(f"--motion-target displacement needs objects{_OR_TRACKS}")

    def require_motion(self: Any) -> None:
        """Raise InputError where motion is asked for that nothing tells, or that has no place."""
        binned = self.masking == "motion-bins"
        asked = "--motion-target" if self.motion_dim else "--masking motion-bins"
        if not (self.motion_dim or binned):
            return
        if self.grid.slices < 2:
            raise InputError(
                f"{asked}: {self.frames} frames in tokens of {self.tubelet} are one time slice, "
                f"from which nothing moves to a next; raise --frames"
            )
        if self.motion_points > self.patch:
            raise InputError(
                f"--motion-points is {self.motion_points}; give 1 to {self.patch}, the token's side"
            )
        if self.motion_dim and self.camera != "none" and self.background_kind == "black":
            raise InputError(
                f"{asked}: nothing in a clip tells how --camera {self.camera} moves over black; "
                f"use --background noise, places or frame"
            )
        if binned and self.motion_target != "official" and not self.moves:
            raise InputError(f"{asked} needs objects{_OR_TRACKS}")
        if self.motion_target == "official" and len(self.motion_parts) > 1:
            raise InputError(
                "--motion-visibility and --motion-rates are exact, and not in a tracker's files; "
                "use --motion-target displacement"
            )
        if self.motion_target == "official" and self.background_kind != "natural":
            raise InputError(
                f"--motion-target official is for tracks of videos; --background is "
                f"{self.background_kind}; use natural, or --motion-target displacement"
            )
