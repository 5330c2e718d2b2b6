"""The controls as Gradio components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from smile_motion.choices import NoiseKind
from smile_motion.explore.showing import UploadLimits
from smile_motion.explore.state import (
    LARGEST_SEED,
    LARGEST_SIDE_PX,
    MOST_FRAMES,
    MOST_OBJECTS,
    Controls,
    Sources,
)
from smile_motion.masking.masks import MaskingName
from smile_motion.motion.effects import EFFECTS
from smile_motion.motion.paths import PATHS
from smile_motion.video import SUFFIXES

_SCENERY = {
    "noise": "noise",
    "black": "black",
    "natural": "video",
    "frame": "one frame of a video",
    "places": "photograph",
}


class ControlPanel:
    """Lays out a component for every field of `Controls`, inside the Gradio column that is open."""

    def __init__(self, sources: Sources, limits: UploadLimits) -> None:
        """Lay out the controls at their defaults."""
        plain = Controls()
        made: dict[str, Any] = {}

        def slide(name: str, label: str, low: float, high: float, step: float, **more: Any) -> None:
            made[name] = gr.Slider(
                low, high, value=getattr(plain, name), step=step, label=label,
                elem_id=f"control-{name}", **more,
            )  # fmt: skip

        def choose(name: str, label: str, choices: Sequence[Any], **more: Any) -> None:
            made[name] = gr.Dropdown(
                list(choices), label=label, elem_id=f"control-{name}",
                **{"value": getattr(plain, name)} | more,
            )  # fmt: skip

        with gr.Row():
            made["seed"] = gr.Number(
                plain.seed, label="Clip", precision=0, minimum=0, maximum=LARGEST_SEED,
                elem_id="control-seed", min_width=100,
            )  # fmt: skip
            another = gr.Button("Another clip", variant="primary", elem_id="another", min_width=120)
        choose("recipe", "Recipe", [("paper", "paper"), ("published code", "official")])
        slide("objects", "Objects", 0, MOST_OBJECTS, 1)
        with gr.Accordion("Path", open=True):
            choose("path", "Kind of path", tuple(PATHS))
            with gr.Group() as gaussian:
                slide("smoothness", "Smoothness", 0.5, 24, 0.5)
                slide("shortest_px", "Extent from, px", 0, 224, 1)
                slide("longest_px", "Extent to, px", 0, 224, 1)
        with gr.Accordion("Size, rotation, scale", open=True):
            slide("smallest_px", "Size from, px", 8, 224, 1)
            slide("largest_px", "Size to, px", 8, 224, 1)
            with gr.Group() as keyframes:
                slide("rotation_deg", "Rotation up to, degrees", 0, 180, 1)
                slide("smallest_scale", "Scale from", 0.1, 3, 0.05)
                slide("largest_scale", "Scale to", 0.1, 3, 0.05)
            with gr.Group(visible=False) as rates:
                slide("turn_deg", "Turn up to, degrees a frame", 0, 30, 0.5)
                slide("growth", "Growth up to, a frame", 0, 0.2, 0.005)
        with gr.Accordion("Background", open=True):
            kinds = [(_SCENERY[kind], kind) for kind in sources.backgrounds]
            first = sources.backgrounds[0]
            choose("background", "Background", kinds, value=first)
            choose("noise", "Kind of noise", get_args(NoiseKind), visible=first == "noise")
            made["upload"] = gr.File(
                file_types=list(SUFFIXES), type="filepath", elem_id="control-upload", height=140,
                label=f"Your own video ({limits.bytes / 1e6:.0f} MB, {limits.seconds:g} s at most)",
            )  # fmt: skip
            with gr.Group(visible=sources.videos is not None) as film:
                slide("stride", "Stride, video frames", 1, 16, 1)
                made["upload_still"] = gr.Checkbox(
                    plain.upload_still, label="One frame of the upload, repeated",
                    elem_id="control-upload_still",
                )  # fmt: skip
        with gr.Accordion("Effects", open=False):
            made["effects"] = gr.CheckboxGroup(
                [(name.replace("-", " "), name) for name in EFFECTS], value=[],
                label="Effects", elem_id="control-effects",
            )  # fmt: skip
            slide("shutter", "Shutter of motion blur", 0.05, 1, 0.05)
        with gr.Accordion("Token mask and frame", open=True):
            choose("masking", "Masking", get_args(MaskingName))
            slide("mask_ratio", "Mask ratio", 0.05, 0.95, 0.05)
            choose("frames", "Frames", [8, 16, MOST_FRAMES])
            choose("side", "Side, px", [112, 224, 336, LARGEST_SIDE_PX])
        self._names = [field.name for field in fields(Controls)]
        self.inputs = [made[name] for name in self._names]
        """A component for every field of `Controls`, in order."""
        # In the browser, because the change that follows is a round trip already.
        another.click(
            None, made["seed"], made["seed"], js=f"(seed) => ((seed || 0) + 1) % {LARGEST_SEED}"
        )
        gr.on(
            [made[name].change for name in ("recipe", "path", "background", "upload")],
            lambda recipe, path, background, upload: (
                gr.update(visible=path == "gaussian"),
                gr.update(visible=recipe == "paper"),
                gr.update(visible=recipe == "official"),
                gr.update(visible=not upload),
                gr.update(visible=background == "noise" and not upload),
                gr.update(visible=bool(upload) or background in ("natural", "frame")),
            ),
            [made[name] for name in ("recipe", "path", "background", "upload")],
            [gaussian, keyframes, rates, made["background"], made["noise"], film],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    def read(self, values: Sequence[Any]) -> Controls:
        """The controls as `inputs` have them.

        Raises InputError when they do not go together.
        """
        given = {
            name: value
            for name, value in zip(self._names, values, strict=True)
            if value is not None  # an emptied field has its default
        }
        given["effects"] = tuple(given.get("effects", ()))
        if "upload" in given:
            given["upload"] = Path(given["upload"])
        for name in ("objects", "stride", "frames", "side", "seed"):
            if name in given:
                given[name] = int(given[name])
        return Controls(**given)
