"""Records that the stages of a build exchange, and the interfaces of its models."""

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
    """A category of objects."""

    name: str
    """Name as in a prompt, such as `fire engine`."""
    definition: str | None = None
    """Definition of the word's sense, such as `a truck that carries firemen`."""
    sense: int = 1
    """Number among the categories with this name, from 1."""
    people: bool = False
    """Whether its list marks it as a person or kind of person."""

    @property
    def folder(self) -> str:
        """Name of its folder: lower-case letters, digits and `_`, with the sense if above 1.

        Raises:
            InputError: The name has no letter or digit.
        """
        plain = unicodedata.normalize("NFKC", self.name).lower()
        folder = re.sub(r"[^\w]+", "_", plain).strip("_")
        if not folder:
            raise InputError(f"category {self.name!r} has no letters; remove it from the list")
        return folder if self.sense == 1 else f"{folder}_{self.sense}"


@dataclass(frozen=True, eq=False)
class Mask:
    """A segmenter's mask of an image."""

    alpha: np.ndarray
    """(H, W) uint8, the size of the image: the output min-max normalized to 0 to 255, or 0
    everywhere for a constant output; an image's own alpha is not normalized."""
    raw_max: float
    """Maximum of the output before normalization, 0 to 1: low where nothing was found."""


class Segmenter(Protocol):
    """Interface of the models that segment the object of an image."""

    @property
    def name(self) -> str:
        """Name in records, unique among the segmenters of a build."""
        ...

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        """Segment the object of each image.

        Args:
            images: (N, H, W, 3) uint8 RGB, or (N, H, W, 4) uint8 straight-alpha RGBA.
            categories: Category of each image.

        Returns:
            N masks.
        """
        ...

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card: name, kind, hash or revision, input size."""
        ...


class Scorer(Protocol):
    """Interface of the models that score how well objects show their categories."""

    def score(
        self, images: np.ndarray, alphas: np.ndarray, categories: Sequence[Category]
    ) -> np.ndarray:
        """Score masked objects on white.

        Args:
            images: (N, H, W, 3) uint8 RGB.
            alphas: (N, H, W) uint8 masks.
            categories: Category of each image.

        Returns:
            (N,) float32: 100 times the cosine of image and text features.
        """
        ...

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card: model, hash or revision of the weights, text."""
        ...


@dataclass(frozen=True)
class Candidate:
    """An image that may become an object, with the scores of its masks."""

    category: str
    """`Category.folder`."""
    attempt: int
    """Number within its category, from 0."""
    prompt: str
    """Prompt; the name of the file for an existing image."""
    seed: int | None
    """Seed of the image."""
    unsafe: bool | None
    """Whether the safety checker marked it; None where none ran."""
    masks: tuple[MaskScore, ...]
    """Scores of its masks, in the order of the build's segmenters."""

    @property
    def id(self) -> str:
        """`category/000012`: the same in every record and file name."""
        return f"{self.category}/{self.attempt:06d}"


@dataclass(frozen=True)
class MaskVerdict:
    """Decision on a candidate by score and area alone: the selected mask, or why it is refused."""

    segmenter: str | None
    """Segmenter whose mask is selected; None where none is."""
    reason: str | None
    """Why the candidate is refused, such as `score 17.2 below 21.0`; None where it is not."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Criteria that candidates must meet; most defaults are X-Paste's."""

    min_score: float = 21.0
    """CLIP score that always suffices, 100 times a cosine (X-Paste)."""
    margin: float = 1.0
    """Distance to its category's best score that suffices where scores are low (X-Paste)."""
    min_area: float = 0.05
    """Smallest share of the image that an object covers (X-Paste)."""
    max_area: float = 0.95
    """Largest share of the image that an object covers (X-Paste)."""
    min_raw: float = 0.5
    """Value that a mask's maximum before normalization must exceed (ours)."""
    max_distance: int = 4
    """Largest Hamming distance, of 64 bits, of the perceptual hashes of near-duplicates in a
    category; -1 keeps all (ours)."""


def to_mask(output: np.ndarray, height: int, width: int) -> Mask:
    """Resize a model's output to the size of the image and normalize it to 0 to 255.

    Args:
        output: (h, w) float, 0 to 1.
        height: Height of the image, pixels.
        width: Width of the image, pixels.

    Returns:
        The mask; 0 everywhere for a constant or non-finite output.
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
    """Objects wanted of a category."""

    category: Category
    """The category."""
    wanted: int
    """Number of objects, at least 1."""
    max_tries: int
    """Number of candidates after which the category is given up."""


@dataclass(frozen=True)
class Attempt:
    """A candidate to make."""

    category: Category
    """Its category."""
    number: int
    """Number within its category, from 0."""
