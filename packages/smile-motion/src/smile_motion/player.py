"""Clips as a page's player shows them: frames, and layers of truth that it draws over them.

The player itself is `player.js` with `player.css`; the explorer serves both, and written pages hold
them. A document is plain JSON:

    title, note, width, height, rate_hz
    frames      addresses of pictures, one a frame
    objects     name, color, boxes, center, rings in unit coordinates, maps from there to pixels
    tracks      color, points through the frames, and where they are seen
    pictures    layers of pictures, each for `every` frames
    tokens      the grid, and what a mask hides of it
    table       columns, rows, and a sentence
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smile_motion.clips.clip import Clip
from smile_motion.io.images import encode_png
from smile_motion.masking.masks import TokenMask
from smile_motion.runtime.tasks import map_in_threads
from smile_motion.tokens import TokenGrid
from smile_motion.visualize import COLORS, draw_flow, flow_reach

RATE_HZ = 8.0
"""Frames per second."""
QUALITY = 94
"""JPEG quality of frames, 0 to 100."""
MOST_ROWS = 16
"""Objects of the longest table; baselines have hundreds."""
MOST_DRAWN = 24
"""Objects of which lines are drawn: those that cover most."""
TRACKED = 12
"""Points that are tracked on an object."""
TRACKED_BEHIND, BACKGROUND_COLOR = 24, (255, 255, 255)
"""Points that are tracked on a background, and their color."""
OUTLINE_TOLERANCE = 0.002
"""Largest distance of a drawn outline from the silhouette, as a share of the object's side."""


def clip_document(
    clip: Clip,
    grid: TokenGrid | None,
    mask: TokenMask | None = None,
    *,
    title: str,
    note: str = "",
    rate_hz: float = RATE_HZ,
    flow: bool = True,
) -> dict[str, Any]:
    """Describe a clip with its truth.

    Args:
        clip: The clip.
        grid: Its token grid; None for none.
        mask: Token mask; None for none.
        title: Heading of the clip.
        note: Line below the heading.
        rate_hz: Frames per second.
        flow: Whether optical flow is among the layers; of hundreds of objects it takes seconds.
    """
    pictures = [_masks_layer(clip)]
    if grid is not None:
        pictures.append(_coverage_layer(clip, grid))
    if flow and clip.plan.frames > 1 and (clip.plan.slots or clip.plan.camera):
        pictures.append(_flow_layer(clip))
    slots = _drawn_slots(clip)
    if not clip.plan.is_rigid:
        note += "; flow and tracks of animated objects are those of the canvas that carries them"
    if len(slots) < clip.plan.slots:
        note += f"; lines for the {len(slots)} of {clip.plan.slots} objects that cover most"
    return frames_document(clip.frames, title=title, note=note, rate_hz=rate_hz) | {
        "objects": [_describe_object(clip, slot) for slot in slots],
        "tracks": _describe_tracks(clip),
        "pictures": pictures,
        "tokens": None if grid is None else describe_tokens(grid, mask),
        "table": _describe_numbers(clip, grid, mask),
    }


def frames_document(
    frames: np.ndarray, *, title: str, note: str = "", rate_hz: float = RATE_HZ
) -> dict[str, Any]:
    """Describe frames without truth, to which layers may be added.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        title: Heading.
        note: Line below the heading.
        rate_hz: Frames per second.
    """
    # OpenCV encodes without the interpreter's lock.
    addresses = list(map_in_threads(_frame_address, frames, threads=4))
    return {
        "title": title,
        "note": note,
        "height": frames.shape[1],
        "width": frames.shape[2],
        "rate_hz": rate_hz,
        "frames": addresses,
        "objects": [],
        "tracks": [],
        "pictures": [],
        "tokens": None,
        "table": {"columns": [], "rows": [], "sentence": ""},
    }


def picture_layer(
    pictures: Sequence[np.ndarray | None],
    *,
    name: str,
    label: str,
    says: str,
    every: int = 1,
    opacity: float = 1.0,
    smooth: bool = False,
) -> dict[str, Any]:
    """Describe a layer of pictures that are stretched over the frames.

    Args:
        pictures: (h, w, 3 or 4) uint8 RGB or RGBA each, of any size; None shows nothing.
        name: Name of the layer, the same for the same thing in every document.
        label: Words on its switch.
        says: Sentence about it.
        every: Frames that a picture stays.
        opacity: Opacity, 0 to 1.
        smooth: Whether enlarged pixels run into each other.
    """
    addresses = list(
        map_in_threads(lambda one: None if one is None else _png_address(one), pictures, threads=4)
    )
    return {
        "name": name,
        "label": label,
        "says": says,
        "every": every,
        "opacity": opacity,
        "smooth": smooth,
        "pictures": addresses,
    }


def describe_tokens(grid: TokenGrid, mask: TokenMask | None) -> dict[str, Any]:
    """Describe a token grid; `hidden` has a text of 0 and 1 for each slice, row by row."""
    hidden = None
    if mask is not None:
        flags = np.zeros(grid.tokens, np.uint8)
        flags[mask.masked] = 1
        text = (flags + ord("0")).tobytes().decode()
        hidden = [
            text[start : start + grid.slice_tokens]
            for start in range(0, grid.tokens, grid.slice_tokens)
        ]
    return {
        "tubelet": grid.tubelet,
        "patch": grid.patch,
        "rows": grid.rows,
        "columns": grid.columns,
        "hidden": hidden,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipNumbers:
    """Statistics of a clip of K objects, averaged over its frames."""

    names: tuple[str, ...]
    """Id of each object in the bank."""
    side_px: np.ndarray
    """(K,) longer side before scaling, pixels."""
    speed_px: np.ndarray
    """(K,) speed of the center, pixels per frame."""
    coverage: np.ndarray
    """(K,) share of the frame that is visibly covered by the object."""
    occlusion: np.ndarray
    """(K,) share of the silhouette inside the frame that other objects occlude."""
    visible: np.ndarray
    """(K,) visible share of the whole silhouette, with parts outside the frame."""
    all_coverage: float
    """Share of the frame that all objects cover together."""


def measure_clip(clip: Clip) -> ClipNumbers:
    """Measure a clip from its truth."""
    plan, truth = clip.plan, clip.truth
    speed = np.zeros(plan.slots)
    if plan.frames > 1:
        speed = np.linalg.norm(np.diff(plan.centre, axis=1), axis=2).mean(axis=1)
    seen = np.bincount(truth.ids.ravel(), minlength=plan.slots + 1)[1:]
    inside = np.array([truth.silhouette(slot).sum() for slot in range(plan.slots)], np.int64)
    return ClipNumbers(
        names=tuple(truth.bank.record(int(index))["id"] for index in plan.objects),
        side_px=plan.base_size.max(axis=1, initial=0),
        speed_px=speed,
        coverage=seen / truth.ids.size,
        occlusion=(inside - seen) / np.maximum(inside, 1),
        visible=truth.visible_share.mean(axis=1),
        all_coverage=float((truth.ids > 0).mean()),
    )


def _describe_numbers(clip: Clip, grid: TokenGrid | None, mask: TokenMask | None) -> dict[str, Any]:
    plan = clip.plan
    rows: list[list[str]] = []
    if 0 < plan.slots <= MOST_ROWS:
        numbers = measure_clip(clip)
        rows = [
            [
                name,
                f"{numbers.side_px[slot]:.0f}",
                f"{numbers.speed_px[slot]:.1f}",
                f"{plan.angle_deg[slot].min():.0f} to {plan.angle_deg[slot].max():.0f}",
                f"{plan.scale[slot].min():.2f} to {plan.scale[slot].max():.2f}",
                f"{numbers.coverage[slot]:.1%}",
                f"{numbers.occlusion[slot]:.0%}",
                f"{numbers.visible[slot]:.0%}",
            ]
            for slot, name in enumerate(numbers.names)
        ]
    columns = ["object", "side, px", "speed, px a frame", "turn, degrees", "scale", "coverage"]
    return {
        "columns": [*columns, "occluded", "visible"],
        "rows": rows,
        "sentence": _sentence(clip, grid, mask),
    }


def _sentence(clip: Clip, grid: TokenGrid | None, mask: TokenMask | None) -> str:
    covered = float((clip.truth.ids > 0).mean())
    count = clip.plan.slots
    words = f"{count} object{'s' * (count != 1)} cover{'s' * (count == 1)} {covered:.1%} of the "
    words += "frame"
    if grid is not None and mask is not None:
        words += f"; {len(mask.masked) / grid.tokens:.0%} of the {grid.tokens} tokens are hidden"
        on = clip.truth.token_coverage(grid).sum(axis=0).ravel() > 0
        if on.any():
            share = on[mask.masked].sum() / on.sum()
            words += f"; {on.mean():.0%} of all lie on a trajectory, and {share:.0%} of these are "
            words += "hidden"
    return f"{words}."


def describe_origin(origin: dict[str, Any]) -> str:
    """Say in a few words where a clip's background is from (`Clip.origin`)."""
    words = [str(origin["kind"])]
    if "file" in origin:
        words.append(Path(origin["file"]).name)
    if "frames" in origin:
        first, last = origin["frames"][0], origin["frames"][-1]
        words.append(f"frames {first} to {last}" if last > first else f"frame {first}")
    return ", ".join(words)


def _drawn_slots(clip: Clip) -> list[int]:
    if clip.plan.slots <= MOST_DRAWN:
        return list(range(clip.plan.slots))
    seen = np.bincount(clip.truth.ids.ravel(), minlength=clip.plan.slots + 1)[1:]
    return sorted(np.argsort(-seen, kind="stable")[:MOST_DRAWN].tolist())


def _describe_object(clip: Clip, slot: int) -> dict[str, Any]:
    truth, plan = clip.truth, clip.plan
    index = int(plan.objects[slot])
    shown: dict[str, Any] = {"rings": _describe_outline(truth.bank.outline(index))}
    if plan.pose is not None:
        numbers, places = np.unique(plan.pose[slot], return_inverse=True)
        poses = [_describe_outline(truth.bank.outline(index, int(pose))) for pose in numbers]
        shown = {"poses": poses, "pose": places.tolist()}
    placement = plan.only(slot).placement()[0].reshape(plan.frames, 6)
    boxes = truth.boxes[slot]
    return {
        "name": truth.bank.record(index)["id"],
        "color": COLORS[slot % len(COLORS)],
        "boxes": [np.round(box, 2).tolist() if np.isfinite(box).all() else None for box in boxes],
        "center": np.round(plan.centre[slot], 2).tolist(),
        **shown,
        "maps": np.round(placement, 3).tolist(),
    }


def _describe_outline(whole: Any) -> list[list[float]]:
    """Rings of a simplified outline: x, y, x, y, … in unit coordinates."""
    outline = whole.simplify(OUTLINE_TOLERANCE)
    return [
        np.round(np.asarray(ring.coords)[:-1], 4).ravel().tolist()
        for part in getattr(outline, "geoms", [outline])
        for ring in (part.exterior, *part.interiors)
    ]


def _describe_tracks(clip: Clip) -> list[dict[str, Any]]:
    """Track points that are spread over each object, and over a background that a camera moves, in
    the frame that shows most of it."""
    truth, plan = clip.truth, clip.plan
    slots = range(plan.slots) if plan.slots <= MOST_ROWS else ()
    colors = {slot + 1: COLORS[slot % len(COLORS)] for slot in slots}
    if plan.camera:
        colors[0] = BACKGROUND_COLOR
    found = []
    for id_, color in colors.items():
        frame = int((truth.ids == id_).sum(axis=(1, 2)).argmax())
        y, x = np.nonzero(truth.ids[frame] == id_)
        if not len(y):
            continue
        count = TRACKED if id_ else TRACKED_BEHIND
        chosen = _spread(np.stack([x, y], axis=1).astype(np.float64), count)
        tracks = truth.track(chosen, frame)
        found += [
            {
                "color": color,
                "points": np.round(places, 1).tolist(),
                "seen": "".join("01"[int(flag)] for flag in flags),
            }
            for places, flags in zip(tracks.positions, tracks.visible, strict=True)
        ]
    return found


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Choose points far from each other: each the farthest from those before."""
    points = points[:: max(1, len(points) // 2000)]
    middle = points.mean(axis=0)
    chosen = [int(((points - middle) ** 2).sum(axis=1).argmin())]
    distance = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return points[chosen]


def _masks_layer(clip: Clip) -> dict[str, Any]:
    colors = np.zeros((256, 4), np.uint8)
    for slot in range(clip.plan.slots):
        colors[slot + 1] = (*COLORS[slot % len(COLORS)], 255)
    return picture_layer(
        [colors[ids] for ids in clip.truth.ids],
        name="masks", label="Masks", opacity=0.6,
        says="the visible part of each object, to the pixel",
    )  # fmt: skip


def _flow_layer(clip: Clip) -> dict[str, Any]:
    vectors = clip.truth.flow().vectors
    # Backgrounds are shown where a camera moves them.
    moving = (clip.truth.ids[:-1] > 0) | (vectors != 0).any(axis=-1)
    alpha = np.where(moving, np.uint8(255), np.uint8(0))[..., None]
    drawn = np.concatenate([draw_flow(vectors)[:-1], alpha], axis=-1)
    return picture_layer(
        [*drawn, None],
        name="flow", label="Flow",
        says=f"where each point goes by the next frame: hue is direction (red is right), "
        f"saturation speed, full at {flow_reach(vectors):.0f} px a frame",
    )  # fmt: skip


def _coverage_layer(clip: Clip, grid: TokenGrid) -> dict[str, Any]:
    coverage = clip.truth.token_coverage(grid)
    colors = np.array([COLORS[slot % len(COLORS)] for slot in range(len(coverage))])
    total = coverage.sum(axis=0)
    light = np.einsum("ktrc,kd->trcd", coverage, colors.reshape(-1, 3))
    mean = light / np.maximum(total, 1e-6)[..., None]
    drawn = np.concatenate([mean, 255 * np.clip(total, 0, 1)[..., None]], axis=-1)
    return picture_layer(
        list(np.rint(drawn).astype(np.uint8)),
        name="coverage", label="Token coverage", every=grid.tubelet, opacity=0.8,
        says="the share of each token that objects cover: what trajectory masks follow",
    )  # fmt: skip


def _frame_address(frame: np.ndarray) -> str:
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444  # Colors as sharp as brightness.
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), settings)[1]
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _png_address(picture: np.ndarray) -> str:
    data = encode_png(np.ascontiguousarray(picture), (cv2.IMWRITE_PNG_COMPRESSION, 1))
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
