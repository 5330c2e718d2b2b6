"""Clips of a motion probe, by number, with their labels; and what lies behind their objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, get_args

import cv2
import numpy as np
from smile_motion.backgrounds.pseudo_motion import PseudoMotionBackground
from smile_motion.backgrounds.sources import BlackBackground, VideoBackground, noise_images
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.images import find_photographs
from smile_motion.motion.paths import REFERENCE_PX
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import find_videos, read_frames
from smile_motion.video.frames import FrameReader

from smile_train.motion_probe.config import SCENE_CLASSES, SceneName
from smile_train.motion_probe.scenes import FRAMES, Scene, draw_scene, plan_scene

BackdropName = Literal["texture", "natural", "photographs", "black"]
DRIFT_PX = 6.0
"""Fastest drift of a texture along each axis, pixels a frame at 224."""
THIRDS = 3
"""Files are shared out: two thirds to learn from, the rest to test on."""


class Backdrop(Protocol):
    """Draws what lies behind a clip."""

    def draw(self, rng: np.random.Generator, number: int, frames: int, size: int) -> np.ndarray:
        """Return (T, size, size, 3) uint8, writable."""
        ...


@dataclass(frozen=True, kw_only=True)
class Texture:
    """Colored noise whose spectrum falls as 1/f, drifting at a constant velocity."""

    def draw(self, rng: np.random.Generator, number: int, frames: int, size: int) -> np.ndarray:
        """Draw a texture larger than the frame, and a window that drifts over it."""
        reach = DRIFT_PX * size / REFERENCE_PX
        velocity = rng.uniform(-reach, reach, 2)
        margin = int(np.ceil(np.abs(velocity).max() * (frames - 1) / 2)) + 2
        side = size + 2 * margin
        image = noise_images(rng, "spectral", 1, (side, side))[0]
        image = _recolored(image, rng)
        drawn = np.empty((frames, size, size, 3), np.uint8)
        for t in range(frames):
            x, y = velocity * (t - (frames - 1) / 2) + (side - 1) / 2
            drawn[t] = cv2.getRectSubPix(image, (size, size), (float(x), float(y)))
        return drawn


@dataclass(frozen=True, kw_only=True)
class Files:
    """Backgrounds of smile_motion, clip by clip."""

    background: VideoBackground | PseudoMotionBackground | BlackBackground
    """Where they come from."""

    def draw(self, rng: np.random.Generator, number: int, frames: int, size: int) -> np.ndarray:
        """Draw the background of a file, counted round."""
        drawn = self.background.draw(rng, index=number, frames=frames, size=(size, size))
        return drawn.frames


def open_backdrops(
    kind: BackdropName,
    *,
    videos: Path | None,
    images: Path | None,
    stride: int,
    read_by: Callable[[Sequence[Path]], FrameReader] = lambda files: read_frames,
) -> tuple[Backdrop, Backdrop]:
    """Open what lies behind clips to learn from, and behind those of the test: no file is in both.

    Args:
        read_by: Chooses what decodes the videos.

    Raises:
        InputError: Files are missing, or there are too few to share out.
    """
    match kind:
        case "texture":
            return Texture(), Texture()
        case "black":
            return Files(background=BlackBackground()), Files(background=BlackBackground())
        case "natural":
            if videos is None:
                raise InputError(
                    "--background natural needs videos: add --videos FILE, DIR or LIST"
                )
            found = [video.path for video in find_videos(videos)]
            learn, test = _shared_out(found, f"{videos}: videos", "--videos")
            reader = read_by(found)
            return (
                Files(background=VideoBackground(files=learn, stride=stride, reader=reader)),
                Files(background=VideoBackground(files=test, stride=stride, reader=reader)),
            )
        case "photographs":
            if images is None:
                raise InputError("--background photographs needs them: add --images DIR")
            learn, test = _shared_out(
                find_photographs(images), f"{images}: photographs", "--images"
            )
            return _moving(learn), _moving(test)


def _moving(files: tuple[Path, ...]) -> Files:
    return Files(
        background=PseudoMotionBackground(
            files=files, changes=("slide", "zoom", "affine"), mixup=0.0
        )
    )


def _shared_out(
    files: Sequence[Path], what: str, option: str
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    if len(files) < THIRDS:
        raise InputError(
            f"{what}: {len(files)}; the test part needs others than the rest has: give {THIRDS} or "
            f"more, or leave {option} out"
        )
    order = np.random.default_rng(0).permutation(len(files))
    own = [files[number] for number in order]
    return tuple(sorted(own[len(own) // THIRDS :])), tuple(sorted(own[: len(own) // THIRDS]))


def _recolored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix the colors of an image at random, and change its contrast and brightness."""
    mix = np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
    mixed = (image.astype(np.float32) - 127.5) @ (rng.uniform(0.3, 1.0) * mix).astype(np.float32)
    return np.clip(mixed + rng.uniform(64, 192, 3), 0, 255).astype(np.uint8)


Part = Literal["learn", "choose", "test"]
"""Clips that classifiers learn from, that penalties are chosen by, and that are judged."""
PARTS: tuple[Part, ...] = get_args(Part)
SHARES = (0.6, 0.15, 0.25)
"""Share of a bank's objects in each part."""
MOST_OBJECTS = 4
"""Objects of a clip, at most."""
LEAST_OBJECTS = 2 * MOST_OBJECTS
"""Objects of a part: as many, and as many to vary."""
CATEGORIES = 12
"""Categories below which objects are shared out one by one."""
FIRST_PART = 1 << 16
"""First `part` of this package's random generators: none is also one of training's clips."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeClips:
    """Clips of a part by number. Two neighbors share background, objects and places; in scenes of
    two classes they are each other backwards."""

    bank: ObjectBank
    """Where objects come from."""
    objects: np.ndarray
    """(n,) int64: those of this part."""
    backdrop: Backdrop
    """What lies behind."""
    part: Part
    """Which clips."""
    size: int
    """Side of the frames, pixels."""
    seed: int
    """Seed of all of them."""

    def scene(self, name: SceneName, number: int) -> tuple[Scene, MotionPlan]:
        """Draw the scene of a clip and its plan, without rendering it."""
        classes = SCENE_CLASSES[name]
        paired = classes == 2
        index = number // 2 if paired else number
        rng = self._generator(Stream.MOTION, 1 + get_args(SceneName).index(name), index)
        scene = draw_scene(name, rng, number % classes)
        chosen = rng.choice(self.objects, len(scene.tracks), replace=False, p=self._probability)
        return scene, plan_scene(scene, rng, chosen, self.bank.aspect(chosen), self.size)

    def render(self, name: SceneName, number: int) -> tuple[np.ndarray, dict[str, float]]:
        """Render a clip, (T, size, size, 3) uint8, and say what is true of it, by factor."""
        scene, plan = self.scene(name, number)
        rng = self._generator(Stream.BACKGROUND, 0, number // 2)
        behind = self.backdrop.draw(rng, number // 2, FRAMES, self.size)
        frames = render(behind, plan, self.bank)
        if scene.wall is not None:
            rng = self._generator(Stream.BACKGROUND, 1, number // 2)
            _build_wall(frames, scene.wall, rng)
        return frames, scene.labels

    def batches(
        self, name: SceneName, count: int, batch: int
    ) -> Iterator[tuple[np.ndarray, list[dict[str, float]]]]:
        """Render the first clips of a scene: (b, T, size, size, 3) uint8 and their labels."""
        for first in range(0, count, batch):
            made = [self.render(name, n) for n in range(first, min(first + batch, count))]
            yield np.stack([frames for frames, _ in made]), [labels for _, labels in made]

    def shuffles(self, name: SceneName, first: int, count: int) -> np.ndarray:
        """Orders of frames, (count, T): random ones, not the same for the clips of a pair."""
        scene = 1 + get_args(SceneName).index(name)
        return np.stack(
            [
                self._generator(Stream.ORDER, scene, number).permutation(FRAMES)
                for number in range(first, first + count)
            ]
        )

    @cached_property
    def _probability(self) -> np.ndarray | None:
        """Probability of each object of the part; None where all are as likely."""
        if self.bank.draws is None:
            return None
        own = self.bank.draws.probability(len(self.bank))[self.objects]
        return own / own.sum()

    def _generator(self, stream: Stream, kind: int, index: int) -> np.random.Generator:
        return keyed_generator(
            self.seed, stream, epoch=PARTS.index(self.part), index=index, part=FIRST_PART + kind
        )

    @cached_property
    def described(self) -> dict[str, object]:
        """What the clips depend on, as JSON values."""
        return {
            "bank_sha256": self.bank.card["metadata_sha256"],
            **({} if self.bank.draws is None else self.bank.draws.chosen),
            "objects": len(self.objects),
            "backdrop": repr(self.backdrop),
            "part": self.part,
            "size": self.size,
            "seed": self.seed,
        }


def share_out(bank: ObjectBank) -> dict[Part, np.ndarray]:
    """Share the objects that a bank is drawn from out over parts: none is in two of them, nor is,
    where there are categories enough, any of its category.

    Raises:
        InputError: There are too few.
    """
    rng = np.random.default_rng(0)
    drawn = np.arange(len(bank)) if bank.draws is None else np.sort(bank.draws.members)
    categories = bank.category[drawn]
    groups = categories if len(np.unique(categories)) >= CATEGORIES else drawn
    names = rng.permutation(np.unique(groups))
    bounds = np.rint(np.cumsum(SHARES[:-1]) * len(names)).astype(int)
    found: dict[Part, np.ndarray] = {
        part: drawn[np.isin(groups, own)].astype(np.int64)
        for part, own in zip(PARTS, np.split(names, bounds), strict=True)
    }
    fewest = min(PARTS, key=lambda part: len(found[part]))
    if len(found[fewest]) < LEAST_OBJECTS:
        raise InputError(
            f"{bank.name}: {len(drawn)} objects, of which the part to {fewest} by would have "
            f"{len(found[fewest])}; objects of the test may not be in the rest, and each part "
            f"needs {LEAST_OBJECTS}: give a larger bank or more categories, or leave --bank out"
        )
    return found


def _build_wall(
    frames: np.ndarray, wall: tuple[float, float, float, float], rng: np.random.Generator
) -> None:
    """Paint a wall over a clip, in place: bricks of one color with darker joints."""
    size = frames.shape[1]
    x0, y0, x1, y1 = (
        int(np.clip(round((edge + 0.5) * size / REFERENCE_PX), 0, size)) for edge in wall
    )
    if x1 <= x0 or y1 <= y0:
        return
    brick = max(3, size // 16)
    image = np.empty((y1 - y0, x1 - x0, 3), np.float32)
    image[:] = rng.uniform(60, 200, 3)
    y, x = np.mgrid[: y1 - y0, : x1 - x0]
    joint = (y % (brick // 2 + 1) == 0) | (
        (x + (y // (brick // 2 + 1)) % 2 * brick // 2) % brick == 0
    )
    image[joint] *= 0.6
    frames[:, y0:y1, x0:x1] = cv2.convertScaleAbs(image)
