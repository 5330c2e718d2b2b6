"""Complete settings of published ways to make objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from smile_motion.bank.candidates.score import DEFAULT_MODEL, TEXT
from smile_motion.bank.candidates.types import Thresholds

PresetName = Literal["xpaste", "modern"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a build uses where no option says otherwise."""

    name: PresetName
    """What the card calls it."""
    model: str | None
    """Folder or hub name of the diffusion model; None asks for one."""
    prompt: str
    """With `{name}` and perhaps `{definition}`."""
    steps: int | None
    """Denoising steps; None takes the model's own."""
    guidance: float | None
    """Guidance scale; None takes the model's own."""
    size_px: int | None
    """Side of the images; None takes the model's own."""
    segmenters: tuple[str, ...]
    """As `open_segmenter` reads them."""
    scorer: str = DEFAULT_MODEL
    """As `open_clip_model` reads it."""
    scorer_text: str = TEXT
    """What cut-outs are compared with."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """What candidates must reach."""
    fill_holes: bool = False
    """Fill what the outer contour encloses."""
    licence: str
    """What the card says of the images' licence, unless `--licence` says it."""


XPASTE = Preset(
    name="xpaste",
    model="stable-diffusion-v1-5/stable-diffusion-v1-5",
    prompt="a photo of a single {name}",
    steps=50,
    guidance=7.5,
    size_px=512,
    segmenters=("clipseg",),
    fill_holes=True,
    licence="made with Stable Diffusion 1.5, whose CreativeML Open RAIL-M licence restricts the "
    "use of its images",
)
"""X-Paste (Zhao et al., ICML 2023), as its authors ran it; its saliency models U2Net, UFO and
SelfReformer are files: add what there is of them with `--segmenter`."""

MODERN = Preset(
    name="modern",
    model=None,
    prompt="a photo of a single {name}, {definition}, in a white background",
    steps=None,
    guidance=None,
    size_px=None,
    segmenters=("clipseg",),
    licence="as the licence of the diffusion model says of its images",
)
"""Any newer model, with DiverGen's prompt (Fan et al., CVPR 2024), whose white background is easily
told from the object; add ISNet or BiRefNet with `--segmenter`."""

PRESETS: dict[PresetName, Preset] = {"xpaste": XPASTE, "modern": MODERN}
"""By name."""
