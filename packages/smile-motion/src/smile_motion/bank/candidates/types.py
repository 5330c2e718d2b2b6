"""Records that the stages of a bank build pass on, and the interfaces of their models."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from smile_motion.bank.format import MaskScore
from smile_motion.errors import InputError


@dataclass(frozen=True)
class Category:
    """What objects are of."""

    name: str
    """As a prompt says it, such as `fire engine`."""
    definition: str | None = None
    """A gloss that tells senses apart, such as `a truck that carries firemen`."""
    sense: int = 1
    """Which of the categories with this name it is, from 1."""
    people: bool = False
    """Whether its list says that it is a kind of person, or a person."""

    @property
    def folder(self) -> str:
        """The name as a folder's: letters and digits in lower case, `_`, and the sense beyond 1.

        Raises:
            InputError: Nothing of the name is left.
        """
        plain = unicodedata.normalize("NFKC", self.name).lower()
        folder = re.sub(r"[^\w]+", "_", plain).strip("_")
        if not folder:
            raise InputError(f"category {self.name!r} has no letters; remove it from the list")
        return folder if self.sense == 1 else f"{folder}_{self.sense}"


@dataclass(frozen=True, eq=False)
class Mask:
    """A segmenter's answer for one image."""

    alpha: np.ndarray
    """(H, W) uint8, the size of the image; min-max normalised, so that it reaches 0 and 255, but 0
    everywhere where the output is constant. An image's own alpha is left as it is."""
    raw_max: float
    """Maximum of the output before normalisation, from 0 to 1: low where nothing was found."""


class Segmenter(Protocol):
    """Finds the object in an image."""

    @property
    def name(self) -> str:
        """What records call it; unique among the segmenters of a build."""
        ...

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        """Find the object in images (N, H, W, 3 or 4) uint8, RGB or straight-alpha RGBA."""
        ...

    def card(self) -> dict[str, Any]:
        """What the bank's card says of it: name, kind, hash or revision, input size."""
        ...


class Scorer(Protocol):
    """Tells how well cut-out objects show their categories."""

    def score(
        self, images: np.ndarray, alphas: np.ndarray, categories: Sequence[Category]
    ) -> np.ndarray:
        """Score images (N, H, W, 3) uint8 on white under masks (N, H, W) uint8.

        Returns:
            (N,) float32: the cosine of image and text, times 100.
        """
        ...

    def card(self) -> dict[str, Any]:
        """What the bank's card says of it: model, weights' hash or revision, text."""
        ...


@dataclass(frozen=True)
class Candidate:
    """One image that may become an object, and what the models said of it."""

    category: str
    """`Category.folder`."""
    attempt: int
    """Number within the category, from 0."""
    prompt: str
    """What it was made from; the file's name for an image that was there."""
    seed: int | None
    """Seed of the image."""
    unsafe: bool | None
    """What the safety checker said; None where none ran."""
    masks: tuple[MaskScore, ...]
    """In the order of the build's segmenters."""

    @property
    def id(self) -> str:
        """`category/000012`: the same in every record and file name."""
        return f"{self.category}/{self.attempt:06d}"


@dataclass(frozen=True)
class MaskVerdict:
    """MaskVerdict on a candidate by its scores alone: which mask is used, or why none."""

    segmenter: str | None
    """The one whose mask is used; None where none was good enough to ask further."""
    reason: str | None
    """Why it was refused, such as `score 17.2 below 21.0`; None: accepted."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What candidates must reach. Defaults: X-Paste's."""

    min_score: float = 21.0
    """CLIP score that is always enough (X-Paste)."""
    margin: float = 1.0
    """How far below the best of its category a score may be where that is lower still (X-Paste)."""
    min_area: float = 0.05
    """Least share of the image that an object takes (X-Paste)."""
    max_area: float = 0.95
    """Largest share of the image that an object takes (X-Paste)."""
    min_raw: float = 0.5
    """A mask must exceed this before normalisation somewhere (ours)."""
    max_distance: int = 4
    """Perceptual hashes of one category that differ in at most so many of 64 bits are
    duplicates; -1 keeps all (ours)."""


def to_mask(output: np.ndarray, height: int, width: int) -> Mask:
    """Resize an output (h, w) float of 0 to 1 to the image's size and stretch it to 0 to 255.

    A constant output, or one that is not finite, finds nothing: its mask is 0 everywhere.
    """
    if not np.isfinite(output).all():
        return Mask(np.zeros((height, width), np.uint8), 0.0)
    raw_max = float(np.clip(output.max(), 0, 1))
    field = np.asarray(
        Image.fromarray(output.astype(np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
    )
    low, high = float(field.min()), float(field.max())
    if high - low < 1e-6:
        return Mask(np.zeros((height, width), np.uint8), raw_max)
    return Mask(np.rint((field - low) * (255 / (high - low))).astype(np.uint8), raw_max)


@dataclass(frozen=True)
class Goal:
    """What is wanted of a category."""

    category: Category
    """The category."""
    wanted: int
    """Objects, at least 1."""
    max_tries: int
    """Candidates after which it is given up."""


@dataclass(frozen=True)
class Attempt:
    """A candidate to be made."""

    category: Category
    """Its category."""
    number: int
    """Within the category, from 0."""
