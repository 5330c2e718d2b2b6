"""The JSON of a clip: its plan, its background and its truth; and the clip rendered from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval

from smile_motion.backgrounds import redraw
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import Clip, ClipMaker
from smile_motion.io.schema import read_record
from smile_motion.motion.plan_json import plan_to_json, read_plan
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.truth.instances import Truth

FORMAT = 1
"""Version of a clip's JSON."""
POLYGON_TOLERANCE_PX = 0.2
"""How far a written polygon may lie from the silhouette."""


@dataclass(frozen=True, kw_only=True)
class _ClipJson:
    """What a clip's JSON says besides its plan; `redraw` reads its background."""

    format: Literal[1]
    seed: Annotated[int, Interval(ge=0, lt=1 << 64)]
    epoch: Annotated[int, Interval(ge=0, lt=1 << 63)]
    index: Annotated[int, Interval(ge=0, lt=1 << 63)]
    background: dict[str, Any]


def clip_json(maker: ClipMaker, index: int, clip: Clip) -> dict[str, Any]:
    """All that makes a clip again, and what is true of it, as JSON values."""
    return {
        "format": FORMAT,
        "seed": maker.seed,
        "epoch": 0,
        "index": index,
        "bank": str(maker.bank.path),
        "background": clip.origin,
        "plan": plan_to_json(clip.plan, maker.bank),
        "truth": truth_json(clip),
    }


def read_clip(path: Path | str, bank: ObjectBank, *, background: Path | str | None = None) -> Clip:
    """Render a clip again, to the bit, from its JSON alone.

    path        a `clip_000000.json`.
    bank        the bank that it was made with.
    background  where the video or photograph behind it lies now; by default where it lay.
    Raises InputError when the JSON, an object or the background is missing or does not fit.
    """
    path = Path(path)
    behind_it = None if background is None else Path(background)
    plan = read_plan(path, bank)
    described = read_record(path, _ClipJson, remedy="render the clip anew")
    seed, epoch, index = (described[name] for name in ("seed", "epoch", "index"))
    origin = described["background"]
    rng = keyed_generator(seed, Stream.BACKGROUND, epoch=epoch, index=index)
    size = (plan.height, plan.width)
    behind = redraw(origin, rng, frames=plan.frames, size=size, file=behind_it)
    ids = np.empty((plan.frames, *size), np.uint8)
    return Clip(render(behind, plan, bank, ids=ids), plan, Truth(plan, bank, ids=ids), origin)


def truth_json(clip: Clip) -> dict[str, Any]:
    """Truth of a clip per object and frame, as JSON values, in pixels to a hundredth.

    Boxes are x0, y0, x1, y1 of the part inside the frame, null where there is none. Polygons are
    whole silhouettes, simplified by at most a fifth of a pixel: a list of parts, each a list of
    rings of x, y, the outer ring first, then its holes.
    """
    truth = clip.truth
    return {
        "convention": "pixel centres at integers, x right, y down; degrees counter-clockwise",
        "objects": [
            {
                "box": [_rounded(box) for box in truth.boxes[slot]],
                "full_box": [_rounded(box) for box in truth.full_boxes[slot]],
                "visible_share": np.round(truth.visible_share[slot], 4).tolist(),
                "polygon": [_polygon_json(polygon) for polygon in truth.polygons[slot]],
            }
            for slot in range(clip.plan.slots)
        ],
    }


def _rounded(box: np.ndarray) -> list[float] | None:
    return None if np.isnan(box).any() else np.round(box, 2).tolist()


def _polygon_json(shape: Any) -> list[list[list[list[float]]]]:
    simple = shape.simplify(POLYGON_TOLERANCE_PX)
    return [
        [np.round(ring.coords[:-1], 2).tolist() for ring in (part.exterior, *part.interiors)]
        for part in getattr(simple, "geoms", [simple])
    ]
