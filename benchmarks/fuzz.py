"""Give every reader of the packages files that nobody should have, and see that it refuses them.

    nice uv run python benchmarks/fuzz.py [--cases 10000] [--seed 0] [--kinds clip video …]
    uv run python benchmarks/fuzz.py --kinds clip --only 1234 --keep FOLDER   # one case again

Sound files are made, changed, and read in a process of their own with 2 GB of memory to spare. A
reader may accept what it is given, or refuse it in one line (InputError, or an OSError that names a
file). All else is a failure: another exception, a message of several lines, a process that dies,
20 s without an end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from fuzz_kinds import READERS, make_case, make_inputs
from smile_motion.errors import InputError

PATIENCE_S = 20.0
"""How long a case may take, seconds."""
SPARE_BYTES = 2 << 30
"""Memory that the process may ask for besides what it begins with."""
FAILURES = ("crash", "hang", "traceback")


@dataclass(frozen=True)
class Case:
    """A changed file."""

    kind: str
    number: int


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    what: str
    """`refused`, `accepted`, `crash`, `hang` or `traceback`."""
    said: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Row:
    """What came of the cases of a kind."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_mb: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count a case."""
        self.counts[outcome.what] += 1
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.peak_mb = max(self.peak_mb, outcome.peak_mb)


def judge(case: Case, seed: int, root: Path, work: Path) -> tuple[str, str]:
    """Make a case and have it read: what came of it, and what was said."""
    file = make_case(case.kind, case.number, seed, root, work)
    refused: list[str] = []
    for read in READERS[case.kind].read(file, root):
        try:
            read()
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.filename is None:
                return "traceback", traceback.format_exc()
            if set(str(error)) & {"\n", "\r"}:
                return "traceback", f"a message of several lines: {error!s}"
            refused.append(str(error))
        except Exception:
            return "traceback", traceback.format_exc()
    return ("refused", refused[0]) if refused else ("accepted", "")


def run_cases(cases: Iterable[Case], seed: int, root: Path) -> Iterator[Outcome]:
    """Judge cases in processes that are replaced when they die or take too long."""
    left = list(cases)[::-1]
    while left:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=_work, args=(there, left[::-1], seed, root), daemon=True
        )
        process.start()
        there.close()
        while left:
            try:
                if not here.poll(PATIENCE_S):
                    process.kill()
                    yield Outcome(left.pop(), "hang", seconds=PATIENCE_S)
                    break
                yield here.recv()
                left.pop()
            except EOFError:
                process.join()
                yield Outcome(left.pop(), "crash", f"exit code {process.exitcode}")
                break
        process.join()
        here.close()


def _work(reports: Connection, cases: Sequence[Case], seed: int, root: Path) -> None:
    """Judge cases one after the other, and report each."""
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    begun = _memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (begun + SPARE_BYTES, begun + SPARE_BYTES))
    for case in cases:
        with tempfile.TemporaryDirectory(dir=root, prefix="case-") as work:
            Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
            resident, start = _memory("VmRSS"), time.monotonic()
            what, said = judge(case, seed, root, Path(work))
            seconds, peak = time.monotonic() - start, _memory("VmHWM") - resident
        reports.send(Outcome(case, what, said, seconds, max(0, peak) / 1e6))
    reports.close()


def _memory(name: str) -> int:
    """A figure of this process's memory, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def keep(outcome: Outcome, seed: int, root: Path, folder: Path) -> None:
    """Write a failing input, and how to repeat it."""
    case = outcome.case
    target = folder / f"{case.kind}-{case.number}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    file = make_case(case.kind, case.number, seed, root, target / "input")
    again = f"benchmarks/fuzz.py --seed {seed} --kinds {case.kind} --only {case.number}"
    changed = file.relative_to(target)
    (target / "README.txt").write_text(
        f"{outcome.what} ({changed}): uv run python {again}\n\n{outcome.said}\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


def campaign(
    kinds: Sequence[str], numbers: Sequence[int], seed: int, kept: Path | None
) -> Iterator[tuple[str, Row]]:
    """Run the cases of each kind; failures are told as they come."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="smile-fuzz-") as temporary:
        root = Path(temporary).resolve()
        make_inputs(root)
        for kind in kinds:
            row = Row()
            for outcome in run_cases([Case(kind, number) for number in numbers], seed, root):
                row.add(outcome)
                if outcome.what in FAILURES:
                    last = (outcome.said.strip().splitlines() or [""])[-1][:300]
                    print(f"FAULT {kind} {outcome.case.number}: {outcome.what}: {last}", flush=True)
                    if kept is not None:
                        keep(outcome, seed, root, kept)
            yield kind, row


def main() -> None:
    """Run the campaign, and exit with 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=list(READERS), help="all by default")
    parser.add_argument("--only", type=int, help="the one case of this number")
    parser.add_argument("--keep", type=Path, help="folder for failing inputs")
    options = parser.parse_args()
    kinds = options.kinds or list(READERS)
    numbers = range(-(-options.cases // len(kinds))) if options.only is None else [options.only]
    columns = ("refused", "accepted", *FAILURES)
    print(f"{'kind':12} {'cases':>6} " + " ".join(f"{name:>9}" for name in columns)
          + f" {'slowest s':>9} {'peak MB':>8}", flush=True)  # fmt: skip
    begun, total = time.monotonic(), Counter[str]()
    for kind, row in campaign(kinds, numbers, options.seed, options.keep):
        total += row.counts
        counts = " ".join(f"{row.counts[name]:9}" for name in columns)
        print(f"{kind:12} {row.counts.total():6} {counts} {row.slowest_s:9.2f} {row.peak_mb:8.0f}",
              flush=True)  # fmt: skip
    failed = sum(total[name] for name in FAILURES)
    print(f"{total.total()} cases in {time.monotonic() - begun:.0f} s, {failed} failures")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
