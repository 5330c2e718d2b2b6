"""Curves of runs that were killed after their last checkpoint, and went on."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_train.__main__ import COMMANDS

pytestmark = pytest.mark.slow


def train_twice(bank: ObjectBank, track: str) -> None:
    """Train for four steps, lose the last checkpoint, and go on from the second."""
    words = (
        *("pretrain", "--preset=tiny", "--patch=16", "--frames=4", "--batch=4", "--workers=0"),
        *("--precision=fp32", "--log-every=1", "--save-every=2", "--steps=4", "--cpu-threads=1"),
        *(f"--bank={bank.path}", f"--track={track}", "--out=run"),
    )
    assert run_app("smile_train", "", COMMANDS, words) == 0
    shutil.rmtree("run/checkpoints/step_00000004")
    assert run_app("smile_train", "", COMMANDS, [*words, "--resume"]) == 0


def test_tensorboard_has_each_step_once(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    train_twice(small_bank, "tensorboard")
    curves = EventAccumulator("run/tensorboard")
    curves.Reload()
    assert [point.step for point in curves.Scalars("loss")] == [1, 2, 3, 4]


def test_weights_and_biases_knows_the_run_again(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_twice(small_bank, "wandb")
    known = Path("run/wandb_id").read_text()
    begun = [path for path in Path("run/wandb").iterdir() if path.name.startswith("offline-run-")]
    assert [path.name.endswith(f"-{known}") for path in begun] == [True, True]


def test_trackio_goes_on_with_the_run(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    train_twice(small_bank, "trackio")
    with closing(sqlite3.connect(next(tmp_path.glob("trackio/*.db")))) as curves:
        points = curves.execute("SELECT DISTINCT run_id, run_name, step FROM metrics").fetchall()
    assert len({run_id for run_id, _, _ in points}) == 1
    assert sorted(point[1:] for point in points) == [("run", step) for step in (1, 2, 3, 4)]
