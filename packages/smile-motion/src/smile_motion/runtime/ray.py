"""Parallel work on a Ray cluster."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError, in_one_line
from smile_motion.runtime.extras import require_extra
from smile_motion.runtime.workers import QUEUED, Result, Work, split_into_chunks

RETRIES = 8
"""Retries of a task whose worker or machine died."""
CONNECT_S = 10.0
"""Longest wait for a cluster to answer, seconds."""


def run_on_ray(
    work: Work[Result],
    numbers: Sequence[int],
    *,
    address: str | None = None,
    chunk: int = 1,
    prefer_gpus: bool = False,
) -> Iterator[tuple[int, Result]]:
    """Run work on a Ray cluster, one CPU or GPU a task.

    Every machine needs the same packages, and the same files under the same paths.

    Args:
        work: Picklable function of a number.
        numbers: Arguments of the calls.
        address: Address of the cluster's head, `host:port`; by default that of RAY_ADDRESS, else a
            new cluster on this machine.
        chunk: Numbers per task.
        prefer_gpus: Give each task a GPU, if the cluster has any.

    Yields:
        Each number with its result, in the order of completion.

    Raises:
        InputError: Ray is not installed, cannot be reached, or a task keeps failing.
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
        chunks = split_into_chunks(numbers, chunk)
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
