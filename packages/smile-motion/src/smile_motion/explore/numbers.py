"""The numbers of a clip: how fast, how large, how much is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smile_motion.clips.clip import Clip
from smile_motion.explore.showing import Shown
from smile_motion.io.markup import Markup, element
from smile_motion.preview import colour_mark


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipNumbers:
    """Means over a clip of K objects."""

    names: tuple[str, ...]
    """Each object's id in the bank."""
    speed_px: np.ndarray
    """(K,) speed of the centre, pixels a frame."""
    coverage: np.ndarray
    """(K,) share of the frame where the object is seen."""
    occlusion: np.ndarray
    """(K,) share of the silhouette inside the frame that other objects hide."""
    visible: np.ndarray
    """(K,) share of the whole silhouette that is seen, parts outside counted as not."""
    all_coverage: float
    """Share of the frame that objects cover together."""


def measure_clip(clip: Clip) -> ClipNumbers:
    """Measure a clip by its truth."""
    plan, truth = clip.plan, clip.truth
    speed = np.zeros(plan.slots)
    if plan.frames > 1:
        speed = np.linalg.norm(np.diff(plan.centre, axis=1), axis=2).mean(axis=1)
    seen = np.bincount(truth.ids.ravel(), minlength=plan.slots + 1)[1:]
    inside = np.array([truth.silhouette(slot).sum() for slot in range(plan.slots)], np.int64)
    return ClipNumbers(
        names=tuple(truth.bank.record(int(index))["id"] for index in plan.objects),
        speed_px=speed,
        coverage=seen / truth.ids.size,
        occlusion=(inside - seen) / np.maximum(inside, 1),
        visible=truth.visible_share.mean(axis=1),
        all_coverage=float((truth.ids > 0).mean()),
    )


def numbers_html(shown: Shown) -> Markup:
    """The numbers as a table and two sentences."""
    numbers = measure_clip(shown.clip)
    rows = []
    for slot, name in enumerate(numbers.names):
        cells = (
            name,
            f"{numbers.speed_px[slot]:.1f}",
            f"{numbers.coverage[slot]:.1%}",
            f"{numbers.occlusion[slot]:.0%}",
            f"{numbers.visible[slot]:.0%}",
        )
        rows.append(element("tr", colour_mark(slot), (element("td", cell) for cell in cells)))
    on = shown.clip.truth.token_coverage(shown.grid).sum(axis=0).ravel() > 0
    hidden = len(shown.mask.masked) / shown.grid.tokens
    sentence = f"Objects cover {numbers.all_coverage:.1%} of the frame. "
    sentence += f"{hidden:.0%} of the {shown.grid.tokens} tokens are hidden"
    if on.any():
        share = on[shown.mask.masked].sum() / on.sum()
        sentence += (
            f"; {on.mean():.0%} of all lie on a trajectory, and of these {share:.0%} are hidden"
        )
    head = element("tr", (element("th", said) for said in _HEADS))
    table = element("div", element("table", head, rows), class_="scroll") if rows else None
    return element("div", table, element("p", f"{sentence}."), class_="numbers")


_HEADS = ("", "object", "speed, px a frame", "coverage", "occlusion", "visible")
