"""Programs in processes of their own, forked from one that has imported their libraries.

They are what `python -m smile_train` or `smile_motion` starts in all but the seconds that imports
take: a session of their own, their own environment, folder and streams; they can be signalled and
killed. One process forks for all those that run tests; it ends with the last of them.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

from numba.core.registry import cpu_target
from smile_motion.io.folders import CACHE_VARIABLE

sys.path.append(str(Path(__file__).parents[1]))

from support import fork_servers
from support.fork_servers import MESSAGE_BYTES

IMPORTED = (
    *(
        "smile_train.training.pretrain",
        "smile_train.training.finetune",
        "smile_train.teachers.clip",
    ),
    *("smile_train.data._preload_pretrain", "smile_train.data._preload_finetune"),
    *("torch._dynamo", "torch.distributed.tensor", "torch.utils.tensorboard"),
    *("matplotlib.backends.backend_agg", "transformers", "open_clip", "rich.progress"),
    *("tyro._backends._tyro_backend", "typeguard", "pydantic.main", "pydantic.type_adapter"),
    *("pydantic.types", "pydantic.functional_validators", "scipy.fftpack"),
    *("diffusers.pipelines.auto_pipeline", "diffusers.pipelines.stable_diffusion"),
    *("transformers.models.clipseg", "imagehash", "smile_motion.cli.bank.candidates"),
    *("smile_motion.cli.render", "smile_motion.export", "smile_motion.truth.instances"),
)
"""What is imported before any program starts."""
CACHE = os.environ.get(CACHE_VARIABLE)
"""What all that run tests have in common, whatever a test says later."""


def start(
    module: str,
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    said: Path | None = None,
    prepare: tuple[str, Sequence[object]] | None = None,
    own_server: bool = False,
) -> ForkedProgram:
    """Start `python -m module` with its output kept.

    Args:
        environment: What it has besides this process's variables; None is for one that it lacks.
        said: A file that all its output is added to; by default both streams are kept apart.
        prepare: `module:function` and its arguments; called there before the program starts.
        own_server: Whether the process that it forks workers from is a new Python, as for users.
    """
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **(environment or {})}
    request = {
        "module": module,
        "arguments": [str(argument) for argument in arguments],
        "cwd": str(cwd or Path.cwd()),
        "environment": {name: value for name, value in variables.items() if value is not None},
        "prepare": prepare,
        "own_server": own_server,
    }
    out, err = (
        tempfile.TemporaryFile("w+") if said is None else said.open("a+")  # noqa: SIM115
        for _ in range(2)
    )
    status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        files = [out.fileno(), err.fileno(), theirs.fileno()]
        socket.send_fds(_server(), [json.dumps(request).encode()], files)
    return ForkedProgram([module, *request["arguments"]], status, out, err)


def start_together(
    module: str,
    arguments: Sequence[object],
    *,
    processes: int,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[ForkedProgram]:
    """Start the processes of one run, with the variables that `torchrun` gives them."""
    shared = {
        **(environment or {}),
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())},
        **{"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)},
    }
    return [
        start(
            module, arguments, cwd=cwd,
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(processes)
    ]  # fmt: skip


def run(
    module: str,
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    prepare: tuple[str, Sequence[object]] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run what `start` starts to its end."""
    program = start(module, arguments, cwd=cwd, environment=environment, prepare=prepare)
    out, err = program.communicate()
    assert program.returncode is not None
    return subprocess.CompletedProcess(program.args, program.returncode, out, err)


def forget(package: str) -> None:
    """Let a program, as its `prepare`, import a package anew, which reads the environment then."""
    for name in list(sys.modules):
        if name == package or name.startswith(f"{package}."):
            del sys.modules[name]


def _free_port() -> int:
    """A port that nobody else is given before it is used: systems, Ray and launchers use others."""
    while True:
        port = random.SystemRandom().randrange(20_000, 29_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


@lru_cache(maxsize=1)
def _server() -> socket.socket:
    """Connect to what forks, after starting it if need be."""
    place = Path(CACHE or tempfile.mkdtemp(prefix="forked-"), "forked")
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _locked(place):
        try:
            ours.connect(str(place))
        except OSError:
            place.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
                listening.bind(str(place))
                listening.listen()
                ours.connect(str(place))
                subprocess.Popen(
                    [sys.executable, __file__, str(listening.fileno()), str(place)],
                    pass_fds=[listening.fileno()],
                    start_new_session=True,
                )
    return ours


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Exclude others who connect, or who end the process that forks."""
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class ForkedProgram:
    """A started program, used as a `subprocess.Popen` whose output is kept."""

    def __init__(
        self, arguments: list[str], status: socket.socket, out: IO[str], err: IO[str]
    ) -> None:
        self._status, self._files = status, (out, err)
        self.args = arguments
        self.pid = int(status.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code once it has ended, -N where signal N ended it; None before."""
        if self.returncode is None and self._has_ended(0):
            self.returncode = int(self._status.recv(64))
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Wait until it has ended; kills it and raises TimeoutError where that takes longer."""
        if self.returncode is None and not self._has_ended(timeout):
            os.killpg(self.pid, signal.SIGKILL)
            raise TimeoutError(self.said())
        code = self.poll()
        assert code is not None
        return code

    def wait_for(self, happened: Callable[[], object], every_s: float = 0.02) -> None:
        """Wait until something has happened; fails if the program ends before."""
        while not happened():
            assert not self._has_ended(every_s), self.communicate()

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

    def send_signal(self, number: int) -> None:
        """Signal it alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, and all that is in its session."""
        os.killpg(self.pid, signal.SIGKILL)

    def _has_ended(self, timeout: float) -> bool:
        if self.returncode is not None:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            return bool(selector.select(timeout))


def _serve(listening: socket.socket, place: Path) -> None:
    """Fork programs until nobody is connected."""
    for name in IMPORTED:
        importlib.import_module(name)
    for context in (cpu_target.typing_context, cpu_target.target_context):
        context.refresh()  # What the first of numba's loops would load.
    gc.freeze()  # Programs need not go through it all, which would copy its memory.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Keepers are not waited for.
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listening:
                selector.register(listening.accept()[0], selectors.EVENT_READ)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            request, files, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 3)
            if not request:
                selector.unregister(connection)
                connection.close()
            elif os.fork() == 0:
                for number in list(selector.get_map()):
                    os.close(number)
                selector.close()
                _keep(json.loads(request), files)
            for file in files:
                os.close(file)
        if len(selector.get_map()) == 1:
            try:
                with _locked(place), selectors.DefaultSelector() as last:
                    last.register(listening, selectors.EVENT_READ)
                    if not last.select(0):  # Nobody has connected meanwhile.
                        place.unlink(missing_ok=True)
                        os._exit(0)
            except FileNotFoundError:  # The cache has gone, with the last of the tests.
                os._exit(0)


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
    tempfile.tempdir = None  # which the environment says
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files[:2], start=1):
        os.dup2(file, number)
        os.close(file)
    sys.argv = [request["module"], *request["arguments"]]
    sys.path[0] = request["cwd"]
    if request["prepare"] is not None:
        name, arguments = request["prepare"]
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)(*arguments)
    if not request["own_server"]:
        fork_servers.offer()
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code: object = None
    except SystemExit as ended:
        code = ended.code
    _exit(code)


def _exit(code: object) -> None:
    """End as Python does, but without taking thousands of modules apart, which takes seconds."""
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
