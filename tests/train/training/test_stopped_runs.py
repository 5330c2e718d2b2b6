"""Runs that are killed at awkward moments, and what continues them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import newest_checkpoint, save_checkpoint
from smile_train.data.loader import worker_errors_in_one_line
from torch.utils.data import DataLoader, Dataset

QUICK = (
    *("pretrain", "--preset=tiny", "--patch=16", "--frames=4", "--batch=4", "--workers=0"),
    *("--precision=fp32", "--log-every=1", "--save-every=2", "--steps=4", "--cpu-threads=1"),
)


def train(*words: object) -> int:
    return run_app("smile_train", "", COMMANDS, [str(word) for word in words])


def steps(run: Path, name: str = "log.jsonl") -> list[int]:
    return [json.loads(line)["step"] for line in (run / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def quick(small_bank: ObjectBank) -> tuple[str, ...]:
    return (*QUICK, f"--bank={small_bank.path}")


@pytest.mark.parametrize("resume", [True, False])
def test_killed_before_its_first_checkpoint_a_run_starts_anew(
    quick: tuple[str, ...], tmp_path: Path, resume: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    # What is there when the process is killed while it writes its first checkpoint.
    (run / "checkpoints/.step_00000002.77.tmp").mkdir(parents=True)
    (run / "log.jsonl").write_text('{"step": 1, "loss": 9.0}\n{"step": 2, "loss": 9.0}\n')
    assert train(*quick, "--out", run, *(["--resume"] if resume else [])) == 0
    said = capsys.readouterr().err
    assert ("no sound checkpoint to resume from; starting anew" in " ".join(said.split())) == resume
    assert steps(run) == [1, 2, 3, 4]
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    assert kept == {"step_00000002", "step_00000004"}


@pytest.mark.slow
def test_pictures_and_measures_that_a_killed_stage_owes_are_made(
    quick: tuple[str, ...], tmp_path: Path
) -> None:
    words = (*quick, "--strategy=progressive", "--track=none", "--accumulate=2")
    run = tmp_path / "run"
    assert train(*words, "--out", run) == 0
    first = run / "stage-1"
    pictures = {name: (first / name).read_bytes() for name in ("loss.png", "reconstruction.png")}
    measures = (first / "measures.jsonl").read_bytes()
    # Killed after stage 1's last checkpoint: no picture, no measure, nothing of stage 2.
    shutil.rmtree(run / "stage-2")
    for name in (*pictures, "measures.jsonl"):
        (first / name).unlink()
    assert train(*words, "--out", run, "--resume") == 0
    assert {name: (first / name).read_bytes() for name in pictures} == pictures
    assert (first / "measures.jsonl").read_bytes() == measures
    assert steps(run / "stage-2") == [1, 2, 3, 4]
    # Continued once more, nothing is done or said twice.
    assert train(*words, "--out", run, "--resume") == 0
    assert (first / "measures.jsonl").read_bytes() == measures
    assert steps(first) == steps(run / "stage-2") == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_killed_while_it_draws_has_the_same_pictures_and_measures(
    quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a checkpoint and the curves of its step, in the middle and at the end."""
    from smile_train.training import monitor

    class Killed(BaseException):
        pass

    def killed(path: Path, *_: object) -> None:
        path.with_name(".loss.png.0123456789ab.tmp").touch()
        raise Killed

    words = (*quick, "--picture-every=2", "--track=none")
    straight, run = tmp_path / "straight", tmp_path / "run"
    assert train(*words, "--out", straight) == 0
    for number in (2, 4):
        with monkeypatch.context() as patched:
            patched.setattr(monitor, "draw_curves", killed)
            with pytest.raises(Killed):
                train(*words, "--out", run, "--resume")
        assert number not in (steps(run, "measures.jsonl") if number > 2 else [])
        assert newest_checkpoint(run / "checkpoints")[0].name == f"step_0000000{number}"
        if number == 2:
            assert train(*words, "--out", run, "--resume", "--stop-at", 3) == 0
    assert train(*words, "--out", run, "--resume") == 0
    entries = [(one / "measures.jsonl").read_text().splitlines() for one in (straight, run)]
    assert [line for line in entries[1] if '"step": 3' not in line] == entries[0]
    assert not list(run.glob(".*.tmp"))
    pictures = [(one / "reconstruction.png").read_bytes() for one in (straight, run)]
    assert pictures[0] == pictures[1]


def test_stopped_early_the_next_command_is_offered(
    quick: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(*quick, "--out", run, "--stop-at", 3) == 0
    assert f"--resume --out {run}" in capsys.readouterr().out
    assert train(*quick, "--out", run, "--resume") == 0
    assert "--resume" not in capsys.readouterr().out
    assert steps(run) == [1, 2, 3, 4]
    # What it goes on from has the same bytes as that of a run which nobody stopped.
    straight = tmp_path / "straight"
    assert train(*quick, "--out", straight) == 0
    for name in ("model.safetensors", "training.pt"):
        of_both = [one / "checkpoints/step_00000004" / name for one in (run, straight)]
        assert of_both[0].read_bytes() == of_both[1].read_bytes(), name


def test_a_torn_checkpoint_does_not_outlive_later_ones(tmp_path: Path) -> None:
    import torch

    def save(step: int) -> None:
        weights = {"w": torch.full((3,), float(step))}
        save_checkpoint(tmp_path, step, weights=weights, training={}, config={}, keep=1)

    save(2)
    (tmp_path / "step_00000009").mkdir()
    save(4)
    assert newest_checkpoint(tmp_path) == (tmp_path / "step_00000004", [])
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000004"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_ends_when_its_launcher_does(
    quick: tuple[str, ...], tmp_path: Path, number: signal.Signals
) -> None:
    words = [*quick, "--steps=100000", "--save-every=100000", f"--out={tmp_path / 'run'}"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "-m", "smile_train"]
    with (tmp_path / "said").open("w") as said:
        launcher = subprocess.Popen([*launch, *words], stderr=said, stdout=said)
    log = tmp_path / "run/log.jsonl"
    while not log.exists():
        assert launcher.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.05)
    (trainer,) = children(launcher.pid)
    os.kill(launcher.pid, number)
    launcher.wait()
    until = time.monotonic() + 60
    while Path(f"/proc/{trainer}").exists() and is_alive(trainer):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "stopped after a checkpoint" in (tmp_path / "said").read_text()
    kept, _ = newest_checkpoint(tmp_path / "run/checkpoints")
    assert kept is not None
    assert int(kept.name.removeprefix("step_")) == steps(tmp_path / "run")[-1]


def children(process: int) -> list[int]:
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdecimal() and parent(int(path.name)) == process
    ]


def parent(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Faulty(Dataset[int]):
    """Samples that cannot be made, each for another reason."""

    def __getitem__(self, number: int) -> int:
        match number:
            case 0:
                raise InputError("videos/a.mp4: no frame in it; remove it from the list")
            case 1:
                raise OSError(5, "Input/output error", "videos/b.mp4")
            case 2:
                os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a fault of the program")


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (0, InputError, r"^videos/a\.mp4: no frame in it; remove it from the list$"),
        (1, InputError, r"^\[Errno 5\] Input/output error: 'videos/b\.mp4'$"),
        (2, InputError, "^a worker process died, perhaps for want of memory"),
        (3, AssertionError, "Original Traceback"),
    ],
)
def test_an_error_of_a_worker_is_its_own_line(
    number: int, kind: type[Exception], said: str
) -> None:
    batches = iter(DataLoader(Faulty(), sampler=[number], batch_size=None, num_workers=1))
    with pytest.raises(kind, match=said), worker_errors_in_one_line():
        next(batches)
    batches._shutdown_workers()  # Garbage collection would wait for it, five seconds and more.
