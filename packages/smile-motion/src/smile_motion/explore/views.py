"""The objects of a bank, a page at a time, with their scores."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from smile_motion.bank.format import read_metadata
from smile_motion.bank.statistics import object_score
from smile_motion.io.markup import Markup, element, joined

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

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
        if not found:
            return element("p", "No object is called so; try fewer letters.", class_="calm")
        start = (page - 1) * ON_A_PAGE
        shown = found[start : start + ON_A_PAGE]
        tiles = []
        for entry in shown:
            score = "no score" if entry.score is None else f"score {entry.score:.1f}"
            record = self.bank.record(entry.index)
            size = f"{record.get('width', '?')}×{record.get('height', '?')}"
            tiles.append(
                element(
                    "figure",
                    element("img", alt=entry.name, src=self._picture(entry.index)),
                    element(
                        "figcaption",
                        entry.name,
                        element("br"),
                        element("small", f"{score} · {size}"),
                        title=entry.name,
                    ),
                )
            )
        said = f"{start + 1} to {start + len(shown)} of {len(found)} objects"
        return joined([element("p", said, class_="calm"), element("div", tiles, class_="objects")])

    @cached_property
    def _listed(self) -> tuple[ListedObject, ...]:
        return tuple(
            ListedObject(index, record["id"], record["category"], object_score(record))
            for index, record in enumerate(read_metadata(self.bank.path))
        )

    def _picture(self, index: int) -> str:
        import cv2

        from smile_motion.bank.contact_sheet import thumbnail

        picture = thumbnail(self.bank.image(index), THUMBNAIL_PX)
        data = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 85])[1]
        return f"data:image/webp;base64,{base64.b64encode(data.tobytes()).decode()}"


def pages(found: Sequence[ListedObject]) -> int:
    """Pages that a list takes, at least 1."""
    return max(1, -(-len(found) // ON_A_PAGE))
