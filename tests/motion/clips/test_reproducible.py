"""The same bytes, however the work is split: over workers, processes, threads, in any order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from smile_motion.bank import ObjectBank
from support import forked

SUPPORT = Path(__file__).parents[2] / "support"
INDEXES = [*range(8), 10**6, 2**40]


class Digesting:
    """Starts `digest_clips` in a process of its own."""

    def __init__(self, bank: Path, video: Path) -> None:
        self.inputs = [str(bank), str(video)]

    def start(self, indexes: list[int], *options: object) -> forked.ForkedProgram:
        """Start it; `options` as on its command line."""
        words = [*self.inputs, *indexes, *options]
        return forked.start("digest_clips", words, cwd=SUPPORT)

    def run(self, indexes: list[int], *options: object) -> dict[str, str]:
        """Run it to its end and return index -> digest."""
        return finished(self.start(indexes, *options))

    def run_anew(self, indexes: list[int], *, threads: int) -> dict[str, str]:
        """The same in a new interpreter, whose libraries have so many threads."""
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        output = subprocess.check_output(
            [sys.executable, SUPPORT / "digest_clips.py", *self.inputs, *map(str, indexes)],
            env=os.environ | dict.fromkeys(names, str(threads)),
        )
        return json.loads(output)


def finished(process: forked.ForkedProgram) -> dict[str, str]:
    output, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(output)


@pytest.fixture(scope="module")
def digesting(small_bank: ObjectBank, real_videos: dict[str, Path]) -> Digesting:
    return Digesting(small_bank.path, real_videos["bikes"])


@pytest.fixture(scope="module")
def digests(digesting: Digesting) -> dict[str, str]:
    """What one process gives that does it all alone, in order."""
    return digesting.run(INDEXES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "method", "batch"),
    [(4, "fork", 1), (1, "spawn", 3)],
)
def test_neither_workers_nor_their_start_nor_the_order_matter(
    digesting: Digesting, digests: dict[str, str], workers: int, method: str, batch: int
) -> None:
    shuffled = INDEXES[workers:] + INDEXES[:workers][::-1]
    options = ["--workers", workers, "--start-method", method, "--batch", batch]
    assert digesting.run(shuffled, *options) == digests


@pytest.mark.slow
def test_processes_make_their_shards_of_the_same_clips(
    digesting: Digesting, digests: dict[str, str]
) -> None:
    started = [digesting.start(shard) for shard in (INDEXES[:3], INDEXES[:2:-1])]
    together: dict[str, str] = {}
    for process in started:
        together |= finished(process)
    assert together == digests


@pytest.mark.slow
def test_the_number_of_threads_does_not_matter(
    digesting: Digesting, digests: dict[str, str]
) -> None:
    assert digesting.run_anew(INDEXES, threads=3) == digests


@pytest.mark.slow
def test_clips_of_all_indexes_and_epochs_differ(
    digesting: Digesting, digests: dict[str, str]
) -> None:
    later = digesting.run(INDEXES, "--epoch", "1")
    assert len({*digests.values(), *later.values()}) == 2 * len(INDEXES)
