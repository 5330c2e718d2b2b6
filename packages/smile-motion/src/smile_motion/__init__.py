"""Object banks and moving-object video clips with exact truth.

Example:

    from smile_motion import ClipMaker, MotionRecipe, embedded_bank, make_background

    maker = ClipMaker(bank=embedded_bank(), recipe=MotionRecipe.paper(),
                      background=make_background("noise"), seed=7)
    clip = maker.make(0)        # clip.frames, clip.plan, clip.truth
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smile_motion.backgrounds import make_background
    from smile_motion.bank import ObjectBank, draw_from, embedded_bank, open_bank
    from smile_motion.clips.clip import Clip, ClipMaker, read_clip
    from smile_motion.clips.overlay import MotionOverlay
    from smile_motion.errors import InputError
    from smile_motion.motion.plan import MotionPlan
    from smile_motion.motion.plan_json import plan_from_json, plan_to_json, read_plan
    from smile_motion.motion.recipe import MotionRecipe
    from smile_motion.renderer.cpu import render
    from smile_motion.renderer.device import DeviceRenderer
    from smile_motion.tokens import TokenGrid
    from smile_motion.truth.instances import Truth

    __version__: str
    """Version of the installed distribution."""

__all__ = [
    "Clip",
    "ClipMaker",
    "DeviceRenderer",
    "InputError",
    "MotionOverlay",
    "MotionPlan",
    "MotionRecipe",
    "ObjectBank",
    "TokenGrid",
    "Truth",
    "draw_from",
    "embedded_bank",
    "make_background",
    "open_bank",
    "plan_from_json",
    "plan_to_json",
    "read_clip",
    "read_plan",
    "render",
]

_HOMES = {
    "Clip": "clips.clip",
    "ClipMaker": "clips.clip",
    "DeviceRenderer": "renderer.device",
    "InputError": "errors",
    "MotionOverlay": "clips.overlay",
    "MotionPlan": "motion.plan",
    "MotionRecipe": "motion.recipe",
    "ObjectBank": "bank",
    "TokenGrid": "tokens",
    "Truth": "truth.instances",
    "draw_from": "bank",
    "embedded_bank": "bank",
    "make_background": "backgrounds",
    "open_bank": "bank",
    "read_clip": "clips.clip",
    "plan_from_json": "motion.plan_json",
    "plan_to_json": "motion.plan_json",
    "read_plan": "motion.plan_json",
    "render": "renderer.cpu",
}


def __dir__() -> list[str]:
    """Return the public names, whether they have been imported yet or not."""
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line starts at once."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"smile_motion.{_HOMES[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("smile-motion")
    raise AttributeError(f"module 'smile_motion' has no attribute {name!r}")
