"""The explorer's page: controls, what they lead to, and the bank, laid out with Gradio."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.themes import Base

from smile_motion.errors import InputError, in_one_line
from smile_motion.explore.control_panel import ControlPanel
from smile_motion.explore.numbers import numbers_html
from smile_motion.explore.pictures import views_html
from smile_motion.explore.showing import UploadLimits, make_shown
from smile_motion.explore.snippets import clip_command, clip_file, clip_python
from smile_motion.explore.state import Controls, Sources
from smile_motion.explore.views import ALL, BankBrowser, pages
from smile_motion.io.markup import Markup, element
from smile_motion.preview import COLOUR_STYLE

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8") + COLOUR_STYLE
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
    """Calm colours, and the system's fonts: none is fetched."""
    return Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="sm",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build_page(bank: ObjectBank, sources: Sources, limits: UploadLimits) -> gr.Blocks:
    """Lay out the page."""
    with gr.Blocks(
        title="SMILE Motion explorer", analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        gr.HTML(element("h1", "Motion explorer"), elem_id="title")
        with gr.Tab("Motion"):
            _motion_tab(page, bank, sources, limits)
        with gr.Tab("Object bank"):
            _bank_tab(BankBrowser(bank))
    return page


def _motion_tab(page: gr.Blocks, bank: ObjectBank, sources: Sources, limits: UploadLimits) -> None:
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
        except Exception as error:  # whatever it is, the page says it in one line
            return (_problem(error), *[gr.skip()] * 5)

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
            return element("p", _line(error), class_="problem")

    inputs: list[Any] = [category, words, order, number]
    first: list[Callable[..., Any]] = [category.change, words.change, order.change]
    # Another choice starts at its first page.
    gr.on(first, lambda: 1, None, number, show_progress="hidden", api_visibility="private").then(
        browse, inputs, listed, show_progress="hidden", api_visibility="private"
    )
    gr.on(
        [number.change],
        browse, inputs, listed,
        show_progress="hidden", trigger_mode="always_last", api_visibility="private",
    )  # fmt: skip
    listed.value = browse(ALL, "", "best score first", 1)


def _problem(error: Exception) -> Any:
    return gr.update(value=element("p", _line(error)), visible=True)


def _line(error: Exception) -> str:
    if isinstance(error, InputError | OSError):
        return in_one_line(error, length=400)
    traceback.print_exc(file=sys.stderr)
    return f"{type(error).__name__}; the terminal that the explorer runs in says more"
