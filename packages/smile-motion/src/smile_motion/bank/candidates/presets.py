"""Presets: complete settings of published methods of making objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from smile_motion.bank.candidates.score import DEFAULT_MODEL, TEXT
from smile_motion.bank.candidates.types import Thresholds

PresetName = Literal["xpaste", "modern"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of a build that options do not override."""

    name: PresetName
    """Name of the preset, in options and cards."""
    model: str | None
    """Folder or hub name of the diffusion model; None requires an option."""
    prompt: str
    """Template with `{name}` and optionally `{definition}`."""
    steps: int | None
    """Denoising steps; None means the model's own."""
    guidance: float | None
    """Guidance scale; None means the model's own."""
    size_px: int | None
    """Side of the images; None means the model's own."""
    segmenters: tuple[str, ...]
    """Segmenters, as `open_segmenter` reads them."""
    scorer: str = DEFAULT_MODEL
    """CLIP model of the scores, as `open_clip_model` reads it."""
    scorer_text: str = TEXT
    """Text that cut-outs are compared with."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """Thresholds that candidates must reach."""
    fill_holes: bool = False
    """Fill what the outer contour encloses."""
    licence: str
    """License of the images, for the card."""


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
"""X-Paste (Zhao et al., ICML 2023) as its authors ran it, with CLIPSeg alone; add its saliency
models U2Net, UFO and SelfReformer, which are files, with `--segmenter`."""

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
"""Any newer model with DiverGen's prompt (Fan et al., CVPR 2024), whose white background is easily
separated from the object; add ISNet or BiRefNet with `--segmenter`."""

PRESETS: dict[PresetName, Preset] = {"xpaste": XPASTE, "modern": MODERN}
"""Presets by name."""
