"""Labelled movements of articulated bodies: a folder that `--dataset folder` reads.

    python -m benchmarks.evidence.movements --out runs/evidence/movements
    python -m benchmarks.evidence.movements --out DIR --train 2 --test 1 --sheet sheet.png

    DIR/train/rise/humanoid_0000.mp4 …  DIR/validation/rise/dog_0000.mp4 …  DIR/movements.json

Twenty movements in pairs: the same in reverse, to the other side, at another speed, about another
axis. Every clip begins and ends in a pose, place, heading, size and height of its own, everything
that the movement is not about wavers, and the camera drifts, so that a frame tells little. Bodies
and textures of the validation part are in no training clip. A clip is a function of the seed and
its name; those that are there are not rendered again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, write_atomically
from smile_motion.runtime.progress import progress_bar

from benchmarks.evidence.bodies import BODIES
from benchmarks.evidence.scene import Look, Stage, State, choose_backend
from benchmarks.evidence.textures import KINDS
from benchmarks.evidence.videos import write_small_video

PARTS: dict[str, tuple[str, ...]] = {
    "train": ("humanoid", "walker", "cheetah", "quadruped"),
    "validation": ("humanoid_CMU", "dog", "hopper"),
}
"""Bodies of each part of the data."""
VERSION = 1
"""Of the clips that a seed makes."""

Track = dict[str, np.ndarray]
"""A value for every frame, (T,), by the name of a field of `State`; limbs `limb 0`, `limb 1`, …"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is rendered."""

    out: Path
    """Folder of the data set."""
    train: int = 200
    """Training clips of each movement."""
    test: int = 40
    """Validation clips of each movement."""
    frames: int = 32
    """Frames of a clip."""
    size: int = 64
    """Side of a frame, pixels."""
    seed: int = 0
    """Of everything drawn."""
    sheet: Path | None = None
    """Picture of one clip of each movement of each part, eight frames each."""


def _ramp(rng: np.random.Generator, frames: int) -> np.ndarray:
    """From 0 to 1, slow at both ends, beginning early and ending late, (T,)."""
    begin, end = rng.uniform(0, 0.2), rng.uniform(0.8, 1)
    time = np.clip((np.linspace(0, 1, frames) - begin) / (end - begin), 0, 1)
    return time * time * (3 - 2 * time)


def _between(rng: np.random.Generator, frames: int, low: float, high: float) -> np.ndarray:
    """From near one bound to near the other, (T,)."""
    margin = 0.15 * (high - low)
    begin, end = low + margin * rng.random(), high - margin * rng.random()
    return begin + (end - begin) * _ramp(rng, frames)


def _cycles(rng: np.random.Generator, frames: int, count: float) -> np.ndarray:
    """A sine of some periods, (T,)."""
    phase = rng.uniform(0, 2 * np.pi)
    return np.sin(2 * np.pi * count * np.linspace(0, 1, frames) + phase)


def _limbs(track: Track, rng: np.random.Generator) -> list[str]:
    """One of the limbs, or all."""
    names = [name for name in track if name.startswith("limb")]
    return names if rng.random() < 0.5 else [names[rng.integers(len(names))]]


def _reach(name: str, low: float, high: float) -> Callable[[Track, np.random.Generator], None]:
    def move(track: Track, rng: np.random.Generator) -> None:
        track[name] = _between(rng, len(track[name]), low, high)

    return move


def _lift(track: Track, rng: np.random.Generator) -> None:
    for name in _limbs(track, rng):
        track[name] = _between(rng, len(track[name]), 0, 1)


def _wave(count: float) -> Callable[[Track, np.random.Generator], None]:
    def move(track: Track, rng: np.random.Generator) -> None:
        frames = len(track["yaw"])
        swing = 0.5 + rng.uniform(0.35, 0.5) * _cycles(rng, frames, count * rng.uniform(0.85, 1.15))
        for name in _limbs(track, rng):
            track[name] = swing

    return move


def _hop(count: float) -> Callable[[Track, np.random.Generator], None]:
    def move(track: Track, rng: np.random.Generator) -> None:
        swing = _cycles(rng, len(track["yaw"]), count * rng.uniform(0.85, 1.15) / 2)
        track["height"] = rng.uniform(0.3, 0.45) * np.abs(swing)

    return move


def _walk(track: Track, rng: np.random.Generator) -> None:
    frames, middle = len(track["yaw"]), rng.uniform(-0.15, 0.15)
    half = rng.uniform(0.35, 0.5)
    track["across"] = _between(rng, frames, middle - half, middle + half)
    names = [name for name in track if name.startswith("limb")]
    for number, name in enumerate(names):
        step = _cycles(np.random.default_rng(number), frames, rng.uniform(1.5, 2.5))
        track[name] = 0.4 + 0.3 * step


def _turn(track: Track, rng: np.random.Generator) -> None:
    track["yaw"] = track["yaw"] + np.radians(rng.uniform(75, 140)) * (
        _ramp(rng, len(track["yaw"])) - 0.5
    )


def _sway(name: str, degrees: float) -> Callable[[Track, np.random.Generator], None]:
    def move(track: Track, rng: np.random.Generator) -> None:
        swing = _cycles(rng, len(track[name]), rng.uniform(1.7, 2.3))
        track[name] = track[name] + np.radians(degrees * rng.uniform(0.8, 1.2)) * swing

    return move


def _reversed(
    move: Callable[[Track, np.random.Generator], None],
) -> Callable[[Track, np.random.Generator], None]:
    def backwards(track: Track, rng: np.random.Generator) -> None:
        move(track, rng)
        for name in track:
            track[name] = track[name][::-1]

    return backwards


_ROLL = float(np.radians(40))
MOVEMENTS: dict[str, Callable[[Track, np.random.Generator], None]] = {
    "raise": _lift,
    "lower": _reversed(_lift),
    "crouch": _reach("crouch", 0, 1),
    "rise": _reversed(_reach("crouch", 0, 1)),
    "bow": _reach("bow", 0, 1),
    "straighten": _reversed(_reach("bow", 0, 1)),
    "turn_left": _turn,
    "turn_right": _reversed(_turn),
    "tip_left": _reach("roll", -_ROLL, _ROLL),
    "tip_right": _reversed(_reach("roll", -_ROLL, _ROLL)),
    "walk_right": _walk,
    "walk_left": _reversed(_walk),
    "recede": _reach("distance", 0.9, 1.7),
    "approach": _reversed(_reach("distance", 0.9, 1.7)),
    "wave_slowly": _wave(1.0),
    "wave_fast": _wave(3.0),
    "hop_slowly": _hop(1.0),
    "hop_fast": _hop(3.0),
    "nod": _sway("pitch", 20),
    "shake": _sway("yaw", 40),
}
"""By name of the class. Neighbours are a pair; left and right are the picture's."""


def draw_track(movement: str, limbs: int, frames: int, rng: np.random.Generator) -> Track:
    """Draw all that moves in a clip: a start of its own, wavering, and the movement."""
    heading = rng.integers(2) * np.pi + np.radians(rng.uniform(-55, 55))
    start = {
        "crouch": rng.uniform(0, 0.8),
        "bow": rng.uniform(0, 0.6),
        "yaw": heading,
        "pitch": np.radians(rng.uniform(-15, 15)),
        "roll": np.radians(rng.uniform(-25, 25)),
        "across": rng.uniform(-0.35, 0.35),
        "height": rng.integers(2) * rng.uniform(0, 0.4),
        "distance": rng.uniform(0.95, 1.6),
        **{f"limb {number}": rng.random() for number in range(limbs)},
    }
    wavering = {
        "crouch": 0.04,
        "bow": 0.04,
        "yaw": 0.06,
        "pitch": 0.03,
        "roll": 0.04,
        "across": 0.02,
        "height": 0.0,
        "distance": 0.015,
    }
    track = {name: np.full(frames, value) for name, value in start.items()}
    MOVEMENTS[movement](track, rng)
    for name, values in track.items():
        field = gaussian_filter1d(rng.standard_normal(frames + 24), 4)[12:-12]
        track[name] = values + wavering.get(name, 0.05) * field / field.std()
    return track


def states_of(track: Track) -> list[State]:
    """The states of all frames."""
    limbs = [track[name] for name in sorted(track) if name.startswith("limb")]
    others = {name: values for name, values in track.items() if not name.startswith("limb")}
    return [
        State(
            limbs=tuple(float(values[number]) for values in limbs),
            **{name: float(values[number]) for name, values in others.items()},
        )
        for number in range(len(track["yaw"]))
    ]


def render_clip(stage: Stage, movement: str, part: str, rng: np.random.Generator, frames: int):
    """Render a clip of a movement, (T, size, size, 3) uint8."""
    stage.redecorate(rng, KINDS[part])
    look = Look(
        azimuth_deg=rng.uniform(0, 360),
        elevation_deg=rng.uniform(-30, -6),
        drift=(rng.uniform(-8, 8), rng.uniform(-0.12, 0.12), rng.uniform(-0.08, 0.08)),
    )
    track = draw_track(movement, len(stage.body.limbs), frames, rng)
    return stage.render(states_of(track), look)


def render_movements(options: Options) -> None:
    """Render what is missing of the data set.

    Raises:
        InputError: The folder holds another data set, or nothing can render here.
    """
    card = {
        "version": VERSION,
        "seed": options.seed,
        "frames": options.frames,
        "size_px": options.size,
        "clips": {"train": options.train, "validation": options.test},
        "bodies": {part: list(bodies) for part, bodies in PARTS.items()},
        "textures": {part: list(kinds) for part, kinds in KINDS.items()},
        "movements": list(MOVEMENTS),
        "mirrored": False,
    }
    path = options.out / "movements.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != card:
        raise InputError(f"{path}: of other options or another version; choose another --out")
    write_atomically(path, dump_json(card))
    total = (options.train + options.test) * len(MOVEMENTS)
    done = 0
    with progress_bar() as on_progress:
        for part_number, (part, bodies) in enumerate(PARTS.items()):
            clips = options.train if part == "train" else options.test
            for place, name in enumerate(bodies):
                stage: Stage | None = None
                for label, movement in enumerate(MOVEMENTS):
                    for number in range(place, clips, len(bodies)):
                        done += 1
                        on_progress("movements", done, total)
                        file = options.out / part / movement / f"{name}_{number:04d}.mp4"
                        if file.exists():
                            continue
                        if stage is None:
                            stage = Stage(BODIES[name], options.size)
                        rng = np.random.default_rng([options.seed, part_number, label, number])
                        file.parent.mkdir(parents=True, exist_ok=True)
                        write_small_video(
                            file, render_clip(stage, movement, part, rng, options.frames)
                        )
                if stage is not None:
                    stage.close()


def draw_sheet(options: Options, path: Path) -> None:
    """Draw one clip of each movement and part, a row of eight frames each."""
    from PIL import Image
    from smile_motion.video import open_index, read_frames

    columns = []
    for part in PARTS:
        rows = []
        for movement in MOVEMENTS:
            files = sorted((options.out / part / movement).iterdir())
            file = files[list(MOVEMENTS).index(movement) % len(files)]
            index = open_index(file)
            wanted = np.linspace(0, options.frames - 1, 8).round().astype(np.int64)
            rows.append(np.concatenate(list(read_frames(index, wanted)), axis=1))
        columns.append(np.concatenate(rows))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)


def main(options: Options) -> None:
    """Render, and say where it is."""
    choose_backend()
    render_movements(options)
    if options.sheet is not None:
        draw_sheet(options, options.sheet)
    size = sum(file.stat().st_size for file in options.out.rglob("*.mp4"))
    print(f"{options.out}: {len(MOVEMENTS)} movements, {size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    import tyro

    try:
        main(tyro.cli(Options, description=__doc__))
    except InputError as error:
        sys.exit(f"error: {error}")
