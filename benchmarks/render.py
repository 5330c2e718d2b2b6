"""Milliseconds per clip for every stage of making one, beside simple alternatives in the same run.

    uv run python benchmarks/render.py [--clips 300] [--bank DIR [--cold]] [--effects NAME …]
                                       [--camera NAME]

16 x 224 x 224 frames, 2 objects of 256 px, the `paper` recipe, one core. The alternatives
composite the same plans' objects the way most code does: per frame with PIL, per frame with OpenCV
in floating point, and per frame with albumentations (which pastes without blending). Ratios are of
the processor's time, which other work on the machine changes least.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import tyro
from albumentations.augmentations.mixing.functional import copy_and_paste_blend
from PIL import Image
from processor import describe_processor
from rich.console import Console
from rich.table import Table
from smile_motion import MotionPlan, MotionRecipe, ObjectBank, TokenGrid, Truth, render
from smile_motion.bank import ProceduralSource, build
from smile_motion.io.options import CameraName, EffectName
from smile_motion.masking.masks import mask_trajectory, mask_tube
from smile_motion.seeding import Stream, keyed_generator

FRAMES, SIDE = 16, 224
PIXELS = "pixels (background, objects, id map)"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    clips: int = 300
    """Clips to average over, after a warm-up."""
    bank: Path | None = None
    """Object bank; without one, procedural objects are made in a temporary folder."""
    objects: int = 500
    """How many."""
    cold: bool = False
    """Let the system forget the bank's pixels first, so that they come from the disk."""
    effects: tuple[EffectName, ...] = ()
    """What else happens to the objects. The alternatives leave it out."""
    camera: CameraName = "none"
    """What moves over the background. The alternatives leave it out."""


class Stopwatch:
    """Collects the durations of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.processor: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under a name."""
        start, used = time.perf_counter(), time.thread_time()
        yield
        self.processor.setdefault(name, []).append(time.thread_time() - used)
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)


def with_pil(frames: np.ndarray, plan: MotionPlan, images: dict[int, np.ndarray]) -> None:
    """Resize, rotate and paste each object in each frame with PIL."""
    for t in range(plan.frames):
        canvas = Image.fromarray(frames[t])
        for slot in plan.order[t]:
            width, height = np.maximum(plan.base_size[slot] * plan.scale[slot, t], 1).round()
            thing = Image.fromarray(images[int(plan.objects[slot])], "RGBA")
            thing = thing.resize((int(width), int(height)), Image.Resampling.BILINEAR)
            thing = thing.rotate(plan.angle_deg[slot, t], Image.Resampling.BILINEAR, expand=True)
            x, y = plan.centre[slot, t]
            canvas.paste(thing, (int(x - thing.width / 2), int(y - thing.height / 2)), thing)
        frames[t] = np.asarray(canvas)


def with_opencv(frames: np.ndarray, plan: MotionPlan, images: dict[int, np.ndarray]) -> None:
    """Warp each object to the whole frame and blend in floating point."""
    maps = plan.placement()
    for t in range(plan.frames):
        for slot in plan.order[t]:
            image = images[int(plan.objects[slot])]
            height, width = image.shape[:2]
            linear = maps[slot, t, :, :2] / (width, height)
            shift = maps[slot, t, :, 2] - linear @ ((width - 1) / 2, (height - 1) / 2)
            matrix = np.concatenate([linear, shift[:, None]], axis=1)
            warped = cv2.warpAffine(image, matrix, (plan.width, plan.height)).astype(np.float32)
            alpha = warped[..., 3:] / 255
            frames[t] = frames[t] * (1 - alpha) + warped[..., :3] * alpha


def with_albumentations(
    frames: np.ndarray, plan: MotionPlan, images: dict[int, np.ndarray]
) -> None:
    """Resize, rotate and paste each object in each frame with albumentations."""
    for t in range(plan.frames):
        for slot in plan.order[t]:
            width, height = np.maximum(plan.base_size[slot] * plan.scale[slot, t], 1).round()
            angle = float(plan.angle_deg[slot, t])
            turn = A.Compose(
                [
                    A.Resize(int(height), int(width)),
                    A.Affine(rotate=(angle, angle), fit_output=True, p=1),
                ]
            )
            thing = turn(image=images[int(plan.objects[slot])])["image"]
            x, y = (plan.centre[slot, t] - np.array(thing.shape[1::-1]) / 2).astype(int)
            left, top = max(0, -x), max(0, -y)
            inside = thing[top : max(0, plan.height - y), left : max(0, plan.width - x)]
            frames[t] = copy_and_paste_blend(
                frames[t], inside[..., :3], inside[..., 3] > 127, (y + top, x + left)
            )


def forget_pages(folder: Path) -> None:
    """Write a bank's packed files to the disk and drop them from the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(bank: ObjectBank, options: Options) -> tuple[Stopwatch, Stopwatch]:
    """Time our stages on every clip, and the alternatives on one clip in ten."""
    ours, theirs = Stopwatch(), Stopwatch()
    recipe = MotionRecipe.named("paper", effects=options.effects, camera=options.camera)
    grid, size = TokenGrid(), (SIDE, SIDE)
    scene = size if recipe.camera is None else recipe.camera.scene_size(size)
    if options.cold:
        forget_pages(bank.path / "packed")
    noise = np.random.default_rng(0).integers(0, 256, (*scene, 3), np.uint8)
    ids = np.empty((FRAMES, SIDE, SIDE), np.uint8)
    frames = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    for index in range(-10, options.clips):
        watch = ours if index >= 0 else Stopwatch()
        with watch.stage("plan"):
            plan = recipe.plan(keyed_generator(0, Stream.MOTION, index=index + 10), bank)
        with watch.stage(PIXELS):
            render(noise[None], plan, bank, ids=ids, out=frames)
        truth = Truth(plan, bank, ids=ids)
        with watch.stage("truth: boxes"):
            _ = truth.boxes
        with watch.stage("truth: token coverage"):
            coverage = truth.token_coverage(grid)
        with watch.stage("truth: token motion"):
            truth.token_motion(grid)
        rng = keyed_generator(0, Stream.MASK, index=index + 10)
        with watch.stage("masks: trajectory"):
            mask_trajectory(rng, grid, 0.8, coverage)
        with watch.stage("masks: tube"):
            mask_tube(rng, grid, 0.8)
        if index % 10 == 0:
            images = {int(i): np.asarray(bank.image(int(i))) for i in plan.objects}
            for name, alternative in (
                ("PIL per frame", with_pil),
                ("OpenCV per frame", with_opencv),
                ("albumentations per frame", with_albumentations),
            ):
                frames[:] = noise[:SIDE, :SIDE]
                with theirs.stage(name):
                    alternative(frames, plan, images)
    return ours, theirs


def print_table(ours: Stopwatch, theirs: Stopwatch) -> None:
    """Print milliseconds by stage, and how many times slower the alternatives are."""
    title = f"{FRAMES} x {SIDE} x {SIDE}, 2 objects, ms"
    table = Table("stage", "mean", "median", "processor's, median", title=title)
    for column in table.columns[1:]:
        column.justify = "right"

    def add(name: str, seconds: list[float], processor: list[float]) -> None:
        values = np.mean(seconds), np.median(seconds), np.median(processor)
        table.add_row(name, *(f"{1e3 * value:.3f}" for value in values))

    for name, seconds in ours.seconds.items():
        add(name, seconds, ours.processor[name])
    both = [np.add(spent["plan"], spent[PIXELS]) for spent in (ours.seconds, ours.processor)]
    add("[bold]plan + pixels[/bold]", *(list(spent) for spent in both))
    table.add_section()
    for name, seconds in theirs.seconds.items():
        add(f"{name} (pixels only)", seconds, theirs.processor[name])
    console = Console()
    console.print(describe_processor(), soft_wrap=True)
    console.print(table)
    for name, spent in theirs.processor.items():
        pixels, whole = np.median(ours.processor[PIXELS]), np.median(both[1])
        console.print(
            f"{name}: {np.median(spent) / pixels:.1f} times as long as `render`, "
            f"{np.median(spent) / whole:.1f} times plan + pixels",
            soft_wrap=True,
        )


def main(options: Options) -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    if options.bank is not None:
        print_table(*measure(ObjectBank.open(options.bank), options))
        return
    with tempfile.TemporaryDirectory() as folder:
        bank = build(ProceduralSource(count=options.objects), Path(folder) / "bank")
        print_table(*measure(bank, options))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
