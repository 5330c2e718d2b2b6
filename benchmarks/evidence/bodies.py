"""dm_control's articulated bodies, and what lifting a limb, crouching and bowing means for each.

Angles are radians, of the joints that the body's own file names. The bodies of the two parts of the
data differ, so that what is learned is the movement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Pose = Mapping[str, float]
"""Angle by joint, added to the rest pose."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body, and the poses that its movements go to."""

    file: str
    """Model below the package dm_control."""
    root: str
    """Outermost body that moves."""
    limbs: tuple[Pose, ...]
    """Each limb at its highest; it hangs or stands at rest."""
    rest: Pose = field(default_factory=dict)
    """What the pose of the file lacks for standing."""
    crouch: Pose
    """Legs fully bent."""
    bow: Pose = field(default_factory=dict)
    """Trunk bent forward; what it has no joints for, the whole body tilts."""
    tilt: float = 0.0
    """Tilt of the whole body, radians, in a bow."""
    left_out: tuple[str, ...] = ()
    """Bodies of the file that are not part of it."""


BODIES: dict[str, Body] = {
    "humanoid": Body(
        file="suite/humanoid.xml",
        root="torso",
        limbs=(
            {"right_shoulder1": -1.3, "right_shoulder2": 1.0, "right_elbow": 0.6},
            {"left_shoulder1": 1.3, "left_shoulder2": -1.0, "left_elbow": 0.6},
        ),
        crouch={
            **{f"{side}_hip_y": -1.7 for side in ("left", "right")},
            **{f"{side}_knee": -2.4 for side in ("left", "right")},
            **{f"{side}_ankle_y": 0.6 for side in ("left", "right")},
        },
        bow={"abdomen_y": -1.1},
        tilt=1.0,
    ),
    "walker": Body(
        file="suite/walker.xml",
        root="torso",
        limbs=(
            {"right_hip": 1.6, "right_knee": -0.9},
            {"left_hip": 1.6, "left_knee": -0.9},
        ),
        crouch={
            **{f"{side}_hip": 1.3 for side in ("left", "right")},
            **{f"{side}_knee": -2.4 for side in ("left", "right")},
            **{f"{side}_ankle": 0.7 for side in ("left", "right")},
        },
        tilt=0.9,
    ),
    "cheetah": Body(
        file="suite/cheetah.xml",
        root="torso",
        limbs=({"fthigh": -0.95, "fshin": -0.9}, {"bthigh": 1.0, "bshin": 0.8}),
        crouch={"fthigh": -0.95, "fshin": -0.9, "bthigh": 1.0, "bshin": 0.8},
        tilt=0.6,
    ),
    "quadruped": Body(
        file="suite/quadruped.xml",
        root="torso",
        limbs=tuple(
            {f"pitch_{leg}": -0.35, f"knee_{leg}": -1.0, f"ankle_{leg}": 0.2, f"yaw_{leg}": 0.3}
            for leg in ("front_left", "front_right")
        ),
        crouch={
            f"{joint}_{end}_{side}": angle
            for joint, angle in (("pitch", -0.3), ("knee", -0.8), ("ankle", 0.9))
            for end in ("front", "back")
            for side in ("left", "right")
        },
        tilt=0.5,
        left_out=("ball",),
    ),
    "humanoid_CMU": Body(
        file="suite/humanoid_CMU.xml",
        root="root",
        rest={"rhumerusrz": -1.2, "lhumerusrz": 1.2},
        limbs=({"rhumerusrz": 2.6}, {"lhumerusrz": -2.6}),
        crouch={
            **{f"{side}femurrx": -1.7 for side in "lr"},
            **{f"{side}tibiarx": 2.4 for side in "lr"},
            **{f"{side}footrx": -0.6 for side in "lr"},
        },
        bow={"lowerbackrx": 0.7, "upperbackrx": 0.6, "thoraxrx": 0.5},
    ),
    "dog": Body(
        file="suite/dog.xml",
        root="torso",
        limbs=tuple(
            {f"shoulder_{side}_extend": -0.7, f"elbow_{side}": -1.7, f"wrist_{side}": -0.6}
            for side in "LR"
        ),
        crouch={
            **{f"hip_{side}_extend": -1.2 for side in "LR"},
            **{f"knee_{side}": -1.6 for side in "LR"},
            **{f"shoulder_{side}_extend": -0.6 for side in "LR"},
            **{f"elbow_{side}": -1.6 for side in "LR"},
        },
        bow={f"C_{number}_extend": 0.6 for number in (7, 5, 3, 1)},
        tilt=0.3,
        left_out=("ball",),
    ),
    "hopper": Body(
        file="suite/hopper.xml",
        root="torso",
        limbs=({"hip": -1.6, "knee": 1.2},),
        crouch={"hip": -1.3, "knee": 2.2, "ankle": -0.7},
        bow={"waist": 0.5},
        tilt=0.4,
    ),
}
