"""The explorer's page, laid out with Gradio."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import gradio as gr
from gradio.themes import Base

from smile_motion.errors import InputError, in_one_line
from smile_motion.explore.snippets import clip_command, clip_file, clip_python
from smile_motion.explore.state import (
    LARGEST_SEED,
    LARGEST_SIDE_PX,
    MOST_FRAMES,
    MOST_OBJECTS,
    Controls,
    ExplorerInputs,
    UploadLimits,
    make_shown,
)
from smile_motion.explore.views import ALL, BankBrowser, numbers_html, pages, views_html
from smile_motion.io.markup import Markup
from smile_motion.io.options import NoiseKind
from smile_motion.masking.masks import MaskingName
from smile_motion.motion.effects import EFFECTS
from smile_motion.motion.paths import PATHS
from smile_motion.video import SUFFIXES
from smile_motion.visualize import COLOR_STYLE

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8") + COLOR_STYLE
_COPY = """(text) => {{
  navigator.clipboard.writeText(text);
  const button = document.querySelector("#{button}");
  const said = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => {{ button.textContent = said; }}, 1200);
}}"""
_SAVE = """(text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "clip.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


def make_theme() -> Base:
    """Theme of calm colors and the system's fonts, so that none is fetched."""
    return Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="sm",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build_page(bank: ObjectBank, sources: ExplorerInputs, limits: UploadLimits) -> gr.Blocks:
    """Lay out the page.

    Args:
        bank: Objects of the clips.
        sources: Videos and photographs of the backgrounds.
        limits: Limits of uploaded videos.
    """
    with gr.Blocks(
        title="SMILE Motion explorer", analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        gr.HTML(Markup("<h1>Motion explorer</h1>"), elem_id="title")
        with gr.Tab("Motion"):
            _motion_tab(page, bank, sources, limits)
        with gr.Tab("Object bank"):
            _bank_tab(BankBrowser(bank))
    return page


def _motion_tab(
    page: gr.Blocks, bank: ObjectBank, sources: ExplorerInputs, limits: UploadLimits
) -> None:
    with gr.Row(elem_id="motion"):
        with gr.Column(scale=5, min_width=320, elem_id="stage"):
            problem = gr.HTML(elem_id="problem", visible=False)
            views = gr.HTML(elem_id="views")
            numbers = gr.HTML(elem_id="numbers")
            with gr.Row(elem_id="copies"):
                as_command = gr.Button("Copy as command", size="sm", elem_id="copy-command")
                as_python = gr.Button("Copy as Python", size="sm", elem_id="copy-python")
                save = gr.Button("Save plan", size="sm", elem_id="save-plan")
            with gr.Accordion("Command and Python", open=False):
                command = gr.Code(
                    language="shell", label="Command", interactive=False, wrap_lines=True,
                    show_line_numbers=False, lines=1, elem_id="command",
                )  # fmt: skip
                python = gr.Code(
                    language="python", label="Python", interactive=False, wrap_lines=True,
                    show_line_numbers=False, lines=1, elem_id="python",
                )  # fmt: skip
        with gr.Column(scale=3, min_width=300, elem_id="controls"):
            panel = ControlPanel(sources, limits)
    shown = gr.State()
    plan = gr.Textbox(visible="hidden")

    def update(*values: Any) -> tuple[Any, ...]:
        try:
            controls = panel.read(values)
            made = make_shown(controls, sources, bank, limits)
            return (
                gr.update(value="", visible=False),
                views_html(made),
                numbers_html(made),
                clip_command(controls, sources),
                clip_python(controls, sources),
                controls,
            )
        except Exception as error:  # shown on the page in one line
            return (gr.update(value=_problem(error), visible=True), *[gr.skip()] * 5)

    def save_plan(controls: Controls | None) -> str:
        made = controls and make_shown(controls, sources, bank, limits)
        return clip_file(made) if made else ""

    gr.on(
        [page.load, *(control.change for control in panel.inputs)],
        update,
        panel.inputs,
        [problem, views, numbers, command, python, shown],
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    as_command.click(None, command, None, js=_COPY.format(button="copy-command"))
    as_python.click(None, python, None, js=_COPY.format(button="copy-python"))
    save.click(save_plan, shown, plan, show_progress="hidden", api_visibility="private").then(
        None, plan, None, js=_SAVE
    )


def _bank_tab(browser: BankBrowser) -> None:
    with gr.Row():
        category = gr.Dropdown(browser.categories, value=ALL, label="Category", min_width=200)
        words = gr.Textbox(label="Name contains", max_length=100, min_width=200)
        order = gr.Dropdown(
            ["best score first", "lowest score first", "by id"],
            value="best score first", label="Order", min_width=200,
        )  # fmt: skip
        number = gr.Number(1, label="Page", precision=0, minimum=1, min_width=200)
    listed = gr.HTML(elem_id="objects")

    def browse(chosen: str, said: str, sorting: Any, page_number: float | None) -> Markup:
        try:
            found = browser.find(chosen, said, sorting)
            place = min(max(int(page_number or 1), 1), pages(found))
            return browser.page_html(found, place)
        except Exception as error:
            return _problem(error)

    inputs: list[Any] = [category, words, order, number]
    first: list[Callable[..., Any]] = [category.change, words.change, order.change]
    # A changed choice starts at its first page.
    gr.on(first, lambda: 1, None, number, show_progress="hidden", api_visibility="private").then(
        browse, inputs, listed, show_progress="hidden", api_visibility="private"
    )
    gr.on(
        [number.change],
        browse, inputs, listed,
        show_progress="hidden", trigger_mode="always_last", api_visibility="private",
    )  # fmt: skip
    listed.value = browse(ALL, "", "best score first", 1)


def _problem(error: Exception) -> Markup:
    return Markup('<p class="problem">{}</p>').format(_line(error))


def _line(error: Exception) -> str:
    if isinstance(error, InputError | OSError):
        return in_one_line(error, length=400)
    traceback.print_exc(file=sys.stderr)
    return f"{type(error).__name__}; the terminal that the explorer runs in says more"


_SCENERY = {
    "noise": "noise",
    "black": "black",
    "natural": "video",
    "frame": "one frame of a video",
    "places": "photograph",
}


class ControlPanel:
    """Component for every field of `Controls`, laid out in the current Gradio column."""

    def __init__(self, sources: ExplorerInputs, limits: UploadLimits) -> None:
        """Lay out the controls with their defaults."""
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
        """Component of every field of `Controls`, in order."""
        # In the browser, because the change that follows makes a round trip already.
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
        """Convert the values of `inputs` to controls.

        Raises:
            InputError: The values do not fit each other.
        """
        given = {
            name: value
            for name, value in zip(self._names, values, strict=True)
            if value is not None  # an empty field has its default
        }
        given["effects"] = tuple(given.get("effects", ()))
        if "upload" in given:
            given["upload"] = Path(given["upload"])
        for name in ("objects", "stride", "frames", "side", "seed"):
            if name in given:
                given[name] = int(given[name])
        return Controls(**given)
