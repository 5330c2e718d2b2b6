"""Where a bank's objects come from. A source numbers its objects and makes any of them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class SourceObject:
    """One object, as a source makes it."""

    name: str
    """Unique within its category; becomes the file's name."""
    category: str
    """Category, and folder."""
    image: np.ndarray
    """(H, W, 4) uint8 straight-alpha RGBA, tightly cropped."""
    details: dict[str, Any]
    """What else its line of metadata says."""


class ObjectSource(Protocol):
    """Makes objects number 0 to count - 1; picklable, so that processes can share the work."""

    @property
    def count(self) -> int:
        """How many objects there will be."""
        ...

    def make(self, number: int) -> SourceObject:
        """Make one object; the same number always gives the same object.

        Raises:
            InputError: What it is made from cannot be read.
        """
        ...

    def card(self) -> dict[str, Any]:
        """What the bank's card says of the source; a build continues only under the same card."""
        ...
