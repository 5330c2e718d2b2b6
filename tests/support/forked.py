"""The training program in processes of its own, forked from one that has imported its libraries.

They are what `python -m smile_train` starts in all but the seconds that its imports take: a session
of their own, their own environment, folder and streams; they can be signalled and killed.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

IMPORTED = (
    *(
        "smile_train.training.pretrain",
        "smile_train.training.finetune",
        "smile_train.teachers.clip",
    ),
    *("smile_train.data._preload_pretrain", "smile_train.data._preload_finetune"),
    *("torch._dynamo", "torch.distributed.tensor", "torch.utils.tensorboard"),
    *("matplotlib.backends.backend_agg", "transformers", "open_clip", "rich.progress", "tyro"),
    *("smile_motion.cli.render", "smile_motion.truth.instances"),
)
"""What is imported before any program starts."""
MESSAGE_BYTES = 1 << 20


def start(
    module: str,
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    said: Path | None = None,
) -> ForkedProgram:
    """Start `python -m module` with its output kept.

    Args:
        environment: What it has besides this process's variables.
        said: A file that all its output is added to; by default both streams are kept apart.
    """
    request = {
        "module": module,
        "arguments": [str(argument) for argument in arguments],
        "cwd": str(cwd or Path.cwd()),
        "environment": {**os.environ, "CUDA_VISIBLE_DEVICES": "", **(environment or {})},
    }
    out, err = (
        tempfile.TemporaryFile("w+") if said is None else said.open("a+")  # noqa: SIM115
        for _ in range(2)
    )
    status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        files = [out.fileno(), err.fileno(), theirs.fileno()]
        socket.send_fds(_server(), [json.dumps(request).encode()], files)
    return ForkedProgram(status, out, err)


def start_together(
    module: str,
    arguments: Sequence[object],
    *,
    processes: int,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[ForkedProgram]:
    """Start the processes of one run, with the variables that `torchrun` gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **(environment or {}),
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        **{"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)},
    }
    return [
        start(
            module, arguments, cwd=cwd,
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(processes)
    ]  # fmt: skip


@lru_cache(maxsize=1)
def _server() -> socket.socket:
    """Start what forks; it ends when this process does."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            pass_fds=[there.fileno()],
            start_new_session=True,
        )
    return here


class ForkedProgram:
    """A started program, used as a `subprocess.Popen` whose output is kept."""

    def __init__(self, status: socket.socket, out: IO[str], err: IO[str]) -> None:
        self._status, self._files = status, (out, err)
        self.pid = int(status.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code once it has ended, -N where signal N ended it; None before."""
        if self.returncode is None:
            self._status.setblocking(False)
            try:
                self.returncode = int(self._status.recv(64))
            except BlockingIOError:
                return None
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Wait until it has ended; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(self.said())
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """What it wrote until it ended: standard output and error."""
        self.wait(timeout)
        return self.said()

    def said(self) -> tuple[str, str]:
        """What it has written so far."""
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read())
        return texts[0], texts[1]

    def kill(self) -> None:
        """Kill it, and all that is in its session."""
        os.killpg(self.pid, signal.SIGKILL)


def _serve(connection: socket.socket) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Keepers are not waited for.
    while True:
        request, files, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 3)
        if not request:
            return
        if os.fork() == 0:
            connection.close()
            _keep(json.loads(request), files)
        for file in files:
            os.close(file)


def _keep(request: dict, files: list[int]) -> None:
    """Start the program and tell its number and, when it has ended, its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = socket.socket(fileno=files[2])
    program = os.fork()
    if program == 0:
        status.close()
        _become(request, files)
    for file in files[:2]:
        os.close(file)
    status.send(str(program).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    status.send(str(code).encode())
    os._exit(0)


def _become(request: dict, files: list[int]) -> None:
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files[:2], start=1):
        os.dup2(file, number)
        os.close(file)
    sys.argv = [request["module"], *request["arguments"]]
    sys.path[0] = request["cwd"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
