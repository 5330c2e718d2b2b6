import os
import signal
import time
from pathlib import Path

import pytest
import smile_train
from support.forked import start


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_reader_however_it_goes(
    tmp_path: Path, number: signal.Signals
) -> None:
    reader = start("waiting_reader", [tmp_path], cwd=Path(__file__).parents[2] / "support")
    told = tmp_path / "worker"
    while not told.exists():
        assert reader.poll() is None, reader.said()
        time.sleep(0.01)
    worker = int(told.read_text())
    assert lives(worker)
    os.kill(reader.pid, number)
    assert reader.wait() == -number
    until = time.monotonic() + 20
    while lives(worker):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_all_workers_are_started_so() -> None:
    packages = Path(smile_train.__file__).parent
    found = [path.name for path in packages.rglob("*.py") if "DataLoader(" in path.read_text()]
    assert found == ["loader.py"]


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
