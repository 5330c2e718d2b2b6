import signal
from pathlib import Path

import pytest
from smile_motion.bank.builder.journal import JOURNAL
from smile_motion.bank.candidates.build import Models
from support.candidate_builds import TinyModels, files, launch, read_lines

MOMENTS = (
    ("os.rename", "candidates/", 40),
    ("os.rename", "cut/", 10),
    ("os.link", "images/", 5),
    ("os.rename", "bank.json", 1),
    ("os.remove", "build.jsonl", 1),
    ("shutil.rmtree", "cut", 1),
    ("os.rename", "packed", 1),
)
"""What a build is doing when it is killed."""


@pytest.mark.slow
def test_killed_at_any_moment_a_build_ends_in_the_same_bytes(
    tiny_models: TinyModels, tmp_path: Path
) -> None:
    def command(name: str) -> list[str]:
        return tiny_models.arguments(tmp_path / name, tmp_path / "categories.txt")

    straight = launch(command("straight"))
    assert straight.wait() == 0
    out = tmp_path / "killed"
    for moment in MOMENTS:
        process = launch(command("killed"), dies_at=moment)
        assert process.wait() == -signal.SIGKILL, moment
    last = launch(command("killed"))
    assert last.wait() == 0
    assert files(out) == files(tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_signals_stop_a_build_cleanly(
    tiny_models: TinyModels, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "bank"
    arguments = tiny_models.arguments(out, tmp_path / "categories.txt", n=100)
    process = launch(arguments, log=tmp_path / "log")
    journal = out / JOURNAL
    process.wait_for(lambda: journal.is_file() and journal.read_bytes().count(b"\n") >= 5)
    process.send_signal(number)
    assert process.wait() == code
    assert (tmp_path / "log").read_text().count("\n") == 1
    assert list(out.rglob("*.tmp")) == []
    assert journal.read_bytes().endswith(b"\n")
    for record in read_lines(journal):
        for name, size in record["sizes"].items():
            assert (out / name).stat().st_size == size


@pytest.mark.slow
def test_a_full_disk_stops_a_build_and_loses_nothing(
    tiny_models: TinyModels, models: Models, built_bank: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bank"
    arguments = tiny_models.arguments(out, tmp_path / "categories.txt")
    process = launch(arguments, largest_file=15_000, log=tmp_path / "log")
    assert process.wait() == 2
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "build.jsonl: File too large" in line
    records = read_lines(out / JOURNAL)
    assert len(records) > 5
    assert list(out.rglob("*.tmp")) == []
    again = launch(arguments)
    assert again.wait() == 0
    images = {name: data for name, data in files(built_bank).items() if name.startswith("images/")}
    assert {name: data for name, data in files(out).items() if name.startswith("images/")} == images
