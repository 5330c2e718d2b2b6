"""Files that nobody should have, by the campaign in `benchmarks/fuzz.py`."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_changed_files_of_every_kind_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from fuzz import Case, judge
    from fuzz_kinds import READERS, make_case, make_inputs

    root = tmp_path / "sound"
    root.mkdir()
    make_inputs(root)
    found: Counter[str] = Counter()
    for kind in READERS:
        for number in range(3):
            what, said = judge(Case(kind, number), 1, root, tmp_path / f"{kind}-{number}")
            assert what in ("refused", "accepted"), (kind, number, said)
            found[what] += 1
    assert found["refused"] >= 20
    for kind in set(READERS) - {"legacy", "safetensors"}:  # No encoders, but weights.
        with monkeypatch.context() as patched:
            same = READERS[kind].__class__(**vars(READERS[kind]) | {"change": lambda data, _: data})
            patched.setitem(READERS, kind, same)
            judged = judge(Case(kind, 0), 1, root, tmp_path / f"{kind}-sound")
        assert judged == ("accepted", ""), kind
    first, again = (make_case("pth", 7, 1, root, tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == again.read_bytes() != (root / "weights" / first.name).read_bytes()


def test_processes_that_die_or_hang_are_charged_to_their_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fuzz

    faults = {
        0: "import os; os.kill(os.getpid(), 9)",
        1: "import time; time.sleep(60)",
        2: "raise ValueError('x')",
        3: "bytearray(3 << 30)",
        4: "pass",
    }

    def judge(case: fuzz.Case, *_: object) -> tuple[str, str]:
        try:
            exec(faults[case.number])
        except (ValueError, MemoryError) as error:
            return "traceback", repr(error)
        return "accepted", ""

    monkeypatch.setattr(fuzz, "judge", judge)
    monkeypatch.setattr(fuzz, "PATIENCE_S", 1.0)
    cases = [fuzz.Case("clip", number) for number in faults]
    outcomes = list(fuzz.run_cases(cases, 0, tmp_path))
    assert [one.case for one in outcomes] == cases
    whats = [one.what for one in outcomes]
    assert whats == ["crash", "hang", "traceback", "traceback", "accepted"]
    assert outcomes[0].said == "exit code -9"


@pytest.mark.slow
def test_five_hundred_changed_files_fail_nowhere(tmp_path: Path) -> None:
    """The short form of the campaign."""
    words = ("--cases", "500", "--seed", "3", "--keep", str(tmp_path / "kept"))
    command = [sys.executable, str(BENCHMARKS / "fuzz.py"), *words]
    ended = subprocess.run(command, stdout=-1, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "0 failures" in ended.stdout
