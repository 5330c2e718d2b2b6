"""Tasks of pools, interrupted anywhere."""

import subprocess
import sys

import pytest
from smile_motion.runtime.tasks import map_in_threads

INTERRUPTED = """
import signal, sys, threading, time
from smile_motion.runtime.tasks import map_in_threads
from smile_motion.runtime.workers import run_in_processes

LIBRARY = ("threading.py", "process.py", "thread.py", "_base.py", "queue.py")

def interrupt(place):
    left = place

    def look(frame, event, _):  # Python looks for signals at these events
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename.endswith(LIBRARY):
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(look)
    try:
        WORK
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False

def work(number):
    time.sleep(0.002)
    return number

if __name__ == "__main__":
    place = 1
    while interrupt(place):
        end = time.monotonic() + 20
        while threading.active_count() > 1:
            assert time.monotonic() < end, f"place {place}: threads are left"
            time.sleep(0.001)
        place += STEP
    print(place)
"""


@pytest.mark.parametrize(
    ("work", "step", "places"),
    [
        ("list(map_in_threads(work, range(6), threads=2))", 1, 100),
        pytest.param(
            "list(run_in_processes(work, range(6), workers=2))", 17, 200, marks=pytest.mark.slow
        ),
    ],
)
def test_an_interrupt_anywhere_in_the_pools_code_ends_them(work, step, places, tmp_path) -> None:
    script = INTERRUPTED.replace("WORK", work).replace("STEP", str(step))
    (tmp_path / "script.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > places


def test_results_come_in_order_and_items_are_taken_as_needed() -> None:
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_in_threads(lambda number: -number, items(), threads=2, ahead=3)
    assert next(results) == 0
    assert len(taken) == 6
    assert list(results) == [-number for number in range(1, 100)]


def test_an_error_of_an_item_comes_in_its_place() -> None:
    results = map_in_threads(lambda number: 1 // number, [1, 0, 2], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
