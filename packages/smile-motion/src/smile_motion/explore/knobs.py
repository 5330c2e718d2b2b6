"""The page's controls: their words, ranges, the paper's values, and when they matter."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.state import LIMITS, Controls, ExplorerInputs
from smile_motion.io.options import AnimationName, NoiseKind
from smile_motion.masking.masks import MaskingName
from smile_motion.motion.camera import CAMERAS
from smile_motion.motion.effects import EFFECTS
from smile_motion.motion.paths import PATHS
from smile_motion.video import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A control of the page."""

    name: str
    """Field of `Controls`."""
    label: str
    """Words before it."""
    says: str
    """Line beside it: what it does."""
    kind: Literal["number", "choice", "several", "switch", "seed", "video"] = "number"
    """How it is set."""
    step: float = 1.0
    """Step of a number."""
    unit: str = ""
    """Unit of a number."""
    paper: float | str | None = None
    """The paper's value, or the published code's; None where there is none."""
    source: Literal["paper", "code"] = "paper"
    """Where `paper` is from."""
    choices: tuple[tuple[str, str], ...] = ()
    """Values and words of a choice."""
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """It is shown where each of these fields has one of these values, `*` for any; `behind` is the
    background with uploads included."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Knobs below one heading."""

    title: str
    """The heading."""
    knobs: tuple[Knob, ...]
    """Its knobs."""
    is_open: bool = True
    """Whether the knobs are seen at first."""


_PAPER, _CODE = (("recipe", ("paper",)),), (("recipe", ("official",)),)
_GAUSSIAN = (("path", ("gaussian",)),)
_SCENERY = {
    "noise": "noise",
    "black": "black",
    "natural": "video",
    "frame": "one frame of a video",
    "places": "photograph",
}
_SAID = {
    "paper": "as the paper describes it",
    "official": "as its published code draws it",
    "static-circles": "flat circles that stand still",
    "moving-circles": "circles that move",
    "moving-shapes": "circles, triangles, quadrilaterals",
    "transforming-shapes": "shapes that turn and grow",
    "accelerating-shapes": "shapes that speed up",
    "accelerating-textures": "the same, textured",
    "accelerating-crops": "the same, cut out of photographs",
    "pseudo-motion": "a photograph that moves",
}
MASKINGS: dict[MaskingName, str] = {
    "trajectory": "along the objects' paths (paper)",
    "tube": "the same positions in every slice (VideoMAE)",
    "random": "anywhere (MAE)",
    "official": "along paths, as the published code does",
    "motion-bins": "as much of slow as of fast tokens (TrackMAE)",
}
"""Every kind of mask, in words."""


_ANIMATION = Knob(
    name="animation", kind="choice", label="Animation",
    says="How animated objects run through their poses: to and fro, in a loop, or not at all.",
    choices=tuple((name, name) for name in get_args(AnimationName)),
)  # fmt: skip


def make_groups(
    sources: ExplorerInputs, limits: UploadLimits, *, animated: bool = False
) -> tuple[Group, ...]:
    """Make the knobs of what the explorer was given."""
    films = (("behind", ("natural", "frame")),)
    kept = sources.uploads is not None
    return (
        Group(
            title="Clip",
            knobs=(
                Knob(
                    name="seed", kind="seed", label="Seed",
                    says="Another seed is another clip of the same recipe.",
                ),
                Knob(
                    name="recipe", kind="choice", label="Recipe", paper="paper",
                    says="Motion as the paper says, or gentler as its code draws it.",
                    choices=(("paper", "paper"), ("official", "published code")),
                ),
                Knob(
                    name="compare", kind="choice", label="Beside it",
                    says="A preset or another paper's baseline, as it is, with the same seed.",
                    choices=(
                        ("", "nothing"),
                        *((name, f"{name}: {_SAID[name]}") for name in sources.recipes),
                    ),
                ),
                Knob(
                    name="objects", label="Objects", paper=2,
                    says="How many objects move; two were best in Table 4f.",
                ),
            ),
        ),
        Group(
            title="Path",
            knobs=(
                Knob(
                    name="path", kind="choice", label="Kind", paper="gaussian",
                    says="How centers travel: smoothed random way-points in the paper.",
                    choices=tuple((name, name) for name in PATHS),
                ),
                Knob(
                    name="smoothness", label="Smoothness", step=0.5, paper=8, source="code",
                    unit="way-points", when=_GAUSSIAN,
                    says="Width of the filter over the way-points: more is rounder and calmer.",
                ),
                Knob(
                    name="shortest_px", label="Extent from", unit="px", paper=40, source="code",
                    when=_GAUSSIAN, says="The least that a path spans along each axis, at 224 px.",
                ),
                Knob(
                    name="longest_px", label="Extent to", unit="px", paper=180, source="code",
                    when=_GAUSSIAN, says="The most that it spans: farther is faster.",
                ),
            ),
        ),
        Group(
            title="Size, rotation, scale",
            knobs=(
                Knob(
                    name="smallest_px", label="Size from", unit="px", paper=32,
                    says="The longer side of the smallest object before scaling, at 224 px.",
                ),
                Knob(
                    name="largest_px", label="Size to", unit="px", paper=128,
                    says="The longer side of the largest object.",
                ),
                Knob(
                    name="rotation_deg", label="Rotation up to", unit="°", paper=90, when=_PAPER,
                    says="The largest angle at a keyframe, either way; 0 turns nothing.",
                ),
                Knob(
                    name="smallest_scale", label="Scale from", step=0.05, paper=0.5, when=_PAPER,
                    unit="×", says="How far an object shrinks on its way.",
                ),
                Knob(
                    name="largest_scale", label="Scale to", step=0.05, paper=1.5, when=_PAPER,
                    unit="×", says="How far it grows.",
                ),
                Knob(
                    name="turn_deg", label="Turn up to", step=0.5, unit="° a frame", paper=6,
                    source="code", when=_CODE, says="The fastest rotation between keyframes.",
                ),
                Knob(
                    name="growth", label="Growth up to", step=0.005, unit="a frame", paper=0.025,
                    source="code", when=_CODE,
                    says="The fastest change of the scale's logarithm.",
                ),
                *([_ANIMATION] if animated else []),
            ),
        ),
        Group(
            title="Background",
            knobs=(
                Knob(
                    name="background", kind="choice", label="Kind",
                    paper="natural" if sources.videos else None,
                    says="What the objects move over; the paper's Table 7 compares them.",
                    choices=tuple((kind, _SCENERY[kind]) for kind in sources.backgrounds),
                    when=(("upload", ("",)),),
                ),
                Knob(
                    name="noise", kind="choice", label="Noise", paper="uniform",
                    says="Spectral noise falls with frequency, as photographs do.",
                    choices=tuple((kind, kind) for kind in get_args(NoiseKind)),
                    when=(("upload", ("",)), ("background", ("noise",))),
                ),
                Knob(
                    name="camera", kind="choice", label="Camera", paper="none",
                    says="A smooth path of the camera over what is still; objects do not follow.",
                    choices=tuple((name, name.replace("-", ", ")) for name in CAMERAS),
                    when=(("behind", tuple(name for name in _SCENERY if name != "natural")),),
                ),
                upload_knob(limits, says="Lies behind the objects", kept=kept),
                Knob(
                    name="stride", label="Stride", unit="video frames", paper=4, when=films,
                    says="From one clip frame to the next: larger is faster behind the objects.",
                ),
                Knob(
                    name="upload_still", kind="switch", label="One frame, repeated",
                    says="The upload stands still, so that only objects move.",
                    when=(("upload", ("*",)),),
                ),
            ),
        ),
        Group(
            title="Effects (ours)",
            is_open=False,
            knobs=(
                Knob(
                    name="effects", kind="several", label="Effects",
                    says="What else happens to the objects; the paper has none of these.",
                    choices=tuple((name, name.replace("-", " ")) for name in EFFECTS),
                ),
                Knob(
                    name="shutter", label="Shutter", step=0.05,
                    when=(("effects", ("motion-blur",)),),
                    says="Share of the time between frames that motion blur averages over.",
                ),
            ),
        ),
        Group(
            title="Token mask",
            knobs=(
                Knob(
                    name="masking", kind="choice", label="Masking", paper="trajectory",
                    says="Which tokens are hidden; “Student sees” above the knobs shows them.",
                    choices=tuple(MASKINGS.items()),
                ),
                Knob(
                    name="mask_ratio", label="Mask ratio", step=0.05, paper=0.8,
                    says="The share of tokens that the encoder does not see.",
                ),
            ),
        ),
        Group(
            title="Frame",
            is_open=False,
            knobs=(
                Knob(
                    name="frames", kind="choice", label="Frames", paper="16",
                    says="Frames of a clip; tokens last two of them.",
                    choices=tuple((str(count), str(count)) for count in (8, 16, 32)),
                ),
                Knob(
                    name="side", kind="choice", label="Side", unit="px", paper="224",
                    says="Height and width; distances grow with it.",
                    choices=tuple((str(side), f"{side} px") for side in (112, 224, 336, 448)),
                ),
            ),
        ),
    )  # fmt: skip


def upload_knob(
    limits: UploadLimits,
    *,
    says: str,
    kept: bool,
    when: tuple[tuple[str, tuple[str, ...]], ...] = (),
) -> Knob:
    """Make the knob of one's own video.

    Args:
        limits: Limits of uploads.
        says: What it is for, without a full stop.
        kept: Whether it is kept when the page's server ends.
        when: When the knob is shown.
    """
    size = f"{limits.bytes / 1e6:.0f} MB and {limits.seconds:g} s at most"
    end = "it is kept" if kept else "it is deleted when the page's server ends"
    return Knob(
        name="upload", kind="video", label="Your own video", says=f"{says}: {size}; {end}.",
        choices=tuple((suffix, suffix) for suffix in SUFFIXES), when=when,
    )  # fmt: skip


def page_document(
    sources: ExplorerInputs, limits: UploadLimits, *, bank: dict[str, Any]
) -> dict[str, Any]:
    """Describe the controls, their ranges and their first values, as JSON values."""
    first = {entry.name: getattr(Controls(), entry.name) for entry in fields(Controls)}
    groups = make_groups(sources, limits, animated=bank["animated"] > 0)
    first |= {"background": sources.backgrounds[0], "compare": "", "upload": ""}
    return {
        "groups": [asdict(group) for group in groups],
        "limits": LIMITS,
        "first": first | {"effects": list(first["effects"])},
        "largest_upload": limits.bytes,
        "bank": bank,
    }
