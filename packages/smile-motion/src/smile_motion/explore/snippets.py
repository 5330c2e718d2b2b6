"""Convert the shown clip to a command, to Python and to a JSON file."""

from __future__ import annotations

import json
import pprint
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from smile_motion.clips.options import ClipOptions, given_banks
from smile_motion.explore.state import Controls, ExplorerInputs, Shown

RECIPE_FILE = "recipe.json"
"""File of a recipe that options cannot express."""
YOUR_VIDEO = "YOUR_VIDEO"
"""Placeholder of an uploaded video that is deleted when the page closes."""


def clip_command(controls: Controls, sources: ExplorerInputs) -> str:
    """Shell command that renders the shown clip, with its truth, into the folder `clip`.

    `YOUR_VIDEO` stands for an uploaded video that is deleted when the page closes; a comment
    before the command says so. Where uploads are kept, the command names the file.
    """
    options = _lasting(controls, sources)
    recipe = controls.make_recipe()
    before = ""
    if options.make_recipe() != recipe:
        text = shlex.quote(json.dumps(recipe.to_json()))
        before = f"printf '%s' {text} > {RECIPE_FILE} && "
        plain = ClipOptions()
        options = replace(
            options,
            recipe_file=Path(RECIPE_FILE),
            **{
                name: getattr(plain, name)
                for name in ("recipe", "path", "objects", "effects", "camera", "animation")
            },
        )
    words = ["smile-motion", "render", *options.arguments(), "--n", "1", "--out", "clip"]
    return _what_to_replace(controls, sources) + before + shlex.join(words)


def compared_command(controls: Controls, sources: ExplorerInputs) -> str:
    """Shell command of the clip beside the shown one, into the folder `compared`."""
    options = _absolute(controls.compared_options(sources), controls, sources)
    words = ["smile-motion", "render", *options.arguments(), "--n", "1", "--out", "compared"]
    before = _what_to_replace(controls, sources) if options.videos is not None else ""
    return before + shlex.join(words)


def clip_python(controls: Controls, sources: ExplorerInputs) -> str:
    """Python code that assigns the shown clip to `clip`; for uploads see `clip_command`."""
    options = _lasting(controls, sources)
    recipe = controls.make_recipe()
    named = options.make_recipe() == recipe
    made = _call("MotionRecipe.named", [repr(options.recipe)], options, _NAMED)
    if not named:
        made = f"MotionRecipe.from_json(\n{_indented(recipe.to_json())}\n)"
    background = _call("make_background", [repr(options.background_kind)], options, _BACKGROUND)
    opener = "embedded_bank" if options.bank is None else "open_bank"
    bank = f"{opener}({', '.join(repr(str(path)) for path in given_banks(options.bank))})"
    names = ["ClipMaker", "MotionRecipe", "TokenGrid", "make_background", opener]
    chosen = {name: value for name, field in _DRAWS.items() if (value := getattr(options, field))}
    if chosen:
        given = "".join(f", {name}={value!r}" for name, value in chosen.items())
        bank, names = f"draw_from({bank}{given})", [*names, "draw_from"]
    return _what_to_replace(controls, sources) + "\n".join(
        [
            *(["from pathlib import Path", ""] if "Path(" in background else []),
            f"from smile_motion import {', '.join(sorted(names))}",
            "",
            f"recipe = {made}",
            "maker = ClipMaker(",
            f"    bank={bank},",
            "    recipe=recipe,",
            f"    background={background},",
            f"    frames={options.frames},",
            f"    size={options.frame_size},",
            f"    seed={options.seed},",
            ")",
            "clip = maker.make(0)  # clip.frames, clip.plan, clip.truth",
            f"grid = TokenGrid(frames={options.frames}, height={options.size}, "
            f"width={options.size})",
            "coverage = clip.truth.token_coverage(grid)  # what masks follow",
        ]
    )


def clip_file(shown: Shown) -> str:
    """JSON of the clip: plan, background and truth.

    `smile_motion.read_clip` renders it; `smile_motion.read_plan` reads the plan alone.
    """
    from smile_motion.clips.clip import clip_json

    return json.dumps(clip_json(shown.maker, 0, shown.clip))


_DRAWS = {
    "categories": "categories",
    "exclude": "exclude_categories",
    "weights": "bank_weights",
}
"""Arguments of `draw_from` and their options."""
_NAMED = ("objects", "path", "effects", "camera", "animation")
_BACKGROUND = ("videos", "images", "stride", "noise")


def _call(function: str, arguments: list[str], options: ClipOptions, names: tuple[str, ...]) -> str:
    """Python call with the options that differ from their defaults."""
    given = list(arguments)
    for entry in fields(options):
        value = getattr(options, entry.name)
        if entry.name in names and value != entry.default:
            said = f"Path({str(value)!r})" if isinstance(value, Path) else repr(value)
            given.append(f"{entry.name}={said}")
    return f"{function}({', '.join(given)})"


def _lasting(controls: Controls, sources: ExplorerInputs) -> ClipOptions:
    """Options of the shown clip with absolute paths and without uploads that will be gone."""
    return _absolute(controls.clip_options(sources), controls, sources)


def _absolute(options: ClipOptions, controls: Controls, sources: ExplorerInputs) -> ClipOptions:
    places = {name: getattr(options, name) for name in ("videos", "images")}
    lasting: dict[str, Any] = {name: path and path.resolve() for name, path in places.items()}
    banks = tuple(path.resolve() for path in given_banks(options.bank))
    lasting["bank"] = banks if len(banks) > 1 else next(iter(banks), None)
    if _is_lost(controls, sources) and options.videos is not None:
        lasting["videos"] = Path(YOUR_VIDEO)
    return replace(options, **lasting)


def _is_lost(controls: Controls, sources: ExplorerInputs) -> bool:
    return controls.upload is not None and sources.uploads is None


def _what_to_replace(controls: Controls, sources: ExplorerInputs) -> str:
    """Comment, for shell and Python, on the placeholder of an upload; empty without one."""
    if controls.upload is None or not _is_lost(controls, sources):
        return ""
    name = " ".join(controls.upload.name.split())
    return f"# {YOUR_VIDEO}: put the path of the video here that was uploaded as {name}\n"


def _indented(data: object) -> str:
    lines = pprint.pformat(data, width=96, sort_dicts=False).splitlines()
    return "\n".join(f"    {line}" for line in lines)
