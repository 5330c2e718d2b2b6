"""Score candidates by CLIP: how well each cut-out object shows its category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from smile_motion.bank.candidates.cutout import LEVEL
from smile_motion.bank.candidates.images import GeneratedImage
from smile_motion.bank.candidates.select import REFUSED
from smile_motion.bank.candidates.types import Attempt, Candidate, Category, Mask, Scorer, Segmenter
from smile_motion.bank.format import MaskScore
from smile_motion.errors import InputError
from smile_motion.io.images import opaque
from smile_motion.runtime.devices import Precision, choose_device, choose_dtype
from smile_motion.runtime.extras import require_libraries
from smile_motion.runtime.open_clip import OpenClipModel, open_clip_model

DIGITS = 4
"""Decimals of scores and shares in records; selection uses the rounded values."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A segmented and scored image."""

    candidate: Candidate
    """Its record."""
    image: np.ndarray
    """(H, W, 3 or 4) uint8, RGB or RGBA."""
    masks: tuple[Mask, ...]
    """Masks, in the order of the segmenters."""


def score_batch(
    attempts: Sequence[Attempt],
    made: Sequence[GeneratedImage],
    segmenters: Sequence[Segmenter],
    scorer: Scorer,
) -> list[Scored]:
    """Segment and score the images of a batch.

    Args:
        attempts: The candidates to make.
        made: Their images; neighbors of the same shape are processed together.
        segmenters: Each segments every image.
        scorer: Scores every mask.
    """
    scored = []
    pairs = zip(attempts, made, strict=True)
    for _, group in groupby(pairs, key=lambda pair: pair[1].image.shape):
        scored += _score_alike(list(group), segmenters, scorer)
    return scored


def _score_alike(
    pairs: Sequence[tuple[Attempt, GeneratedImage]], segmenters: Sequence[Segmenter], scorer: Scorer
) -> list[Scored]:
    images = np.stack([made.image for _, made in pairs])
    categories = [attempt.category for attempt, _ in pairs]
    masks: list[list[Mask]] = [[] for _ in pairs]
    scores: list[list[MaskScore]] = [[] for _ in pairs]
    for segmenter in segmenters:
        found = segmenter.segment(images, categories)
        said = _scores(images, found, categories, scorer)
        for place, (mask, score) in enumerate(zip(found, said, strict=True)):
            masks[place].append(mask)
            scores[place].append(_mask_score(segmenter.name, mask, score))
    return [
        Scored(
            Candidate(
                category=attempt.category.folder,
                attempt=attempt.number,
                prompt=one.prompt,
                seed=one.seed,
                unsafe=one.unsafe,
                masks=tuple(scores[place]),
            ),
            one.image,
            tuple(masks[place]),
        )
        for place, (attempt, one) in enumerate(pairs)
    ]


def _scores(
    images: np.ndarray, masks: Sequence[Mask], categories: Sequence[Category], scorer: Scorer
) -> np.ndarray:
    """Score all masks of a segmenter, empty ones included, so that batches stay the same."""
    alphas = np.stack([mask.alpha for mask in masks])
    return scorer.score(opaque(images), alphas, categories)


def _mask_score(segmenter: str, mask: Mask, score: float) -> MaskScore:
    inside = float((mask.alpha > LEVEL).mean())
    raw_max = round(float(mask.raw_max), DIGITS)
    if not inside or not np.isfinite(score):
        return MaskScore(segmenter, REFUSED, 0.0, raw_max)
    return MaskScore(segmenter, round(float(score), DIGITS), round(inside, DIGITS), raw_max)


DEFAULT_MODEL = "ViT-L-14"
"""OpenAI's CLIP ViT-L/14 (X-Paste)."""
TEXT = "a photo of {name}"
"""Text that a cut-out is compared with (X-Paste)."""
_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipScorer:
    """Scores objects on white by the cosine of CLIP's image and text features (X-Paste).

    Example:

        scorer = ClipScorer.open("ViT-L-14", device="cuda")
        scores = scorer.score(images, alphas, categories)      # about 21 and more where it fits
    """

    clip: OpenClipModel
    """The model."""
    device: str
    """Device that it runs on."""
    dtype: str
    """Data type of the weights."""
    batch: int
    """Images per batch."""
    text: str = TEXT
    """Template with `{name}` for the category."""
    _texts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """Text features so far, by name of the category."""

    @classmethod
    def open(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        pretrained: str | None = None,
        device: str = "auto",
        dtype: Precision = "auto",
        batch: int = 32,
        text: str = TEXT,
    ) -> ClipScorer:
        """Open a scorer.

        Args:
            model: open_clip name or folder; see `open_clip_model`.
            pretrained: Tag of the weights; see `open_clip_model`.
            device: `auto`, `cpu`, `cuda` or `cuda:1`.
            dtype: Data type of the weights; `auto` is float32 on the CPU, float16 on CUDA.
            batch: Images per batch.
            text: Text that cut-outs are compared with; `{name}` stands for the category.

        Raises:
            InputError: The model cannot be opened or an option does not fit.
        """
        if batch < 1:
            raise InputError(f"a scorer's batch of {batch}; expected at least 1")
        if "{name}" not in text:
            raise InputError(f"scoring text {text!r} has no {{name}} where the category goes")
        require_libraries("open_clip", "torch")
        chosen = choose_device(device)
        precision = str(choose_dtype(dtype, chosen)).removeprefix("torch.")
        clip = open_clip_model(
            model, pretrained=pretrained, device=str(chosen), precision=_PRECISIONS[precision]
        )
        return cls(clip=clip, device=str(chosen), dtype=precision, batch=batch, text=text)

    def score(
        self, images: np.ndarray, alphas: np.ndarray, categories: Sequence[Category]
    ) -> np.ndarray:
        """Score masked objects on white, with the model's own preprocessing of the whole image.

        Args:
            images: (N, H, W, 3) uint8 RGB.
            alphas: (N, H, W) uint8 masks; pixels above 128 belong to the object.
            categories: Category of each image.

        Returns:
            (N,) float32: 100 times the cosine of image and text features.
        """
        import torch

        names = [category.name.replace("_", " ") for category in categories]
        self._encode_texts(names)
        scores = np.empty(len(images), np.float32)
        for start in range(0, len(images), self.batch):
            part = slice(start, start + self.batch)
            inside = (alphas[part] > LEVEL)[..., None]
            cut_out = np.where(inside, images[part], np.uint8(255))
            pixels = torch.stack([self.clip.preprocess(Image.fromarray(one)) for one in cut_out])
            with torch.inference_mode():
                seen = self.clip.model.encode_image(
                    pixels.to(self.device, getattr(torch, self.dtype)), normalize=True
                )
                said = torch.stack([self._texts[name] for name in names[part]])
                scores[part] = (100 * (seen.float() * said).sum(-1)).cpu().numpy()
        return scores

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the scorer."""
        return {
            "model": self.clip.name,
            "pretrained": self.clip.pretrained,
            "sha256": self.clip.weights_sha256,
            "text": self.text,
            "dtype": self.dtype,
        }

    def _encode_texts(self, names: Sequence[str]) -> None:
        """Encode the texts of new names, each alone, so that others cannot change its last bits."""
        import torch

        for name in sorted(set(names) - set(self._texts)):
            tokens = self.clip.tokenizer([self.text.replace("{name}", name)])
            with torch.inference_mode():
                features = self.clip.model.encode_text(tokens.to(self.device), normalize=True)
            self._texts[name] = features.float()[0]
