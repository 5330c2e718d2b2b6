"""What the page shows of an encoder: a clip, its features, and pictures of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval
from smile_motion.backgrounds import make_background
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import Clip, ClipMaker
from smile_motion.errors import InputError
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.player import clip_document, describe_origin, frames_document

from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.evaluation.figures.attention import (
    Query,
    attention_input,
    last_attention,
    paint_attention,
    shown_range,
)
from smile_train.evaluation.figures.clips import ClipSource
from smile_train.evaluation.figures.pca import Components, paint_components
from smile_train.evaluation.figures.similarity import frame_similarity
from smile_train.models.layers import Attention

MOST_OBJECTS, MOST_STRIDE, LARGEST_SEED = 16, 16, 2**31 - 1
"""Limits of what the page asks for."""
MOST_TOKENS_ALONG = 4096
"""More tokens along an axis than any encoder has."""


@dataclass(frozen=True, kw_only=True)
class SceneControls:
    """Values of all controls of the page."""

    source: Literal["noise", "black", "moving", "video"] = "noise"
    """Objects over noise, over black, over your videos, or a video as it is."""
    seed: Annotated[int, Interval(ge=0, le=LARGEST_SEED)] = 0
    """Seed of a rendered clip; number of a video among the given ones."""
    objects: Annotated[int, Interval(ge=0, le=MOST_OBJECTS)] = 2
    """Objects of a rendered clip."""
    stride: Annotated[int, Interval(ge=1, le=MOST_STRIDE)] = 4
    """Video frames from one clip frame to the next."""
    query: Literal["mean", "token"] = "mean"
    """Whose attention, and similarity to what, is shown."""
    slice: Annotated[int, Interval(ge=0, le=MOST_TOKENS_ALONG)] = 0
    """Time slice of the token."""
    row: Annotated[int, Interval(ge=0, le=MOST_TOKENS_ALONG)] = 0
    """Row of the token."""
    column: Annotated[int, Interval(ge=0, le=MOST_TOKENS_ALONG)] = 0
    """Column of the token."""

    @property
    def asked(self) -> Query:
        """The query."""
        if self.query == "mean":
            return Query()
        return Query(slice=self.slice, row=self.row, column=self.column)


@dataclass(frozen=True, eq=False)
class Seen:
    """A clip and what an encoder makes of it."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    clip: Clip | None
    """The clip with its truth, where it was rendered."""
    name: str
    """Where it is from."""
    tokens: np.ndarray
    """(N, D) float32: features."""
    attending: tuple[Attention, torch.Tensor] | str
    """The last block's attention and its input; why there are none for other encoders."""


class SceneMaker:
    """Makes clips that an encoder takes, and pictures of its features; keeps the last few."""

    def __init__(self, encoder: VideoEncoder, bank: ObjectBank, videos: Path | None) -> None:
        """Show an encoder.

        Args:
            encoder: The encoder, on its device.
            bank: Objects of rendered clips.
            videos: Video, folder or list that clips are taken of; None for none.
        """
        self.encoder, self.bank, self.videos = encoder, bank, videos
        self._see = lru_cache(maxsize=4)(self._look)

    def describe(self, controls: SceneControls, upload: Path | None) -> dict[str, Any]:
        """Describe the clip, its attention, components and similarities, for the page.

        Raises:
            InputError: The token is not there, or a video is missing or cannot be read.
        """
        grid, query = self.encoder.grid, controls.asked
        number = query.number(grid)
        seen = self._see(controls.source, controls.seed, controls.objects, controls.stride, upload)
        components = Components.fit([seen.tokens])
        shares = ", ".join(f"{share:.0%}" for share in components.explained)
        painted = [
            (
                "Feature PCA",
                f"three components as red, green, blue: {shares} of the variance",
                paint_components(seen.tokens, components, grid),
            )
        ]
        whose = "the mean token" if number is None else f"token {query.slice}, {query.row}, "
        whose += "" if number is None else str(query.column)
        similar = token_similarity(seen.tokens, number).reshape(grid.shape)
        painted.append(
            (
                "Similarity",
                "cosine to {}: {:.2f} (dark) to {:.2f}".format(whose, *shown_range(similar)),
                paint_attention(seen.frames, similar, grid, query),
            )
        )
        if isinstance(seen.attending, str):
            facts = [f"No attention is drawn: {seen.attending}."]
        else:
            weights = last_attention(*seen.attending, number).cpu().numpy().reshape(grid.shape)
            low, high = (weights.size * end for end in shown_range(weights))
            note = f"of {whose}, last block, mean over heads: {low:.1f} (dark) to {high:.1f} times "
            note += "its even share"
            painted.insert(
                0, ("Attention", note, paint_attention(seen.frames, weights, grid, query))
            )
            facts = self._attention_facts(seen, weights)
        first = self._describe_clip(seen)
        lines = {name: first[name] for name in ("objects", "tracks")}
        clips = [first] + [
            frames_document(frames, title=title, note=note) | lines
            for title, note, frames in painted
        ]
        matrix = frame_similarity(
            seen.tokens.reshape(grid.slices, -1, seen.tokens.shape[1]).mean(1)
        )
        return {"clips": clips, "matrix": matrix.round(4).tolist(), "facts": facts}

    def time_encoding(self) -> float:
        """Measure the seconds that encoding a clip takes now; what runs first takes longer."""
        grid = self.encoder.grid
        blank = np.zeros((1, grid.frames, grid.height, grid.width, 3), np.uint8)
        started = time.perf_counter()
        self.encoder.features(blank)[0].cpu()
        return time.perf_counter() - started

    def _describe_clip(self, seen: Seen) -> dict[str, Any]:
        if seen.clip is None:
            return frames_document(seen.frames, title="Clip", note=seen.name)
        return clip_document(seen.clip, self.encoder.grid, title="Clip", note=seen.name)

    def _attention_facts(self, seen: Seen, weights: np.ndarray) -> list[str]:
        if seen.clip is None or not seen.clip.plan.slots:
            return []
        covered = seen.clip.truth.token_coverage(self.encoder.grid).sum(axis=0) > 0
        share = weights[covered].sum()
        times = share / max(covered.mean(), 1e-9)
        return [
            f"{share:.0%} of the attention is on the {covered.mean():.0%} of the tokens that "
            f"objects are in: {times:.2f} times its even share."
        ]

    def _look(self, source: str, seed: int, objects: int, stride: int, upload: Path | None) -> Seen:
        clip = None
        if source == "video":
            frames, name = self._read(seed, stride, upload)
        else:
            clip, name = self._render(source, seed, objects, stride, upload)
            frames = clip.frames
        video = torch.from_numpy(frames).to(next(self.encoder.parameters()).device)
        features, _ = self.encoder.features(video[None])
        tokens = features[0].float().cpu().numpy()
        try:
            attending = attention_input(self.encoder, video)
        except InputError as error:
            attending = str(error)
        return Seen(frames, clip, name, tokens, attending)

    def _render(
        self, source: str, seed: int, objects: int, stride: int, upload: Path | None
    ) -> tuple[Clip, str]:
        grid = self.encoder.grid
        kind = "natural" if source == "moving" else "black" if source == "black" else "noise"
        maker = ClipMaker(
            bank=self.bank,
            recipe=MotionRecipe.paper(objects=objects),
            background=make_background(
                kind,
                videos=self._given(upload) if kind == "natural" else None,
                stride=stride,
            ),
            frames=grid.frames,
            size=(grid.height, grid.width),
            seed=seed,
        )
        clip = maker.make(0)
        return clip, f"{describe_origin(clip.origin)}, seed {seed}"

    def _read(self, number: int, stride: int, upload: Path | None) -> tuple[np.ndarray, str]:
        paths = ClipSource(videos=self._given(upload)).paths()
        path = paths[number % len(paths)]
        shown = next(iter(ClipSource(videos=path, stride=stride).read(self.encoder.grid)))
        return shown.frames, f"{path.name}, the middle"

    def _given(self, upload: Path | None) -> Path:
        """The videos that are shown."""
        if (videos := upload or self.videos) is None:
            raise InputError("no video to show; upload one, or start with --videos")
        return videos


def token_similarity(tokens: np.ndarray, number: int | None) -> np.ndarray:
    """Cosine of every token to one of them, or to their mean.

    Args:
        tokens: (N, D) float.
        number: Number of the token; None for the mean.

    Returns:
        (N,) float64.
    """
    rows = tokens.astype(np.float64)
    asked = rows.mean(axis=0) if number is None else rows[number]
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(asked)
    return np.clip(rows @ asked / np.maximum(lengths, 1e-12), -1, 1)
