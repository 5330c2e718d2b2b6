"""Scenes of a motion probe: plans whose labels only the order of the frames tells.

Every scene obeys two laws, so that neither a single frame nor the places together can tell:

* the first frame is drawn in the same way whatever the label;
* the frames of a clip, taken out of order, are distributed in the same way whatever the label.

`direction` visits the same sixteen places in another order; growth and acceleration run round a
cycle; of two clips of a pair one is the other backwards.

Distances are pixels at 224, as everywhere in recipes; a plan is resized to the frames wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from smile_motion.motion.paths import REFERENCE_PX
from smile_motion.motion.plan import MotionPlan

from smile_train.motion_probe.config import SceneName

FRAMES = 16
"""Frames of a clip: 4 x 4 places, two cycles of 8."""
SIDE_PX = (60.0, 92.0)
"""Longer side of the object that is asked about."""
SMALL_PX = (20.0, 32.0)
"""Of distractors."""
DISTRACTORS = 2
"""Most of a clip."""
DIRECTIONS = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
"""Steps (x, y), y down: right, and on counter-clockwise."""
CYCLE = 8
"""Frames of a cycle of growth or acceleration."""
TRAVELERS = 4
"""Objects of which some travel."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One object's way through a clip."""

    side: float
    """Longer side at scale 1, pixels at 224."""
    centre: np.ndarray
    """(T, 2) float64 x, y, pixels at 224."""
    angle_deg: np.ndarray | None = None
    """(T,) float64; a random constant by default."""
    scale: np.ndarray | None = None
    """(T,) float64; 1 by default."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Objects, and what is asked about them."""

    tracks: list[Track]
    """From the bottom up."""
    labels: dict[str, float]
    """What is true, by factor; classes as whole numbers."""
    wall: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 of what hides objects, pixel edges at 224."""


def draw_scene(name: SceneName, rng: np.random.Generator, label: int) -> Scene:
    """Draw a scene.

    Args:
        label: Which class of direction (0 to 7) or count (0 to 3); of a pair, 0 or 1. The generator
            of both clips of a pair has the same state.
    """
    return _SCENES[name](rng, label)


def plan_scene(
    scene: Scene, rng: np.random.Generator, objects: np.ndarray, aspect: np.ndarray, size: int
) -> MotionPlan:
    """Turn a scene into a plan.

    Args:
        objects: (K,) int64: bank numbers, one for each track.
        aspect: (K,) float64: their width over height.
        size: Side of the frames, pixels.
    """
    count = len(scene.tracks)
    longer = np.array([track.side for track in scene.tracks])
    base = np.stack([longer * np.minimum(aspect, 1), longer / np.maximum(aspect, 1)], axis=1)
    turn = rng.uniform(0, 360, count)
    still = np.ones(FRAMES)
    angle = [
        turn[k] * still if track.angle_deg is None else turn[k] + track.angle_deg
        for k, track in enumerate(scene.tracks)
    ]
    scale = [still if track.scale is None else track.scale for track in scene.tracks]
    plan = MotionPlan(
        height=REFERENCE_PX,
        width=REFERENCE_PX,
        objects=objects,
        base_size=base,
        centre=np.stack([track.centre for track in scene.tracks]),
        angle_deg=np.stack(angle),
        scale=np.repeat(np.stack(scale)[..., None], 2, axis=2),
        order=np.tile(np.arange(count), (FRAMES, 1)),
    )
    return plan.resized(size / REFERENCE_PX)


def backwards(scene: Scene) -> Scene:
    """The same frames, last to first."""

    def turned(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[::-1].copy()

    return replace(
        scene,
        tracks=[
            replace(
                track,
                centre=track.centre[::-1].copy(),
                angle_deg=turned(track.angle_deg),
                scale=turned(track.scale),
            )
            for track in scene.tracks
        ],
    )


def _direction(rng: np.random.Generator, label: int) -> Scene:
    """An object that travels in one of eight directions, over the same 4 x 4 places in each.

    Four runs of four places; between runs it jumps. The sequence is turned round to begin at any of
    its places.
    """
    step = rng.uniform(10, 24)
    corner = _somewhere(rng, 3 * step / 2 + 24) - 3 * step / 2
    places = _runs(DIRECTIONS[label], rng)
    places = np.roll(places, int(rng.integers(FRAMES)), axis=0)
    track = Track(side=rng.uniform(*SIDE_PX), centre=corner + step * places)
    return Scene(tracks=_with_distractors(rng, track), labels={"direction": label})


def _runs(step: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The places of a 4 x 4 torus in runs of one direction, the runs in any order, (16, 2)."""
    across = (0, 1) if step[0] else (1, 0)
    first = 0 if step[0] + step[1] * (step[0] == 0) > 0 else 3
    runs = []
    for row in rng.permutation(4):
        start = np.where(across, row, first)
        runs.append((start + np.arange(4)[:, None] * step) % 4)
    return np.concatenate(runs).astype(np.float64)


def _orbit(rng: np.random.Generator, label: int) -> Scene:
    """An object on a circle, at a speed that its radius does not tell; half of them backwards."""
    radius, speed = rng.uniform(22, 32), rng.uniform(12, 30)
    centre = _somewhere(rng, radius + 24)
    angle = rng.uniform(0, 2 * np.pi) + speed / radius * np.arange(FRAMES)
    track = Track(side=rng.uniform(*SIDE_PX), centre=centre + radius * _circle(angle))
    scene = Scene(
        tracks=_with_distractors(rng, track), labels={"speed": speed, "pairs": float(label)}
    )
    return backwards(scene) if label else scene


def _spin(rng: np.random.Generator, label: int) -> Scene:
    """An object that turns while it drifts; half of them backwards."""
    rate = rng.uniform(4, 20)
    track = Track(
        side=rng.uniform(*SIDE_PX), centre=_drift(rng), angle_deg=rate * np.arange(FRAMES)
    )
    signed = -rate if label else rate
    scene = Scene(
        tracks=_with_distractors(rng, track),
        labels={"rotation_sense": float(label), "rotation_rate": signed},
    )
    return backwards(scene) if label else scene


def _growth(rng: np.random.Generator, label: int) -> Scene:
    """An object that grows, is small again and grows anew; half of them backwards: it shrinks."""
    track = Track(
        side=rng.uniform(*SIDE_PX),
        centre=_drift(rng),
        scale=2.0 ** (1.2 * _cycle(rng) - 0.6),
    )
    scene = Scene(tracks=_with_distractors(rng, track), labels={"growth": float(label)})
    return backwards(scene) if label else scene


def _count(rng: np.random.Generator, label: int) -> Scene:
    """Four objects of which 1 to 4 travel round circles; the rest jump about on theirs."""
    tracks = []
    for number in range(TRAVELERS):
        radius = rng.uniform(18, 30)
        angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi / FRAMES * np.arange(FRAMES)
        angle = angle * (1 if rng.random() < 0.5 else -1)
        jumping = rng.permutation(FRAMES)
        if number > label:
            angle = angle[jumping]
        centre = _somewhere(rng, radius + 20)
        tracks.append(Track(side=rng.uniform(40, 60), centre=centre + radius * _circle(angle)))
    order = rng.permutation(TRAVELERS)
    return Scene(tracks=[tracks[k] for k in order], labels={"count": float(label)})


def _front(rng: np.random.Generator, label: int) -> Scene:
    """Two objects that pass each other: is the one that goes right in front? Half backwards."""
    reach, tilt = rng.uniform(52, 70), rng.uniform(-0.6, 0.6)
    way = reach * np.array([np.cos(tilt), np.sin(tilt)])
    middle = _somewhere(rng, 72)
    along = np.linspace(-1, 1, FRAMES)[:, None] * way
    apart = rng.uniform(-8, 8, 2)
    sides = rng.uniform(48, 64, 2)
    below = Track(side=sides[0], centre=middle - along + apart)
    above = Track(side=sides[1], centre=middle + along - apart)
    distractor = _distractor(rng)
    scene = Scene(tracks=[distractor, below, above], labels={"front": float(label)})
    return backwards(scene) if label else scene


def _hidden(rng: np.random.Generator, label: int) -> Scene:
    """An object on a circle, behind a wall in the last frame: how far is it along the wall?"""
    radius, side = 36.0, rng.uniform(28, 40)
    end = rng.uniform(np.deg2rad(50), np.deg2rad(130))
    turn = rng.uniform(2 * np.pi, 4 * np.pi) * (1 if label else -1)
    angle = end - turn * np.linspace(1, 0, FRAMES)
    centre = _somewhere(rng, 72)
    edge = radius * np.sin(np.deg2rad(50)) - side / 2
    track = Track(side=side, centre=centre + radius * _circle(angle, down=True))
    x, y = centre
    wall = (x - 80.0, y + edge, x + 80.0, y + radius + side / 2 + 2)
    return Scene(
        tracks=[_distractor(rng), track], labels={"hidden": radius * np.cos(end)}, wall=wall
    )


def _reversal(rng: np.random.Generator, label: int) -> Scene:
    """An object that gains speed, is back and gains it anew; half of them backwards."""
    way = rng.uniform(56, 80) * _circle(np.array([rng.uniform(0, 2 * np.pi)]))
    track = Track(
        side=rng.uniform(*SIDE_PX),
        centre=_somewhere(rng, 60) + (_cycle(rng)[:, None] ** 2 - 0.5) * way,
    )
    scene = Scene(tracks=_with_distractors(rng, track), labels={"reversal": float(label)})
    return backwards(scene) if label else scene


def _with_distractors(rng: np.random.Generator, track: Track) -> list[Track]:
    """An object among small ones that go their own ways, above or below it."""
    others = [_distractor(rng) for _ in range(int(rng.integers(1, DISTRACTORS + 1)))]
    others.insert(int(rng.integers(len(others) + 1)), track)
    return others


def _distractor(rng: np.random.Generator) -> Track:
    radius = rng.uniform(10, 40)
    rate = rng.uniform(-0.8, 0.8)
    angle = rng.uniform(0, 2 * np.pi) + rate * np.arange(FRAMES)
    return Track(side=rng.uniform(*SMALL_PX), centre=_somewhere(rng, 12) + radius * _circle(angle))


def _drift(rng: np.random.Generator) -> np.ndarray:
    """A straight way in any direction, (T, 2)."""
    velocity = rng.uniform(0, 5) * _circle(np.array([rng.uniform(0, 2 * np.pi)]))
    return _somewhere(rng, 60) + (np.arange(FRAMES) - (FRAMES - 1) / 2)[:, None] * velocity


def _cycle(rng: np.random.Generator) -> np.ndarray:
    """Phases 0 to 1 of two cycles that begin anywhere, (T,)."""
    return ((np.arange(FRAMES) + rng.integers(CYCLE)) % CYCLE) / (CYCLE - 1)


def _somewhere(rng: np.random.Generator, margin: float) -> np.ndarray:
    """A place at least so many pixels from the border, (2,)."""
    return rng.uniform(margin, REFERENCE_PX - margin, 2) - 0.5


def _circle(angle: np.ndarray, *, down: bool = False) -> np.ndarray:
    """Unit vectors (T, 2) at angles, counter-clockwise as seen, or clockwise."""
    return np.stack([np.cos(angle), np.sin(angle) if down else -np.sin(angle)], axis=-1)


_SCENES: dict[SceneName, Callable[[np.random.Generator, int], Scene]] = {
    "direction": _direction,
    "orbit": _orbit,
    "spin": _spin,
    "growth": _growth,
    "count": _count,
    "front": _front,
    "hidden": _hidden,
    "reversal": _reversal,
}
