"""Throughput of each stage of a bank build, and how much of the time the diffusion model works.

    uv run python benchmarks/bank.py --build [--device cuda] [--candidates 64]

On CUDA the models have the sizes of Stable Diffusion 1.5, CLIPSeg rd64 and CLIP ViT-L/14; on the
CPU they are tiny, and their figures say nothing. All weights are random: the work is the same, what
they say means nothing. Cleaning, fingerprint and PNG see 512 px pictures on either.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from random_models import FULL, TINY, random_models
from rich.console import Console
from rich.table import Table
from smile_motion.bank import ProceduralSource
from smile_motion.bank.builder.journal import JOURNAL, Journal
from smile_motion.bank.candidates.build import CandidatePlan, Models
from smile_motion.bank.candidates.cutout import Cutting, clean, cut_out
from smile_motion.bank.candidates.pipeline import Pipeline
from smile_motion.bank.candidates.schedule import Schedule, first_round, plan_units
from smile_motion.bank.candidates.store import store_candidate
from smile_motion.bank.candidates.types import Candidate, Category, Goal, Mask, Thresholds
from smile_motion.bank.dedup import fingerprint
from smile_motion.bank.format import MaskScore
from smile_motion.io.images import PNG_PHOTOGRAPH, encode_png

CORES = 2
"""Threads of the stages without a model."""
GOAL_PER_S = 100.0
"""Objects that those stages should manage together on two cores."""
GOAL_BUSY = 0.9
"""Share of the time that the diffusion model should work."""


def pictures(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Procedural objects, 400 px, on smooth colours at 512 px, with their soft masks."""
    source, made = ProceduralSource(count=count), []
    for number in range(count):
        rng = np.random.default_rng(number)
        image = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (512, 512))
        rgba = source.make(number).image
        factor = 400 / max(rgba.shape[:2])
        rgba = cv2.resize(rgba, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        alpha = np.zeros((512, 512), np.uint8)
        alpha[50 : 50 + rgba.shape[0], 50 : 50 + rgba.shape[1]] = rgba[..., 3]
        color = np.zeros((512, 512, 3), np.uint8)
        color[50 : 50 + rgba.shape[0], 50 : 50 + rgba.shape[1]] = rgba[..., :3]
        share = alpha[..., None] / 255.0
        grain = rng.normal(0, 3, (512, 512, 1))
        mixed = color * share + image * (1 - share) + grain
        made.append((np.rint(mixed).clip(0, 255).astype(np.uint8), alpha))
    return made


def per_second(action: Callable[[Any], object], items: Sequence[Any]) -> tuple[float, float]:
    """How many items an action manages a second on two cores, the best of three times.

    Returns:
        By the clock, and by the processor's time: as on a machine that nobody else uses.
    """
    cv2.setNumThreads(1)
    by_clock = by_processor = 0.0
    with ThreadPoolExecutor(CORES) as pool:
        for _ in range(3):
            start, used = time.perf_counter(), time.process_time()
            list(pool.map(action, items))
            by_clock = max(by_clock, len(items) / (time.perf_counter() - start))
            by_processor = max(by_processor, CORES * len(items) / (time.process_time() - used))
    return by_clock, by_processor


def measure_cutting(count: int) -> dict[str, tuple[float, float]]:
    """Objects a second of the stages without a model, each alone, together, and with all files."""
    made = pictures(count)
    cutting = Cutting(thresholds=Thresholds())
    score = MaskScore("isnet", 30.0, 0.3, 1.0)
    cuts = [clean(image, alpha) for image, alpha in made]
    objects = [rgba for rgba in cuts if rgba is not None]

    def together(item: tuple[np.ndarray, np.ndarray]) -> None:
        rgba = cut_out(*item, score, cutting)
        assert rgba is not None
        fingerprint(rgba)
        encode_png(rgba, PNG_PHOTOGRAPH)

    with tempfile.TemporaryDirectory() as folder:

        def store(number: int) -> None:
            image, alpha = made[number]
            candidate = Candidate("thing", number, "", None, None, (score,))
            store_candidate(Path(folder), candidate, image, [Mask(alpha, 1.0)], cutting)

        return {
            "cleaning": per_second(lambda item: clean(*item), made),
            "fingerprint": per_second(fingerprint, objects),
            "PNG of the object": per_second(lambda rgba: encode_png(rgba, PNG_PHOTOGRAPH), objects),
            "cleaning, fingerprint, PNG": per_second(together, made),
            "the same, image and mask written too": per_second(store, range(count)),
        }


def measure_models(models: Models, batch: int) -> dict[str, float]:
    """Images a second of the stages with a model, each alone."""
    unit = plan_units([Goal(Category("fire engine"), batch, batch)], batch)[0]
    attempts = [attempt for one in first_round(unit, batch) for attempt in one]
    made = models.source.make(attempts)
    images = np.stack([one.image for one in made])
    categories = [attempt.category for attempt in attempts]
    masks = models.segmenters[0].segment(images, categories)
    alphas = np.stack([mask.alpha for mask in masks])
    models.scorer.score(images, alphas, categories)
    stages = {
        "diffusion": lambda: models.source.make(attempts),
        "segmentation (CLIPSeg)": lambda: models.segmenters[0].segment(images, categories),
        "scoring": lambda: models.scorer.score(images, alphas, categories),
    }
    found = {}
    for name, stage in stages.items():
        start = time.perf_counter()
        for _ in range(3):
            stage()
        found[name] = 3 * batch / (time.perf_counter() - start)
    return found


def measure_pipeline(models: Models, candidates: int, batch: int) -> tuple[float, float]:
    """Candidates a second of the whole, and the diffusion model's busy share."""
    each = 2 * batch
    goals = tuple(
        Goal(Category(f"thing {number}"), each, each) for number in range(-(-candidates // each))
    )
    wanted = CandidatePlan(goals=goals, batch=batch)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / JOURNAL) as journal:
        progress = Pipeline(
            bank=Path(folder),
            source=models.source,
            segmenters=models.segmenters,
            scorer=models.scorer,
            cutting=Cutting(thresholds=wanted.thresholds),
            schedule=Schedule(plan_units(goals, batch), batch, wanted.thresholds, ()),
            journal=journal,
        ).run()
    return progress.written / progress.seconds, progress.busy_share


def measure_build(device: str, candidates: int, batch: int) -> None:
    """Measure and print."""
    console = Console()
    full = device.startswith("cuda")
    models, parameters = random_models(FULL if full else TINY, device, batch)
    sizes = "of Stable Diffusion 1.5's size" if full else "tiny: its figures say nothing"
    title = f"random weights {sizes} ({parameters / 1e6:.0f} M parameters), batches of {batch}"
    table = Table("stage", "per second", "by processor time", title=title)
    for name, rate in measure_models(models, batch).items():
        table.add_row(name, f"{rate:.1f}", "")
    cutting = measure_cutting(64)
    for name, rates in cutting.items():
        table.add_row(name, *(f"{rate:.0f}" for rate in rates))
    rate, busy = measure_pipeline(models, candidates, batch)
    table.add_row("the whole pipeline", f"{rate:.1f}", "")
    console.print(table)
    together = cutting["cleaning, fingerprint, PNG"][1]
    for what, found, goal in (
        (
            f"cleaning, fingerprint and PNG on {CORES} cores of our own, objects/s",
            together,
            GOAL_PER_S,
        ),
        ("diffusion busy, percent of the time", 100 * busy, 100 * GOAL_BUSY),
    ):
        console.print(
            f"{what}: {found:.0f}, goal {goal:.0f}: {'met' if found >= goal else 'MISSED'}"
        )
