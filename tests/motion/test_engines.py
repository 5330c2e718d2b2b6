"""Work shared out to processes of this machine."""

import subprocess
import sys

INTERRUPTED = """
import os, signal, threading
from smile_motion.engines import run_in_processes

if __name__ == "__main__":
    came_through = 0
    for attempt in range(12):
        results = run_in_processes(abs, range(100_000), workers=2)
        next(results)
        delay_s = 0.05 + 0.003 * attempt
        threading.Timer(delay_s, os.killpg, (os.getpgid(0), signal.SIGINT)).start()
        try:
            for _ in results:
                pass
        except KeyboardInterrupt:
            came_through += 1
    print(came_through)
"""


def test_no_interrupt_is_lost_and_workers_say_nothing(tmp_path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    process = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        capture_output=True, text=True, start_new_session=True, timeout=120,
    )  # fmt: skip
    assert (process.stdout, process.stderr) == ("12\n", "")
