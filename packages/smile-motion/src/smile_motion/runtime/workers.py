"""Parallel work in processes of this machine."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from typing import Any, TypeVar

from smile_motion.errors import InputError
from smile_motion.io.files import shared_memory_explained
from smile_motion.runtime.signals import (
    SIGNALS,
    hold_signals,
    repeat_lost_interrupts,
    start_resource_tracker,
)
from smile_motion.runtime.tasks import Tasks

Result = TypeVar("Result")
Work = Callable[[int], Result]
"""Picklable function of a number."""

ATTEMPTS = 3
"""Deaths of workers in a row, without a finished task, before giving up."""
SERVER = "smile_motion.runtime._fork_server"
"""Module that the process which workers are forked from imports first."""
QUEUED = 2
"""Tasks submitted per worker, so that none is idle."""


def run_in_processes(
    work: Work[Result], numbers: Sequence[int], *, workers: int, chunk: int = 1
) -> Iterator[tuple[int, Result]]:
    """Run work in processes of this machine; processes that die are replaced.

    Args:
        work: Picklable function of a number.
        numbers: Arguments of the calls.
        workers: Number of processes; below 2 the calls are made in this one, in order.
        chunk: Numbers per task.

    Yields:
        Each number with its result, in the order of completion.

    Raises:
        InputError: Processes die repeatedly before a task is finished.
    """
    if workers < 2:
        for number in numbers:
            yield number, work(number)
        return
    left = dict.fromkeys(numbers)
    fruitless = 0
    while left:
        before = len(left)
        try:
            for number, result in _run_in_pool(work, list(left), workers, chunk):
                del left[number]
                yield number, result
        except BrokenProcessPool as error:
            fruitless = fruitless + 1 if len(left) == before else 0
            if fruitless == ATTEMPTS:
                raise InputError(
                    "worker processes died, perhaps for want of memory; run the same command "
                    "again with fewer --workers, what is finished is kept"
                ) from error


def fork_server(*modules: str) -> BaseContext:
    """Start processes as forks of one that has imported what they share, once.

    It is started by the first call, with that call's modules, and ends when this process and all
    forks have. The signals of `SIGNALS` are blocked in it, and so in its forks until they let them
    through.

    Args:
        modules: Names of what is imported.

    Returns:
        What starts processes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([SERVER, *modules])
    start_resource_tracker()  # else the server would, without holding all signals
    with hold_signals(*SIGNALS):
        ensure_running()
    return context


def module_of(work: Work[Any]) -> str:
    """Name of the module that defines a function, or the class of a callable object."""
    function = work.func if isinstance(work, partial) else work
    return getattr(function, "__module__", None) or type(function).__module__


def _run_in_pool(
    work: Work[Result], numbers: Sequence[int], workers: int, chunk: int
) -> Iterator[tuple[int, Result]]:
    context = fork_server(module_of(work))
    watched, held = context.Pipe(duplex=False)
    with shared_memory_explained():
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(work, watched))
    chunks = split_into_chunks(numbers, chunk)
    tasks: Tasks[list[tuple[int, Any]]] = Tasks(pool)
    try:
        while True:
            for given in islice(chunks, QUEUED * workers - tasks.unfinished):
                _submit(tasks, given)
            if not tasks.unfinished:
                return
            yield from tasks.wait().result()
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        watched.close()


def _submit(tasks: Tasks[list[tuple[int, Any]]], given: list[int]) -> None:
    try:
        tasks.submit(_do, given)
    except ConnectionError as error:  # a worker that it was starting died before it began
        raise BrokenProcessPool("a worker could not be started") from error


@dataclass
class _Worker:
    """State of a worker process."""

    work: Work[Any] | None = None
    """Function to call."""
    busy: bool = False
    """Whether the function is running."""
    ended: bool = False
    """Whether no more results are wanted."""


_worker = _Worker()


def _begin(work: Work[Any], watched: Any) -> None:
    """Initialize a worker, and watch for the end of the work.

    If the parent process is killed, the worker ends too; otherwise it would wait forever.

    Args:
        work: Function to call.
        watched: Connection that the parent closes when no more results are wanted; a running call
            is then interrupted, and cleans up.
    """
    _worker.work = work
    parent = multiprocessing.parent_process()
    assert parent is not None

    def interrupt(*_: object) -> None:
        _worker.ended = True
        if _worker.busy:
            raise KeyboardInterrupt

    # The real signal stays blocked in this process; the thread calls the handler.
    signal.signal(signal.SIGINT, interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, set(SIGNALS) - {signal.SIGINT})
    repeat_lost_interrupts()

    def watch() -> None:
        watched.poll(None)
        _thread.interrupt_main(signal.SIGINT)
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(numbers: list[int]) -> list[tuple[int, Any]]:
    assert _worker.work is not None
    try:
        _worker.busy = True
        if _worker.ended:
            raise KeyboardInterrupt
        return [(number, _worker.work(number)) for number in numbers]
    finally:
        _worker.busy = False


def split_into_chunks(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    """Split numbers into lists of `size`; the last one may be shorter."""
    return (list(numbers[at : at + size]) for at in range(0, len(numbers), size))
