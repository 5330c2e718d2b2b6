"""Interface of the sources of a bank's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class SourceObject:
    """One object made by a source."""

    name: str
    """Name, unique within the category; the stem of the file."""
    category: str
    """Category; the folder of the file."""
    image: np.ndarray
    """(H, W, 4) uint8 straight-alpha RGBA, tightly cropped; of an animated object (n, H, W, 4), its
    2 to `MOST_POSES` poses, cropped to all of them, the first with an opaque pixel."""
    details: dict[str, Any]
    """Further entries of its metadata record."""


class ObjectSource(Protocol):
    """Makes objects 0 to count - 1, each independently; picklable, for use in several processes."""

    @property
    def count(self) -> int:
        """Number of objects."""
        ...

    def make(self, number: int) -> SourceObject:
        """Make object `number`; the same number always gives the same object.

        Raises:
            InputError: A file that it is made from cannot be read.
        """
        ...

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card on the source; a build resumes only where they agree."""
        ...
