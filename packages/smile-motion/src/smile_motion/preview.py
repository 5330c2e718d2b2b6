"""Preview page: clips in the player, with their truth, token coverage and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smile_motion.clips.clip import Clip
from smile_motion.io.markup import render_html
from smile_motion.masking.masks import mask_trajectory
from smile_motion.player import clip_document, describe_origin
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid


def write_page(
    clips: Sequence[Clip],
    grid: TokenGrid | None,
    *,
    title: str,
    mask_ratio: float = 0.8,
    rate_hz: float = 8.0,
) -> str:
    """Show clips and trajectory masks drawn for them on one HTML page that needs no other file.

    Args:
        clips: Clips of the grid's frames and size.
        grid: Tokens that coverage and masks are drawn on; None draws neither.
        title: Title of the page.
        mask_ratio: Share of the tokens to hide, 0 to 1.
        rate_hz: Frames per second.

    Returns:
        The page's HTML.
    """
    return render_html(
        Path(__file__).with_name("preview.html"),
        title=title,
        clips=[
            json.dumps(_describe(clip, number, grid, mask_ratio, rate_hz), ensure_ascii=False)
            for number, clip in enumerate(clips)
        ],
    )


def _describe(
    clip: Clip, number: int, grid: TokenGrid | None, mask_ratio: float, rate_hz: float
) -> dict[str, Any]:
    mask = None
    if grid is not None:
        rng = keyed_generator(0, Stream.MASK, index=number)
        mask = mask_trajectory(rng, grid, mask_ratio, clip.truth.token_coverage(grid))
    note = describe_origin(clip.origin)
    return clip_document(clip, grid, mask, title=f"clip {number}", note=note, rate_hz=rate_hz)
