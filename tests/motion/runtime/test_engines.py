"""Work shared out to processes of this machine."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import os, signal, threading
from smile_motion.runtime.workers import run_in_processes

if __name__ == "__main__":
    came_through = 0
    for attempt in range(12):
        results = run_in_processes(abs, range(100_000), workers=2)
        next(results)
        delay_s = 0.05 + 0.003 * attempt
        try:
            threading.Timer(delay_s, os.killpg, (os.getpgid(0), signal.SIGINT)).start()
            for _ in results:
                pass
        except KeyboardInterrupt:
            came_through += 1
    print(came_through)
"""


@pytest.mark.slow
def test_no_interrupt_is_lost_and_workers_say_nothing(tmp_path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    process = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        capture_output=True, text=True, start_new_session=True, timeout=120,
    )  # fmt: skip
    assert (process.stdout, process.stderr) == ("12\n", "")


LONG = """
import contextlib, itertools, signal
from pathlib import Path

import pytest
from smile_motion.runtime.workers import run_in_processes
from smile_motion.io.files import replacing

def work(number):
    if number == 0:
        while not list(Path().glob(".long.*")):
            pass
        return number
    with replacing(Path("long")) as temporary:
        temporary.write_text("half")
        for _ in itertools.count():
            pass

if __name__ == "__main__":
    with contextlib.closing(run_in_processes(work, range(8), workers=2)) as results:
        next(results)
        signal.raise_signal(signal.SIGINT)
"""


def test_an_interrupt_ends_work_that_is_far_from_done(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(LONG)
    process = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path, capture_output=True, text=True, start_new_session=True, timeout=120,
    )  # fmt: skip
    assert process.stderr.count("Traceback") == 1  # of the script itself
    assert process.stderr.endswith("KeyboardInterrupt\n")
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


GROUP = """
import multiprocessing, os, signal, sys
from multiprocessing import resource_tracker
from smile_motion.runtime.signals import hold_signals, start_resource_tracker
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGHUP, lambda *_: None)
start_resource_tracker()
with hold_signals(signal.SIGTERM):
    lock = multiprocessing.get_context("spawn").Lock()
before = resource_tracker._resource_tracker._pid
for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1):
    os.killpg(0, number)
del lock
assert resource_tracker._resource_tracker._pid == before
assert os.waitpid(before, os.WNOHANG) == (0, 0)
"""


def test_signals_to_the_group_leave_who_clears_up_semaphores_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", GROUP],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


STARTED = """
import os, signal
from multiprocessing.forkserver import connect_to_new_process
from smile_motion.runtime.signals import SIGNALS
from smile_motion.runtime.workers import fork_server, run_in_processes

def work(number):
    return signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)

if __name__ == "__main__":
    fork_server()
    os.killpg(os.getpgid(0), signal.SIGUSR1)
    said, told = connect_to_new_process([])
    os.write(told, PART)  # and no more, as one that is killed here
    os.close(told)
    assert os.read(said, 8), "it has not begun"
    while os.read(said, 8):
        pass
    for _, blocked in run_in_processes(work, range(4), workers=2):
        assert blocked == {signal.SIGINT}
"""


class Lost:
    """Unpickled, it is an error, as a semaphore that was removed with its program is."""

    def __reduce__(self) -> tuple:
        return os.stat, ("nowhere",)


@pytest.mark.parametrize("part", [b"", b"\x80\x05\x95", pickle.dumps({}) + pickle.dumps(Lost())])
def test_workers_are_forked_safe_from_signals_and_orphans_say_nothing(
    part: bytes, tmp_path
) -> None:
    script = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n"
    (tmp_path / "script.py").write_text(script + STARTED.replace("PART", repr(part)))
    process = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        capture_output=True, text=True, start_new_session=True, timeout=60,
    )  # fmt: skip
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_workers_that_cannot_begin_are_an_error_of_a_line() -> None:
    """They import the program's file, and what comes by a pipe has none."""
    script = """
from smile_motion.errors import InputError
from smile_motion.runtime.workers import run_in_processes

try:
    list(run_in_processes(abs, range(4), workers=2))
except InputError as error:
    print(error)
"""
    process = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, timeout=60
    )
    assert "worker processes died" in process.stdout
    assert "No such file" in process.stderr
