"""HTML of the explorer: a clip's animations and numbers, and the bank's objects."""

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
"""Frames per second of the animations."""
QUALITY = 75
"""WebP quality, 0 to 100; encoding takes most of the time."""


def views_html(shown: Shown) -> Markup:
    """Show four animations: the clip, its truth, its mask and its flow."""
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
        reach = f"{flow_reach(vectors):.0f} px a frame at full color"
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
    """Statistics of a clip of K objects, averaged over its frames."""

    names: tuple[str, ...]
    """Id of each object in the bank."""
    speed_px: np.ndarray
    """(K,) speed of the center, pixels per frame."""
    coverage: np.ndarray
    """(K,) share of the frame that is visibly covered by the object."""
    occlusion: np.ndarray
    """(K,) share of the silhouette inside the frame that other objects occlude."""
    visible: np.ndarray
    """(K,) visible share of the whole silhouette, with parts outside the frame."""
    all_coverage: float
    """Share of the frame that all objects cover together."""


def measure_clip(clip: Clip) -> ClipNumbers:
    """Measure a clip from its truth."""
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
    """Show the numbers of a clip as a table and two sentences."""
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
"""Objects per page."""
THUMBNAIL_PX = 112
"""Side of an object's thumbnail, pixels."""
ALL = "all categories"
"""Choice of all categories."""

Order = Literal["best score first", "lowest score first", "by id"]


@dataclass(frozen=True)
class ListedObject:
    """An object in a list."""

    index: int
    """Number in the bank."""
    name: str
    """Id."""
    category: str
    """Category."""
    score: float | None
    """CLIP score; None where the bank has none, as for procedural objects."""


class BankBrowser:
    """Lists and shows the objects of a bank; records are read on first use."""

    def __init__(self, bank: ObjectBank) -> None:
        """Browse `bank`."""
        self.bank = bank

    @property
    def categories(self) -> list[str]:
        """`ALL`, then all categories, sorted."""
        return [ALL, *self.bank.categories]

    def find(
        self, category: str = ALL, words: str = "", order: Order = "best score first"
    ) -> list[ListedObject]:
        """Find objects.

        Args:
            category: Category, or `ALL`.
            words: Text that the id or the category contains.
            order: Order of the objects; those without score come last.
        """
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
        """Show one page, counted from 1, of the objects that `find` returned."""
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
    """Number of pages of a list, at least 1."""
    return max(1, -(-len(found) // ON_A_PAGE))
