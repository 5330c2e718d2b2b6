"""The bank's objects, for people who look for some."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from smile_motion.bank.statistics import object_score
from smile_motion.errors import InputError
from smile_motion.io.options import MOST_POSES

if TYPE_CHECKING:
    import numpy as np

    from smile_motion.bank import ObjectBank

ON_A_PAGE = 24
"""Objects on a page."""
THUMBNAIL_PX, PORTRAIT_PX = 144, 384
"""Sides of an object's picture in the list and by itself."""
LISTED_POSES = 12
"""Largest number of poses that an animated object's picture in the list plays."""
ALL = "all categories"
"""Choice of the list of categories that leaves none out."""
Order = Literal["best score first", "lowest score first", "by id"]


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    """An object of the bank, as the list finds it."""

    index: int
    """Number in the bank."""
    name: str
    """Id."""
    category: str
    """Category."""
    score: float | None
    """CLIP score; None where the bank has none, as for procedural objects."""
    poses: int
    """Number of its poses, 1 of a still one."""


class BankBrowser:
    """Lists and shows the objects of a bank; records are read on first use."""

    def __init__(self, bank: ObjectBank) -> None:
        """Browse `bank`."""
        self.bank = bank

    def describe(self) -> dict[str, Any]:
        """Name of the bank, and its categories with their numbers of objects."""
        counts = Counter(entry.category for entry in self._listed)
        return {
            "name": self.bank.name,
            "objects": len(self.bank),
            "categories": [[ALL, len(self.bank)], *sorted(counts.items())],
            "scored": any(entry.score is not None for entry in self._listed),
            "animated": sum(entry.poses > 1 for entry in self._listed),
        }

    def find(
        self, category: str = ALL, words: str = "", order: str = "best score first"
    ) -> list[ListedObject]:
        """Find objects.

        Args:
            category: Category, or `ALL`.
            words: Words that the id, the category or the prompt contain, all of them.
            order: Order of the objects (`Order`); those without score come last.
        """
        wanted = words.lower().replace("_", " ").split()
        found = [
            entry
            for entry in self._listed
            if category in (ALL, entry.category)
            and all(word in self._texts[entry.index] for word in wanted)
        ]
        if order == "by id":
            return found
        sign = -1 if order == "best score first" else 1
        # Objects without a score come last, by id.
        return sorted(found, key=lambda entry: (entry.score is None, sign * (entry.score or 0)))

    def page(self, found: Sequence[ListedObject], number: int) -> dict[str, Any]:
        """Describe a page, counted from 1, of the objects that `find` returned, as JSON values."""
        pages = max(1, -(-len(found) // ON_A_PAGE))
        number = min(max(number, 1), pages)
        start = (number - 1) * ON_A_PAGE
        shown = found[start : start + ON_A_PAGE]
        return {
            "page": number,
            "pages": pages,
            "first": start + 1 if shown else 0,
            "last": start + len(shown),
            "total": len(found),
            "objects": [
                {
                    "index": entry.index,
                    "name": entry.name,
                    "category": entry.category,
                    "score": None if entry.score is None else round(entry.score, 1),
                    "poses": entry.poses,
                    "picture": self._picture(entry.index, THUMBNAIL_PX, most=LISTED_POSES),
                }
                for entry in shown
            ],
        }

    def portrait(self, index: int) -> dict[str, Any]:
        """Describe one object: a larger picture, and its record as names and texts.

        Raises:
            InputError: There is no such object.
        """
        if not 0 <= index < len(self.bank):
            raise InputError(f"object {index}: the bank has 0 to {len(self.bank) - 1}")
        record = self.bank.record(index)
        plain = {
            name: value for name, value in record.items() if isinstance(value, str | int | float)
        }
        return {
            "name": record["id"],
            "picture": self._picture(index, PORTRAIT_PX, most=MOST_POSES),
            "record": [[name, str(value)[:400]] for name, value in plain.items()],
        }

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        return self.bank.records()

    @cached_property
    def _listed(self) -> tuple[ListedObject, ...]:
        return tuple(
            ListedObject(
                index=index,
                name=record["id"],
                category=record["category"],
                score=object_score(record),
                poses=record.get("poses", 1),
            )
            for index, record in enumerate(self._records)
        )

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        """What is searched of each object."""
        return tuple(
            " ".join(str(record.get(name, "")) for name in ("id", "category", "prompt"))
            .lower()
            .replace("_", " ")
            for record in self._records
        )

    def _picture(self, index: int, side: int, *, most: int) -> str:
        """Address of an object's picture, which plays at most so many of its poses."""
        import cv2

        from smile_motion.bank.contact_sheet import thumbnail

        record = self._records[index]
        poses = record.get("poses", 1)
        step = -(-poses // most)
        pictures = [
            thumbnail(image, side) for image in islice(self.bank.images(index), 0, poses, step)
        ]
        if len(pictures) > 1:
            data = _encode_moving(pictures, step * float(record.get("pose_ms", 100)))
        else:
            quality = [cv2.IMWRITE_WEBP_QUALITY, 85]
            data = cv2.imencode(".webp", pictures[0][..., ::-1], quality)[1].tobytes()
        return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _encode_moving(pictures: Sequence[np.ndarray], pose_ms: float) -> bytes:
    from PIL import Image

    first, *others = (Image.fromarray(picture) for picture in pictures)
    target = io.BytesIO()
    first.save(
        target, "WEBP", save_all=True, append_images=others, duration=round(pose_ms), loop=0,
        quality=80, method=0,
    )  # fmt: skip
    return target.getvalue()
