"""Where shards are made: in this process, in several of this machine, or on a Ray cluster.

An engine maps numbers through a function and yields (number, result) as they come. What a worker
that dies was doing is done again; a result does not depend on the engine.
"""

from __future__ import annotations

import _thread
import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from smile_motion.errors import InputError, in_one_line
from smile_motion.io.full_disks import shared_memory_explained
from smile_motion.runtime.extras import require_extra
from smile_motion.runtime.signals import (
    hold_signals,
    repeat_lost_interrupts,
    start_resource_tracker,
)

Result = TypeVar("Result")
Work = Callable[[int], Result]
"""What is done for a number; it pickles."""

ATTEMPTS = 3
"""How often workers may die in a row without anything being finished."""
RETRIES = 8
"""How often Ray does a task again whose worker or machine died."""
CONNECT_S = 10.0
"""How long a cluster may take to answer, seconds."""
QUEUED = 2
"""Tasks given out for each worker, so that none waits."""


def run_in_processes(
    work: Work[Result], numbers: Sequence[int], *, workers: int, chunk: int = 1
) -> Iterator[tuple[int, Result]]:
    """Do the work in processes of this machine; when one dies, new ones go on.

    workers  processes; below 2 the work is done in this one, in order.
    chunk    numbers handed to a process at a time.
    Raises InputError when processes die again and again before anything is finished.
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


def run_on_ray(
    work: Work[Result],
    numbers: Sequence[int],
    *,
    address: str | None = None,
    chunk: int = 1,
    prefer_gpus: bool = False,
) -> Iterator[tuple[int, Result]]:
    """Do the work on a Ray cluster, one CPU or GPU a task, over all its machines.

    address      of the cluster's head, `host:port`; by default what RAY_ADDRESS names, or else a
                 cluster of this machine alone.
    chunk        numbers in a task.
    prefer_gpus  give each task a GPU of its own, where the cluster has any.
    Every machine needs the same packages, and the same files under the same paths.
    Raises InputError when Ray is not installed, cannot be reached, or a task keeps failing.
    """
    ray = _connect(address)
    pending: dict[Any, None] = {}
    try:
        kind = "GPU" if prefer_gpus and ray.cluster_resources().get("GPU") else "CPU"
        takes = {"num_cpus": 1, "num_gpus": int(kind == "GPU")}
        retried = {"max_retries": RETRIES, "scheduling_strategy": "SPREAD"}
        task = ray.remote(**takes, **retried)(_do_there)
        # As bytes, so that paths are not looked at before the worker is where they start from.
        shared, here = ray.put(pickle.dumps(work)), str(Path.cwd())
        chunks = _chunks(numbers, chunk)
        while True:
            slots = QUEUED * max(1, int(ray.cluster_resources().get(kind, 1)))
            for given in islice(chunks, max(0, slots - len(pending))):
                pending[task.remote(shared, given, here)] = None
            if not pending:
                return
            finished, _ = ray.wait(list(pending))
            for reference in finished:
                del pending[reference]
                yield from ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
            raise cause from error
        raise InputError(
            f"Ray gave up ({_brief(error)}); what is finished is kept, run the same command again"
        ) from error
    finally:
        # What runs is told to stop and clears up what it has begun.
        for reference in pending:
            ray.cancel(reference)
        if pending:
            ray.wait(list(pending), num_returns=len(pending), timeout=20)
        ray.shutdown()


def _do_there(data: bytes, numbers: list[int], folder: str) -> list[tuple[int, Any]]:
    try:
        os.chdir(folder)
    except OSError as error:
        raise InputError(
            f"{socket.gethostname()}: cannot enter {folder} ({error.strerror}); every machine of "
            f"the cluster needs the same files under the same paths"
        ) from error
    work = _unpickled(data)
    return [(number, work(number)) for number in numbers]


@lru_cache(maxsize=1)
def _unpickled(data: bytes) -> Work[Any]:
    return pickle.loads(data)


def _connect(address: str | None) -> Any:
    # Read when Ray is imported: no report of use, and workers run in the environment of their
    # machine, not in one that `uv run` makes anew.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    require_extra("--engine ray", "ray", extra="ray")
    ray: Any = importlib.import_module("ray")
    where = address or os.environ.get("RAY_ADDRESS")
    try:
        _require_listening(where)
        with _stderr_silenced():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ray.exceptions.RayError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Ray at {where or 'this machine'}: cannot connect ({_brief(error)}); start it with "
            f"`ray start --head`, give --address HOST:PORT, and let RAY_AUTH_TOKEN_PATH name the "
            f"file with its token"
        ) from error
    return ray


def _require_listening(address: str | None) -> None:
    """Raise OSError unless something listens there; Ray itself would wait for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Silence what Ray's compiled part writes about a failure, which is raised as well."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _brief(error: Exception) -> str:
    return in_one_line(error) or type(error).__name__


def _run_in_pool(
    work: Work[Result], numbers: Sequence[int], workers: int, chunk: int
) -> Iterator[tuple[int, Result]]:
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    start_resource_tracker()  # else the pool's semaphores would
    with shared_memory_explained():
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(work, watched))
    chunks = _chunks(numbers, chunk)
    pending: set[Future[list[tuple[int, Any]]]] = set()
    try:
        while True:
            with hold_signals(signal.SIGINT):  # the pool starts its processes here
                for given in islice(chunks, QUEUED * workers - len(pending)):
                    pending.add(pool.submit(_do, given))
            if not pending:
                return
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from future.result()
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        watched.close()


@dataclass
class _Worker:
    """What a worker process knows."""

    work: Work[Any] | None = None
    """What it was started for."""
    busy: bool = False
    """Whether it is at work, and not between the pool's messages."""
    ended: bool = False
    """Whether nobody wants further results."""


_worker = _Worker()


def _begin(work: Work[Any], watched: Any) -> None:
    """Keep the work, and watch for the end of it.

    watched  a connection, closed at its other end when no more results are wanted: what runs is
             interrupted, and clears up what it has begun. When the process that started this one
             is killed, this one ends as well; else it would wait for ever.
    """
    _worker.work = work
    parent = multiprocessing.parent_process()
    assert parent is not None

    def interrupt(*_: object) -> None:
        _worker.ended = True
        if _worker.busy:
            raise KeyboardInterrupt

    # The real signal is held from this process; the thread calls the handler.
    signal.signal(signal.SIGINT, interrupt)
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


def _chunks(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    return (list(numbers[at : at + size]) for at in range(0, len(numbers), size))
