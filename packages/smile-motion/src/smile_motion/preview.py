"""Preview page: clips, the paths of their objects, token coverage and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.clips.clip import Clip
from smile_motion.io.markup import render_html
from smile_motion.masking.masks import mask_trajectory
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.visualize import (
    COLOR_STYLE,
    COLORS,
    draw_mask,
    draw_overlay,
    draw_tokens,
    encode_base64,
)


def write_page(
    clips: Sequence[Clip],
    grid: TokenGrid,
    *,
    title: str,
    mask_ratio: float = 0.8,
    rate_hz: float = 8.0,
) -> str:
    """Show clips and trajectory masks drawn for them on one HTML page that needs no other file.

    Args:
        clips: Clips of the grid's frames and size.
        grid: Tokens that coverage and masks are drawn on.
        title: Title of the page.
        mask_ratio: Share of the tokens to hide, 0 to 1.
        rate_hz: Frames per second of the animations.

    Returns:
        The page's HTML.
    """
    return render_html(
        Path(__file__).with_name("preview.html"),
        title=title,
        clips=[
            _describe(clip, number, grid, mask_ratio, rate_hz) for number, clip in enumerate(clips)
        ],
        color_style=COLOR_STYLE,
    )


def _describe(
    clip: Clip, number: int, grid: TokenGrid, mask_ratio: float, rate_hz: float
) -> dict[str, Any]:
    """Values of one clip for the page's template."""
    coverage = clip.truth.token_coverage(grid)
    mask = mask_trajectory(
        keyed_generator(0, Stream.MASK, index=number), grid, mask_ratio, coverage
    )
    views = {
        "clip": clip.frames,
        "paths, boxes, silhouettes": draw_overlay(clip),
        f"token coverage, {' x '.join(map(str, grid.shape))}": draw_tokens(clip, grid),
        f"trajectory mask, {len(mask.masked) / grid.tokens:.0%} hidden": draw_mask(
            clip, grid, mask
        ),
    }
    on = (coverage.sum(axis=0) > 0).reshape(-1)
    return {
        "origin": _origin(clip.origin),
        "pictures": [
            (name, encode_base64(frames, rate_hz=rate_hz)) for name, frames in views.items()
        ],
        "objects": [(slot % len(COLORS), _cells(clip, slot)) for slot in range(clip.plan.slots)],
        "on_trajectory": f"{on.mean():.0%}",
        "masked": f"{on[mask.masked].sum() / max(1, on.sum()):.0%}",
    }


def _origin(origin: dict[str, Any]) -> str:
    words = [str(origin["kind"])]
    if "file" in origin:
        words.append(Path(origin["file"]).name)
    if "frames" in origin:
        first, last = origin["frames"][0], origin["frames"][-1]
        words.append(f"frames {first} to {last}" if last > first else f"frame {first}")
    return ", ".join(words)


def _cells(clip: Clip, slot: int) -> tuple[str, ...]:
    plan = clip.plan
    record = clip.truth.bank.record(int(plan.objects[slot]))
    speed = np.linalg.norm(np.diff(plan.centre[slot], axis=0), axis=1) if plan.frames > 1 else [0]
    return (
        record["id"],
        f"{plan.base_size[slot].max():.0f}",
        f"{np.mean(speed):.1f}",
        f"{plan.angle_deg[slot].min():.0f} to {plan.angle_deg[slot].max():.0f}",
        f"{plan.scale[slot].min():.2f} to {plan.scale[slot].max():.2f}",
        f"{clip.truth.visible_share[slot].mean():.0%}",
    )
