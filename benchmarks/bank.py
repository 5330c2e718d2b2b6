"""Opening time of a large object bank, and the memory that every further worker takes.

    uv run python benchmarks/bank.py [--objects 60000] [--workers 3]
    uv run python benchmarks/bank.py --build [--device cuda]         (see bank_build.py)

Makes a packed bank in a temporary folder: all its files are of full size, a line of metadata and
an outline for each object, but most objects' pixels are holes in a sparse file. Cold means that
the files are dropped from the page cache first; where the disk caches by itself, that remains.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from smile_motion.bank import ObjectBank, ProceduralSource, build
from smile_motion.bank.format import CARD, METADATA, PACKED
from smile_motion.bank.packed_object import LEVELS, pack_object
from smile_motion.bank.packing import VERSION
from smile_motion.io.files import dump_json, dump_lines, sha256
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.device_clips import open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.sampling import MicroBatches

CATEGORIES = 1000
"""Categories of the bank."""
DRAWN_ONE_IN = 200
"""One in so many objects has pixels."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    objects: int = 60_000
    """Objects in the bank."""
    opened: int = 10
    """Times to open it."""
    workers: int = 3
    """Workers that render from it."""
    batches: int = 60
    """Batches of 16 clips before their memory is read."""
    build: bool = False
    """Measure the stages of a build from candidates instead."""
    device: str = "cpu"
    """Where its models run."""
    candidates: int = 128
    """Candidates that the whole pipeline makes."""
    batch: int = 8
    """Images that its diffusion model makes at a time."""
    goal_open_ms: float = 50.0
    """Opening should take less."""
    goal_worker_mb: float = 50.0
    """A worker's own memory should be less."""


def make_bank(folder: Path, count: int) -> None:
    """Write a bank of copies of one procedural object, each with files of its own size."""
    one = build(ProceduralSource(count=1), folder / "one", workers=0)
    packed = pack_object(one.image(0))
    path = folder / "large"
    (path / PACKED).mkdir(parents=True)
    record, digits = one.record(0), len(str(count))
    categories = [f"category-{number:04d}" for number in range(CATEGORIES)]
    category = np.arange(count) * CATEGORIES // count
    names = [f"{categories[category[i]]}/{i:0{digits}d}" for i in range(count)]
    metadata = dump_lines(
        record
        | {"id": name, "file_name": f"images/{name}.png", "category": categories[category[i]]}
        for i, name in enumerate(names)
    )
    (path / METADATA).write_bytes(metadata)
    hashed = {"metadata_sha256": sha256(metadata), "count": count}
    (path / CARD).write_bytes(dump_json(one.card | hashed))

    levels = packed.levels + packed.levels[-1:] * (LEVELS - len(packed.levels))
    sizes = [image.nbytes for image in packed.levels]
    starts = np.minimum(np.arange(LEVELS), len(sizes) - 1)
    pixels = b"".join(image.tobytes() for image in packed.levels)
    with (path / PACKED / "pixels.bin").open("wb") as file:
        file.truncate(count * len(pixels))
        for number in range(0, count, DRAWN_ONE_IN):
            file.seek(number * len(pixels))
            file.write(pixels)
    points = np.concatenate(packed.rings)
    lengths = [len(ring) for ring in packed.rings]
    arrays = {
        "offset": np.arange(count)[:, None] * len(pixels) + np.cumsum([0, *sizes])[starts],
        "size": np.tile(
            np.array([(image.shape[1] - 2, image.shape[0] - 2) for image in levels], np.int32),
            (count, 1, 1),
        ),
        "cover": np.tile(packed.hull, (count, 1, 1)),
        "category": category.astype(np.int32),
        "ring": np.tile(points, (count, 1)),
        "ring_start": np.cumsum([0, *(lengths * count)]),
        "ring_hole": np.tile(packed.ring_is_hole, count),
        "object_ring": np.arange(count + 1) * len(lengths),
    }
    for name, array in arrays.items():
        np.save(path / PACKED / f"{name}.npy", array)
    header = {"version": VERSION, "categories": categories, "sha256": {}, **hashed}
    (path / PACKED / "pack.json").write_bytes(dump_json(header))


def forget(folder: Path) -> None:
    """Drop a folder's files from the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def milliseconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - start)


def private_mb(pid: int | None) -> tuple[float, float]:
    """Memory of a process that no other has mapped, MB: written, and only read from files."""
    fields = dict(
        line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    dirty, clean = (int(fields[f"Private_{kind}"].split()[0]) / 1e3 for kind in ("Dirty", "Clean"))
    return dirty, clean


def measure_opening(path: Path, times: int) -> dict[str, list[float]]:
    """Milliseconds that opening takes, cold and warm, and that the first record takes."""
    ObjectBank.open(path)
    spent: dict[str, list[float]] = {"open, cold": [], "open, warm": [], "first record, warm": []}
    for _ in range(times):
        forget(path)
        spent["open, cold"].append(milliseconds(lambda: ObjectBank.open(path)))
        spent["open, warm"].append(milliseconds(lambda: ObjectBank.open(path)))
    for _ in range(3):
        bank = ObjectBank.open(path)
        spent["first record, warm"].append(milliseconds(lambda b=bank: b.record(0)))
    return spent


def measure_workers(path: Path, workers: int, batches: int) -> list[tuple[float, float]]:
    """Private memory of every worker of a `ClipLoader` that has rendered from the bank."""
    clips = open_clips(PretrainConfig(background="noise", bank=path, batch=16))
    clips[0]  # Compiled code is cached now, so that no worker compiles.
    layout = MicroBatches(first_step=0, steps=batches + 3 * workers, batch=16)
    loaded = iter(ClipLoader(clips=clips, layout=layout, workers=workers))
    for _ in range(batches):
        next(loaded)["frames"].view(-1)[::4096].sum()  # A page counts as shared once it is read.
    return [private_mb(process.pid) for process in multiprocessing.active_children()]


def main(options: Options) -> None:
    """Make the bank, measure, print."""
    if options.build:
        from bank_build import measure_build

        return measure_build(options.device, options.candidates, options.batch)
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        make_bank(Path(folder), options.objects)
        path = Path(folder) / "large"
        spent = measure_opening(path, options.opened)
        memory = measure_workers(path, options.workers, options.batches)
        apparent = sum(file.stat().st_size for file in (path / PACKED).iterdir())
        listed = (path / METADATA).stat().st_size
    title = (
        f"{options.objects} objects, {apparent / 1e9:.1f} GB packed, metadata {listed / 1e6:.0f} MB"
    )
    table = Table("", "mean ms", "median ms", "largest ms", title=title)
    for name, times in spent.items():
        table.add_row(name, *(f"{of(times):.1f}" for of in (np.mean, np.median, np.max)))
    console.print(table)
    table = Table("worker", "written MB", "only read MB", title="memory of its own")
    for number, (dirty, clean) in enumerate(memory):
        table.add_row(str(number), f"{dirty:.1f}", f"{clean:.1f}")
    console.print(table)
    for what, found, goal in (
        ("opening cold, median ms", float(np.median(spent["open, cold"])), options.goal_open_ms),
        ("a worker's own memory, MB", max(dirty for dirty, _ in memory), options.goal_worker_mb),
    ):
        console.print(
            f"{what}: {found:.1f}, goal {goal:.0f}: {'met' if found < goal else 'MISSED'}"
        )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
