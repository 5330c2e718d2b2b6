"""What is compared: the paper's ablations at small scale and our own, each arm a few options.

An arm that several tables share is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

TableName = Literal["7", "4a", "4c", "4d", "4e", "4f", "4g", "track", "track-black", "scratch"]
OURS: tuple[TableName, ...] = ("track", "track-black", "scratch")
"""Tables that the paper has not."""
Corpus = Literal["videos", "photographs", "none"]

STILL = {"objects": 0, "masking": "tube"}
"""No objects, hence no trajectories to mask."""
PIXEL = {"target": "pixel"}
FEATURE = {"target": "dinov2"}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A pre-training."""

    changes: Mapping[str, Any] | None
    """Options that it has of its own; none where nothing is pre-trained."""
    corpus: Corpus = "none"
    """What its backgrounds come from."""
    long: bool = False
    """Of Table 7, whose clips cost no decoding and whose arms are trained for more steps."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table."""

    label: str
    """As the table says it."""
    arm: str
    """Name of the arm behind it."""
    paper: tuple[float, float] | None = None
    """The paper's top-1 on K400m and SSv2m, per cent; none where it has no such row."""


def _over(background: str, corpus: Corpus, **changes: Any) -> Arm:
    return Arm(changes={"background": background, **changes}, corpus=corpus)


def _table7(background: str, corpus: Corpus, **changes: Any) -> Arm:
    return Arm(changes={"background": background, **PIXEL, **changes}, corpus=corpus, long=True)


ARMS: dict[str, Arm] = {
    "none": Arm(changes=None),
    "frame": _table7("frame", "videos", **STILL),
    "frame-motion": _table7("frame", "videos"),
    "image": _table7("places", "photographs", **STILL),
    "image-motion": _table7("places", "photographs"),
    "black-motion": _table7("black", "none"),
    "noise-motion": _table7("noise", "none"),
    "black-track": _table7("black", "none", motion_target="displacement"),
    "video-pixel": _over("natural", "videos", **PIXEL, **STILL),
    "video-pixel-motion": _over("natural", "videos", **PIXEL),
    "video-feature": _over("natural", "videos", **FEATURE, **STILL),
    "video-feature-motion": _over("natural", "videos", **FEATURE),
    "feature-tube": _over("natural", "videos", **FEATURE, masking="tube"),
    "feature-transform-none": _over("natural", "videos", **FEATURE, transform="none"),
    "feature-transform-scaling": _over("natural", "videos", **FEATURE, transform="scaling"),
    "feature-transform-rotation": _over("natural", "videos", **FEATURE, transform="rotation"),
    "feature-mixed": _over("natural", "videos", **FEATURE, strategy="mixed"),
    "feature-progressive": _over("natural", "videos", **FEATURE, strategy="progressive"),
    "feature-ratio-95": _over("natural", "videos", **FEATURE, mask_ratio=0.95),
    "feature-ratio-90": _over("natural", "videos", **FEATURE, mask_ratio=0.9),
    "feature-objects-1": _over("natural", "videos", **FEATURE, objects=1),
    "feature-objects-3": _over("natural", "videos", **FEATURE, objects=3),
    "video-feature-track": _over("natural", "videos", **FEATURE, motion_target="displacement"),
}
"""By name. What they leave out is the size's: mask ratio 0.8, two objects, trajectories masked."""

TABLES: dict[TableName, tuple[Row, ...]] = {
    "7": (
        Row(label="no pre-training", arm="none", paper=(39.7, 28.2)),
        Row(label="a frame", arm="frame", paper=(54.0, 43.1)),
        Row(label="a frame + motion", arm="frame-motion", paper=(63.6, 53.2)),
        Row(label="an image", arm="image", paper=(52.1, 40.5)),
        Row(label="an image + motion", arm="image-motion", paper=(60.1, 52.1)),
        Row(label="black + motion", arm="black-motion", paper=(59.2, 50.0)),
        Row(label="noise + motion", arm="noise-motion", paper=(61.9, 51.2)),
    ),
    "4a": (
        Row(label="pixels", arm="video-pixel", paper=(66.0, 55.1)),
        Row(label="pixels + motion", arm="video-pixel-motion", paper=(68.1, 56.8)),
        Row(label="features", arm="video-feature", paper=(78.1, 60.2)),
        Row(label="features + motion", arm="video-feature-motion", paper=(78.9, 61.6)),
    ),
    "4g": (
        Row(label="tubes", arm="feature-tube", paper=(77.8, 60.7)),
        Row(label="trajectories", arm="video-feature-motion", paper=(78.9, 61.6)),
    ),
    "4c": (
        Row(label="neither", arm="feature-transform-none", paper=(77.0, 60.8)),
        Row(label="scaling", arm="feature-transform-scaling", paper=(78.4, 61.3)),
        Row(label="rotation", arm="feature-transform-rotation", paper=(78.2, 61.4)),
        Row(label="both", arm="video-feature-motion", paper=(78.9, 61.6)),
    ),
    "4d": (
        Row(label="objects in all clips", arm="video-feature-motion", paper=(78.9, 61.6)),
        Row(label="mixed", arm="feature-mixed", paper=(79.5, 62.2)),
        Row(label="progressive", arm="feature-progressive", paper=(79.8, 62.5)),
    ),
    "4e": (
        Row(label="0.95", arm="feature-ratio-95", paper=(77.7, 60.4)),
        Row(label="0.9", arm="feature-ratio-90", paper=(78.9, 61.6)),
        Row(label="0.8", arm="video-feature-motion", paper=(80.3, 62.0)),
    ),
    "4f": (
        Row(label="1", arm="feature-objects-1", paper=(78.6, 61.0)),
        Row(label="2", arm="video-feature-motion", paper=(78.9, 61.6)),
        Row(label="3", arm="feature-objects-3", paper=(78.6, 61.3)),
    ),
    "track": (
        Row(label="pixels", arm="video-pixel", paper=(66.0, 55.1)),
        Row(label="features + motion", arm="video-feature-motion", paper=(78.9, 61.6)),
        Row(label="the same + exact tracks", arm="video-feature-track"),
    ),
    "track-black": (
        Row(label="black + motion", arm="black-motion", paper=(59.2, 50.0)),
        Row(label="the same + exact tracks", arm="black-track"),
    ),
    "scratch": (
        Row(label="no pre-training", arm="none"),
        Row(label="black + motion, pixels", arm="black-motion"),
        Row(label="video + motion, features", arm="video-feature-motion"),
    ),
}
"""By the table of the paper, in its order; those of `OURS` are ours."""

PAIRS: dict[TableName, tuple[tuple[str, str], ...]] = {
    "7": (
        ("frame-motion", "frame"),
        ("image-motion", "image"),
        ("frame", "image"),
        ("frame-motion", "noise-motion"),
        ("noise-motion", "image-motion"),
        ("image-motion", "black-motion"),
        ("black-motion", "frame"),
        ("noise-motion", "none"),
    ),
    "4a": (
        ("video-pixel-motion", "video-pixel"),
        ("video-feature-motion", "video-feature"),
        ("video-feature", "video-pixel"),
        ("video-feature-motion", "video-pixel-motion"),
    ),
    "4g": (("video-feature-motion", "feature-tube"),),
    "4c": (
        ("video-feature-motion", "feature-transform-none"),
        ("feature-transform-scaling", "feature-transform-none"),
        ("feature-transform-rotation", "feature-transform-none"),
    ),
    "4d": (
        ("feature-mixed", "video-feature-motion"),
        ("feature-progressive", "feature-mixed"),
    ),
    "4e": (("video-feature-motion", "feature-ratio-90"), ("feature-ratio-90", "feature-ratio-95")),
    "4f": (
        ("video-feature-motion", "feature-objects-1"),
        ("video-feature-motion", "feature-objects-3"),
    ),
    "track": (
        ("video-feature-track", "video-feature-motion"),
        ("video-feature-track", "video-pixel"),
    ),
    "track-black": (("black-track", "black-motion"),),
    "scratch": (
        ("black-motion", "none"),
        ("video-feature-motion", "none"),
        ("video-feature-motion", "black-motion"),
    ),
}
"""Orderings that the paper reports, or that we expect: the first of a pair is the better one."""


def arms_of(tables: tuple[TableName, ...]) -> tuple[str, ...]:
    """Names of the arms behind tables, each once, `none` always."""
    names = ["none", *(row.arm for table in tables for row in TABLES[table])]
    return tuple(dict.fromkeys(names))
