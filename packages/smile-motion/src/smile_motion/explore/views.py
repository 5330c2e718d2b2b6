"""What the explorer shows of a clip: its pictures, its numbers, and the bank's objects."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from smile_motion.bank.statistics import object_score
from smile_motion.clips.clip import Clip
from smile_motion.explore.state import Shown
from smile_motion.io.markup import Markup, render_html
from smile_motion.visualize import (
    COLORS,
    draw_flow,
    draw_mask,
    draw_overlay,
    encode_base64,
    flow_reach,
)

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


_HERE = Path(__file__).parent
RATE_HZ = 8.0
"""Frames a second."""
QUALITY = 75
"""Of the pictures, of 100: in time, what decides is encoding them."""


def views_html(shown: Shown) -> Markup:
    """Four animations: the clip, what is true of it, its mask, its flow."""
    clip = shown.clip
    views = [
        ("clip", "Clip", clip.frames),
        ("overlay", "Trajectories, boxes, polygons", draw_overlay(clip)),
        (
            "mask",
            f"Token mask, {len(shown.mask.masked) / shown.grid.tokens:.0%} hidden",
            draw_mask(clip, shown.grid, shown.mask),
        ),
    ]
    if clip.plan.frames > 1:
        vectors = clip.truth.flow().vectors
        reach = f"{flow_reach(vectors):.0f} px a frame at full colour"
        views.append(("flow", f"Optical flow, {reach}", draw_flow(vectors)))
    # Pillow encodes without the interpreter's lock.
    with ThreadPoolExecutor(len(views)) as pool:
        encoded = pool.map(
            lambda view: encode_base64(view[2], rate_hz=RATE_HZ, quality=QUALITY), views
        )
        shown_views = [
            {"name": name, "title": title, "picture": picture}
            for (name, title, _), picture in zip(views, encoded, strict=True)
        ]
    return render_html(_HERE / "views.html", views=shown_views)


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
    objects = [
        (
            slot % len(COLORS),
            (
                name,
                f"{numbers.speed_px[slot]:.1f}",
                f"{numbers.coverage[slot]:.1%}",
                f"{numbers.occlusion[slot]:.0%}",
                f"{numbers.visible[slot]:.0%}",
            ),
        )
        for slot, name in enumerate(numbers.names)
    ]
    on = shown.clip.truth.token_coverage(shown.grid).sum(axis=0).ravel() > 0
    hidden = len(shown.mask.masked) / shown.grid.tokens
    sentence = f"Objects cover {numbers.all_coverage:.1%} of the frame. "
    sentence += f"{hidden:.0%} of the {shown.grid.tokens} tokens are hidden"
    if on.any():
        share = on[shown.mask.masked].sum() / on.sum()
        sentence += (
            f"; {on.mean():.0%} of all lie on a trajectory, and of these {share:.0%} are hidden"
        )
    return render_html(_HERE / "numbers.html", objects=objects, sentence=f"{sentence}.")


ON_A_PAGE = 24
"""Objects shown at a time."""
THUMBNAIL_PX = 112
"""Side of an object's picture."""
ALL = "all categories"
"""The choice of no category."""

Order = Literal["best score first", "lowest score first", "by id"]


@dataclass(frozen=True)
class ListedObject:
    """An object of the list."""

    index: int
    """Its number in the bank."""
    name: str
    """Its id."""
    category: str
    """What it is of."""
    score: float | None
    """Its CLIP score; None where the bank's source gives none, as of procedural objects."""


class BankBrowser:
    """Lists and draws the objects of a bank; records are read when first asked for."""

    def __init__(self, bank: ObjectBank) -> None:
        """Keep the bank."""
        self.bank = bank

    @property
    def categories(self) -> list[str]:
        """`ALL`, then the categories by name."""
        return [ALL, *self.bank.categories]

    def find(
        self, category: str = ALL, words: str = "", order: Order = "best score first"
    ) -> list[ListedObject]:
        """The objects of a category whose id or category holds the words, in order."""
        wanted = words.strip().lower().replace(" ", "_")
        found = [
            entry
            for entry in self._listed
            if category in (ALL, entry.category)
            and (wanted in entry.name.lower() or wanted in entry.category.lower())
        ]
        if order == "by id":
            return found
        sign = -1 if order == "best score first" else 1
        # Objects without a score come last, by id.
        return sorted(found, key=lambda entry: (entry.score is None, sign * (entry.score or 0)))

    def page_html(self, found: Sequence[ListedObject], page: int) -> Markup:
        """Draw one page, counted from 1, of what `find` returned."""
        start = (page - 1) * ON_A_PAGE
        return render_html(
            _HERE / "objects.html",
            objects=[self._describe(entry) for entry in found[start : start + ON_A_PAGE]],
            first=start + 1,
            total=len(found),
        )

    def _describe(self, entry: ListedObject) -> dict[str, str]:
        record = self.bank.record(entry.index)
        return {
            "name": entry.name,
            "picture": self._picture(entry.index),
            "score": "no score" if entry.score is None else f"score {entry.score:.1f}",
            "size": f"{record.get('width', '?')}×{record.get('height', '?')}",
        }

    @cached_property
    def _listed(self) -> tuple[ListedObject, ...]:
        return tuple(
            ListedObject(index, record["id"], record["category"], object_score(record))
            for index, record in enumerate(self.bank.records())
        )

    def _picture(self, index: int) -> str:
        import cv2

        from smile_motion.bank.contact_sheet import thumbnail

        picture = thumbnail(self.bank.image(index), THUMBNAIL_PX)
        data = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 85])[1]
        return base64.b64encode(data.tobytes()).decode()


def pages(found: Sequence[ListedObject]) -> int:
    """Pages that a list takes, at least 1."""
    return max(1, -(-len(found) // ON_A_PAGE))
