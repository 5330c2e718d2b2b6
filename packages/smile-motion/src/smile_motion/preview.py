"""A page to look at: clips, where their objects go, and which tokens they touch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.clips.clip import Clip
from smile_motion.io.markup import Markup, element, page
from smile_motion.masking.masks import TokenMask, mask_trajectory
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.visualize import COLORS, animation, draw_mask, draw_overlay, draw_tokens


def write_page(
    clips: Sequence[Clip],
    grid: TokenGrid,
    *,
    title: str,
    mask_ratio: float = 0.8,
    rate_hz: float = 8.0,
) -> str:
    """Return one HTML page that shows the clips and masks drawn for them; it needs nothing else."""
    figures = []
    for number, clip in enumerate(clips):
        rng = keyed_generator(0, Stream.MASK, index=number)
        mask = mask_trajectory(rng, grid, mask_ratio, clip.truth.token_coverage(grid))
        figures.append(_figure(clip, number, grid, mask, rate_hz))
    header = element("header", element("h1", title), element("p", _ABOUT))
    return page(title=title, style=_STYLE, body=(header, *figures))


def color_mark(slot: int) -> Markup:
    """A square in an object's colour, which `COLOUR_STYLE` gives it."""
    return element("td", "■", class_=f"object-{slot % len(COLORS)}")


def _figure(clip: Clip, number: int, grid: TokenGrid, mask: TokenMask, rate_hz: float) -> Markup:
    hidden = len(mask.masked) / grid.tokens
    views = (
        ("clip", clip.frames),
        ("paths, boxes, silhouettes", draw_overlay(clip)),
        (f"token coverage, {' x '.join(map(str, grid.shape))}", draw_tokens(clip, grid)),
        (f"trajectory mask, {hidden:.0%} hidden", draw_mask(clip, grid, mask)),
    )
    pictures = (
        element(
            "figure",
            element("img", alt=name, src=animation(frames, rate_hz=rate_hz)),
            element("figcaption", name),
        )
        for name, frames in views
    )
    on = (clip.truth.token_coverage(grid).sum(axis=0) > 0).reshape(-1)
    hidden_on = on[mask.masked].sum() / max(1, on.sum())
    return element(
        "section",
        element("h2", f"clip {number} ", element("small", _origin(clip.origin))),
        element("div", pictures, class_="views"),
        element(
            "table",
            element("tr", (element("th", head) for head in _HEADS)),
            (_row(clip, slot) for slot in range(clip.plan.slots)),
        ),
        element(
            "p",
            f"{on.mean():.0%} of the tokens lie on a trajectory, of these {hidden_on:.0%} are "
            f"hidden.",
        ),
    )


def _origin(origin: dict[str, Any]) -> str:
    words = [str(origin["kind"])]
    if "file" in origin:
        words.append(Path(origin["file"]).name)
    if "frames" in origin:
        first, last = origin["frames"][0], origin["frames"][-1]
        words.append(f"frames {first} to {last}" if last > first else f"frame {first}")
    return ", ".join(words)


def _row(clip: Clip, slot: int) -> Markup:
    plan = clip.plan
    record = clip.truth.bank.record(int(plan.objects[slot]))
    speed = np.linalg.norm(np.diff(plan.centre[slot], axis=0), axis=1) if plan.frames > 1 else [0]
    cells = (
        record["id"],
        f"{plan.base_size[slot].max():.0f}",
        f"{np.mean(speed):.1f}",
        f"{plan.angle_deg[slot].min():.0f} to {plan.angle_deg[slot].max():.0f}",
        f"{plan.scale[slot].min():.2f} to {plan.scale[slot].max():.2f}",
        f"{clip.truth.visible_share[slot].mean():.0%}",
    )
    return element("tr", color_mark(slot), (element("td", cell) for cell in cells))


_HEADS = ("", "object", "side, px", "speed, px a frame", "turn, degrees", "scale", "visible")
_ABOUT = (
    "Each object has a colour. Its centre follows the line, thick where it has been; the thin "
    "frame is the box of its part inside the clip, the outline its whole silhouette, parts that "
    "are hidden included. Tokens are the brighter the more of them the objects cover. A mask "
    "hides a share of the tokens along the paths, then the same positions in every slice; grey is "
    "hidden from the student."
)
COLOR_STYLE = """
.object-0 { color: rgb(255, 196, 0); }
.object-1 { color: rgb(0, 214, 255); }
.object-2 { color: rgb(255, 92, 138); }
.object-3 { color: rgb(122, 230, 96); }
.object-4 { color: rgb(190, 130, 255); }
"""
"""Style of `color_mark`: the same as `COLORS`."""
_STYLE = (
    """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem;
  margin: 0 auto; padding: 1.5rem 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
header p { max-width: 46rem; margin-bottom: 1rem; }
h2 { font-size: 1.1rem; margin: 0 0 .6rem; }
h2 small { font-weight: normal; opacity: .65; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.views { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(14rem, 42%), 1fr));
  gap: 1rem; }
figure { margin: 0; }
img { width: 100%; border-radius: .4rem; display: block; background: var(--soft); }
figcaption, p { font-size: .85rem; opacity: .75; margin: .3rem 0 0; }
table { border-collapse: collapse; font-size: .85rem; margin-top: .8rem;
  display: block; overflow-x: auto; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; white-space: nowrap; }
th { font-weight: normal; opacity: .65; }
"""
    + COLOR_STYLE
)
