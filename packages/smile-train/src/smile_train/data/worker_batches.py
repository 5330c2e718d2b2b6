"""Batches from worker processes that end when this one does, however it went."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import torch
from smile_motion.io.files import shared_memory_explained
from smile_motion.runtime.signals import SIGNALS, hold_signals, ignore_stops
from torch.utils.data import DataLoader, Dataset

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
) -> Iterator[Batch]:
    """Start workers that make batches, each an item of a data set, and return these in order.

    Args:
        order: What each item is asked for with.
        workers: Processes; 0 makes them in this one.
        preload: Modules that workers share, imported once by the process that they are forked from.
        pin: Copy batches to page-locked memory.

    Raises:
        InputError: The machine has too little shared memory for them.
    """
    context: BaseContext | None = None
    if workers:
        context = multiprocessing.get_context("forkserver")
        if preload:
            context.set_forkserver_preload(list(preload))
    loader = DataLoader(
        batches,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_start_worker,
        multiprocessing_context=context,
        prefetch_factor=AHEAD if workers else None,
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
