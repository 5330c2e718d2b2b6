"""Batches made by worker processes, straight into memory that the training process reads; workers
end with the process that reads them."""

from __future__ import annotations

import atexit
import math
import multiprocessing
import os
import re
import shutil
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from smile_motion.errors import InputError
from smile_motion.io.files import SHARED_MEMORY, shared_memory_explained
from smile_motion.runtime.signals import SIGNALS, hold_signals, ignore_stops
from smile_motion.runtime.workers import fork_server
from torch.utils.data import DataLoader, Dataset, get_worker_info

from smile_train.data.sampling import MicroBatches

AHEAD = 2
"""Batches that a worker makes before they are asked for."""
Batch = TypeVar("Batch")


def open_batches(
    batches: Dataset[Batch],
    order: Iterable[Any],
    *,
    workers: int,
    preload: Sequence[str] = (),
    pin: bool = False,
    ahead: int = AHEAD,
) -> Iterator[Batch]:
    """Start workers that make batches, each an item of a data set, and return these in order.

    Args:
        order: Index of each item, in order.
        workers: Processes; 0 makes them in this one.
        preload: Modules that workers share, imported once by the process that they are forked from.
        pin: Copy batches to page-locked memory.
        ahead: Batches that a worker makes before they are asked for.

    Raises:
        InputError: The machine has too little shared memory for them.
    """
    loader = DataLoader(
        batches,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_start_worker,
        multiprocessing_context=fork_server(*preload) if workers else None,
        prefetch_factor=ahead if workers else None,
        pin_memory=pin,
        generator=torch.Generator(),  # The shared one is the model's.
    )
    with hold_signals(*SIGNALS), shared_memory_explained():
        opened = iter(loader)
    if workers:
        atexit.register(_end_workers, weakref.ref(opened))
    return opened


def _start_worker(_: int) -> None:
    """Leave signals to the process that reads, and end when it has gone, however it went.

    PyTorch's own watch looks at the parent, which is the server that workers are forked from; that
    one lives while they do.
    """
    ignore_stops()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end_workers(batches: weakref.ref[Any]) -> None:
    """End workers that are still there when the program ends: since they ignore signals, Python
    would wait for them without end."""
    iterator = batches()
    if iterator is not None:
        iterator._shutdown_workers()


class Samples(Protocol):
    """Makes samples, each a function of its number."""

    preload_module: ClassVar[str]
    """Module of what its workers share, imported once by the process that they are forked from."""

    def shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of every tensor of a sample, by name."""
        ...

    def fill(self, numbers: Sequence[int], batch: dict[str, torch.Tensor]) -> list[str]:
        """Make samples into a batch's memory; returns what is wrong with files replaced."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClipLoader:
    """Batches of clips, in order, the same for any number of workers.

    A batch holds what items of its clips do (`TrainingClips`, `PlannedClips`), with a leading batch
    dimension, and `broken`. **It is yours until you ask for the next one**, which may be made
    in the same memory: copy what you keep (with `pin`, batches are copies already).
    """

    clips: Samples
    """Makes the samples."""
    layout: MicroBatches
    """Which samples are in which batch."""
    workers: int
    """Processes that render; 0 renders in this one."""
    pin: bool = False
    """Copy batches to page-locked memory, from which a GPU reads them while it computes."""
    clips_per_video: int = 1
    """Steps in a row whose clips share what is decoded: one worker makes them."""

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.layout)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Start the workers and return their batches.

        Raises:
            InputError: The machine has too little shared memory for them.
        """
        ring = {
            name: _shared(shape, dtype) if self.workers else torch.empty(shape, dtype=dtype)
            for name, (shape, dtype) in self._ring_shapes().items()
        }
        options: dict[str, Any] = {
            "preload": (self.clips.preload_module,),
            "pin": self.pin,
            "ahead": self._ahead,
        }
        if self.clips_per_video == 1 or self.workers < 2:
            batches = _Ring(self.clips, ring)
            return open_batches(batches, self.layout, workers=self.workers, **options)
        turns = _Turns(self.layout, self.clips_per_video, self.workers)
        made = []
        for worker in range(self.workers):
            own = {name: rows[worker : worker + 1] for name, rows in ring.items()}
            batches = _Ring(self.clips, own)
            made.append(open_batches(batches, turns.of(worker), workers=1, **options))
        return turns.in_order(made)

    @property
    def _ahead(self) -> int:
        """Batches that a worker makes before they are asked for: all that share videos, so that
        the others need not wait while they are read."""
        return max(AHEAD, self.clips_per_video)

    def _ring_shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shapes with leading (workers, batches of each, samples of a batch)."""
        batches = (self.workers, self._ahead + 1) if self.workers else (1, 1)
        shapes = {
            name: ((*batches, self.layout.share, *shape), dtype)
            for name, (shape, dtype) in self.clips.shapes().items()
        }
        if self.workers and SHARED_MEMORY.is_dir():
            needed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values())
            free = shutil.disk_usage(SHARED_MEMORY).free
            if needed > free:
                raise InputError(
                    f"{SHARED_MEMORY}: {free / 1e6:.0f} MB free, {self.workers} workers need "
                    f"{needed / 1e6:.0f} MB; lower --workers or --batch, or raise the container's "
                    f"--shm-size"
                )
        return shapes


@dataclass(frozen=True)
class _Turns:
    """Which worker makes which list, where the lists of steps in a row share what is decoded.

    3 clips a video, 2 workers, 1 part:   step    0 1 2 | 3 4 5 | 6 7 8
                                          worker  0 0 0 | 1 1 1 | 0 0 0
    """

    layout: MicroBatches
    clips_per_video: int
    workers: int

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        """Yield every list with its worker, in order."""
        parts = self.layout.parts
        for place, numbers in enumerate(self.layout):
            step, part = divmod(place, parts)
            block = (self.layout.first_step + step) // self.clips_per_video
            yield (block * parts + part) % self.workers, numbers

    def of(self, worker: int) -> _OneWorker:
        """The lists of one worker."""
        return _OneWorker(self, worker)

    def in_order(self, made: list[Iterator[Batch]]) -> Iterator[Batch]:
        """Batches of all workers in the order of the lists."""
        for worker, _ in self:
            yield next(made[worker])


@dataclass(frozen=True)
class _OneWorker:
    """Lists that one worker makes."""

    turns: _Turns
    worker: int

    def __iter__(self) -> Iterator[list[int]]:
        return (numbers for worker, numbers in self.turns if worker == self.worker)


class _Ring(Dataset[dict[str, Any]]):
    """Lists of sample numbers -> batches, made in turn in each place of a worker's own row.

    A worker has at most `AHEAD` batches to make or waiting besides the one being read: a place
    comes round when the reader has let go of it.
    """

    def __init__(self, clips: Samples, ring: dict[str, torch.Tensor]) -> None:
        self.clips = clips
        self.ring = ring
        self.turn = 0

    def __getitem__(self, numbers: list[int]) -> dict[str, Any]:
        worker = get_worker_info()
        row = 0 if worker is None else worker.id
        places = next(iter(self.ring.values())).shape[1]
        batch = {name: tensor[row, self.turn % places] for name, tensor in self.ring.items()}
        self.turn += 1
        return batch | {"broken": self.clips.fill(numbers, batch)}


def _shared(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return memory that workers can write to.

    Its pages are taken at once: a page that cannot be had when it is written kills the process.

    Raises:
        InputError: There is too little, or none can be shared.
    """
    size = math.prod(shape) * dtype.itemsize
    with shared_memory_explained():
        storage = torch.UntypedStorage._new_shared(size)
        if torch.multiprocessing.get_sharing_strategy() == "file_descriptor" and size:
            handle, _ = storage._share_fd_cpu_()
            os.posix_fallocate(handle, 0, size)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)


_CARRIED = "Original Traceback"
"""Part of the text that torch makes of a worker's error."""
_KILLED = re.compile(r"DataLoader worker \(pid.*(?:is killed by signal|exited unexpectedly)")


@contextmanager
def worker_errors_in_one_line() -> Iterator[None]:
    """Raise what a worker raised as its own line, without the traceback that torch puts before it.

    Raises:
        InputError: For what a user can mend: an InputError or OSError of a worker, or a worker that
            was killed. Faults of the program stay as they are.
    """
    try:
        yield
    except (InputError, OSError) as error:
        text = str(error.args[0]) if error.args else ""  # Shown, it is in one line.
        if _CARRIED not in text:
            raise
        last = text.strip().splitlines()[-1]
        raise InputError(last.partition(": ")[2] or last) from error
    except RuntimeError as error:
        found = _KILLED.search(str(error))
        if found is None:
            raise
        if "Bus error" in str(error):
            raise InputError(
                f"{SHARED_MEMORY}: too little shared memory for what workers hand over; lower "
                f"--workers or --batch, raise the container's --shm-size, or use --workers 0"
            ) from error
        raise InputError(
            "a worker process died, perhaps for want of memory; use fewer --workers, or a smaller "
            "--batch"
        ) from error
