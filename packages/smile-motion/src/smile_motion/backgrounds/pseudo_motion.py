"""Pseudo-motion: video made of one photograph by applying one small change repeatedly.

"Data Collection-free Masked Video Modeling" (arXiv 2409.06665), in short "the paper" here. What is
marked as the paper's was taken from its abstract and a public summary of its method and tables
(papernotes.org); neither tells the strengths of its changes, which are ours, and no code is known.
Of its eight changes, color jitter and CutMix are left out: its own choice has neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np

from smile_motion.backgrounds.base import BackgroundClip
from smile_motion.backgrounds.origins import PseudoMotionChange as Change
from smile_motion.backgrounds.origins import check_origin
from smile_motion.errors import InputError
from smile_motion.io.images import draw_crop, read_photograph


@dataclass(frozen=True, kw_only=True)
class PseudoMotionBackground:
    """Photographs set in motion, each mixed with another (Mixup).

    Frame t shows the photograph under the change applied t times. Changes of place are composed
    first and drawn in one resampling, so that no blur builds up; beyond the photograph's edge its
    reflection is seen. Both ours.
    """

    files: tuple[Path, ...]
    """Paths of the photographs."""
    changes: tuple[Change, ...] = ("zoom", "affine")
    """Changes, one of which is drawn for each photograph. Paper: this pair does best."""
    mixup: float = 1.0
    """Parameter of the symmetric beta distribution that the weights of the two photographs are
    drawn from; 0 shows one alone. Paper: with Mixup; its parameter is ours."""
    zoom: tuple[float, float] = (0.01, 0.04)
    """Range of the change of the window's side, a frame, as a share of it; either way. Ours."""
    rotation_deg: float = 3.0
    """Largest turn a frame, either way, for `affine`. Ours."""
    shift: float = 0.02
    """Largest shift a frame along each axis, as a share of the frame, for `affine`. Ours."""
    growth: float = 0.02
    """Largest growth a frame, either way, for `affine`. Ours."""
    shear: float = 0.02
    """Largest shear a frame along each axis, for `affine`. Ours."""
    tilt: float = 0.015
    """Largest change of scale a frame from the middle to an edge, for `perspective`. Ours."""

    is_static = False

    def __post_init__(self) -> None:
        if not self.files:
            raise InputError("pseudo-motion needs photographs: add --images DIR")
        if not self.changes or not set(self.changes) <= set(get_args(Change)):
            raise InputError(
                f"changes is {self.changes}; give some of {', '.join(get_args(Change))}"
            )
        if not 0 <= self.zoom[0] <= self.zoom[1] <= 0.2:
            raise InputError(f"zoom is {self.zoom}; give a range within 0 to 0.2, smaller first")
        if not self.mixup >= 0:
            raise InputError(f"mixup is {self.mixup}; give 0 or more")

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self.files)

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Draw one photograph in motion, mixed with another one."""
        chosen = [index % len(self.files)]
        weights = [1.0]
        if self.mixup:
            chosen.append(int(rng.integers(len(self.files))))
            weights = [float(rng.beta(self.mixup, self.mixup))]
            weights.append(1 - weights[0])
        images = [read_photograph(self.files[number]) for number in chosen]
        parts = [
            {"file": str(self.files[number]), "weight": weight}
            | self._draw_change(rng, image.shape[0], image.shape[1], frames)
            for number, weight, image in zip(chosen, weights, images, strict=True)
        ]
        origin = {"kind": "pseudo-motion", "file": parts[0]["file"], "parts": parts}
        return BackgroundClip(_mix(images, parts, frames, size, out), origin)

    def _draw_change(
        self, rng: np.random.Generator, height: int, width: int, frames: int
    ) -> dict[str, Any]:
        """Draw a window of the photograph and a change of it.

        `window` maps the first frame, -0.5 to 0.5 along each axis, to pixels of the photograph;
        `step` is the homography from one frame to the next; `light` is the brightness of the first
        and the last frame.
        """
        change = self.changes[int(rng.integers(len(self.changes)))]
        x, y, side_x, side_y = draw_crop(rng, height, width)
        step, light = np.eye(3), (1.0, 1.0)
        match change:
            case "slide":
                goal = rng.random(2) * (width - side_x, height - side_y)
                step[:2, 2] = (goal - (x, y)) / (side_x, side_y) / max(frames - 1, 1)
            case "zoom":
                rate = 1 - rng.uniform(*self.zoom)
                if rng.random() < 0.5:  # out: begin with what a zoom in ends with
                    shrunk = rate ** (frames - 1)
                    x, y = x + side_x * (1 - shrunk) / 2, y + side_y * (1 - shrunk) / 2
                    side_x, side_y, rate = side_x * shrunk, side_y * shrunk, 1 / rate
                step[0, 0] = step[1, 1] = rate
            case "fade":
                light = (0.0, 1.0) if rng.random() < 0.5 else (1.0, 0.0)
            case "affine":
                turn = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg))
                shear = rng.uniform(-self.shear, self.shear, 2)
                cosine, sine = np.cos(turn), np.sin(turn)
                step[:2, :2] = (1 + rng.uniform(-self.growth, self.growth)) * (
                    np.array([[cosine, sine], [-sine, cosine]])
                    @ np.array([[1, shear[0]], [shear[1], 1]])
                )
                step[:2, 2] = rng.uniform(-self.shift, self.shift, 2)
            case "perspective":
                step[2, :2] = 2 * rng.uniform(-self.tilt, self.tilt, 2)
            case "identity":
                pass
        window = [
            [side_x, 0, x + side_x / 2 - 0.5],
            [0, side_y, y + side_y / 2 - 0.5],
            [0, 0, 1],
        ]
        return {"change": change, "window": window, "step": step.tolist(), "light": list(light)}


def redraw_pseudo_motion(
    origin: dict[str, Any], *, frames: int, size: tuple[int, int], file: Path | None = None
) -> np.ndarray:
    """Render a background again from its origin.

    Args:
        origin: `BackgroundClip.origin`.
        frames: Number of frames T.
        size: (height, width), pixels.
        file: Present path of the first photograph, with the other one beside it; their stored paths
            by default.

    Returns:
        (T, H, W, 3) uint8 RGB.

    Raises:
        InputError: A photograph cannot be read, or the origin is invalid.
    """
    parts = check_origin(origin)["parts"]
    places = [Path(part["file"]) for part in parts]
    if file is not None:
        places = [file, *(file.parent / place.name for place in places[1:])]
    return _mix([read_photograph(place) for place in places], parts, frames, size, None)


def _mix(
    images: list[np.ndarray],
    parts: list[dict[str, Any]],
    frames: int,
    size: tuple[int, int],
    out: np.ndarray | None,
) -> np.ndarray:
    out = np.empty((frames, *size, 3), np.uint8) if out is None else out
    scenes = [
        (*_shrunk(image, np.array(part["window"], float), size), part)
        for image, part in zip(images, parts, strict=True)
    ]
    units = _units(size)
    powers = [np.eye(3) for _ in scenes]
    for t, frame in enumerate(out):
        mixed = np.zeros((*size, 3), np.float32)
        for number, (image, window, part) in enumerate(scenes):
            map_ = window @ powers[number] @ units
            if not np.isfinite(map_).all():
                raise InputError(
                    f"background: step grows beyond all numbers by frame {t}; render its clip anew"
                )
            shown = cv2.warpPerspective(
                image,
                map_,
                (size[1], size[0]),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            first, last = part["light"]
            light = first + (last - first) * t / max(frames - 1, 1)
            mixed += shown * np.float32(part["weight"] * light)
            powers[number] = powers[number] @ np.array(part["step"], float)
        np.rint(mixed, out=mixed)
        frame[:] = mixed
    return out


def _units(size: tuple[int, int]) -> np.ndarray:
    """Map pixels of a frame (height, width) to -0.5 to 0.5 along each axis: (3, 3)."""
    height, width = size
    return np.array(
        [[1 / width, 0, 0.5 / width - 0.5], [0, 1 / height, 0.5 / height - 0.5], [0, 0, 1]]
    )


def _shrunk(
    image: np.ndarray, window: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Average a photograph down to about the frame's resolution, against aliasing."""
    height, width = image.shape[:2]
    factor = min(1.0, max(size[1] / window[0, 0], size[0] / window[1, 1]))
    target = (max(1, round(width * factor)), max(1, round(height * factor)))
    if target == (width, height):
        return image, window
    scale_x, scale_y = target[0] / width, target[1] / height
    smaller = np.array(
        [[scale_x, 0, scale_x / 2 - 0.5], [0, scale_y, scale_y / 2 - 0.5], [0, 0, 1]]
    )
    return cv2.resize(image, target, interpolation=cv2.INTER_AREA), smaller @ window
