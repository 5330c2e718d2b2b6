"""How long runs are: as asked for, as the machine allows, and as they began."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from smile_motion.bank import ObjectBank, open_bank
from smile_motion.errors import InputError
from smile_train.checkpoints.files import read_run_config
from smile_train.cli.pretrain import defaults
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.pretrain_presets import PRESETS
from smile_train.training import length
from smile_train.training.metrics_logger import MetricsLogger, spoken_time
from smile_train.training.pretrain import pretrain


def small(bank: ObjectBank, **more: object) -> PretrainConfig:
    quick = {"patch": 16, "frames": 4, "batch": 2, "workers": 0, "track": "none"}
    quick |= {"samples": 256, "epochs": 4000, "probe_motion_every": None}
    return replace(PRESETS["tiny"], bank=bank.path, **quick | more)  # type: ignore[arg-type]


def test_steps_that_do_not_fit_are_left_out_and_a_resumed_run_keeps_them(
    small_bank: ObjectBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(length, "TRIAL_S", 0.05)
    monkeypatch.setattr(length, "LEAST_STEPS", 20)
    config = small(small_bank, minutes=0.0001, precision="fp32")  # 512,000 steps by its epochs
    pretrain(replace(config, stop_at=1), tmp_path / "run")
    said = capsys.readouterr().err
    assert re.search(r"20 steps instead of 512000, which would take .* --steps or --epochs", said)
    stored = read_run_config(tmp_path / "run/config.json")
    assert (stored["steps"], stored["steps_total"]) == (20, 20)
    # The other machine has time for more.
    pretrain(replace(config, minutes=1e6, resume=True), tmp_path / "run")
    assert (tmp_path / "run/checkpoints/step_00000020").is_dir()
    rates = [json.loads(line)["lr"] for line in (tmp_path / "run/log.jsonl").open()]
    assert rates[-1] < 0.03 * config.base_lr * config.batch / 256  # the whole schedule
    with pytest.raises(InputError, match="steps 20 there, 30 asked for"):
        pretrain(replace(config, steps=30, minutes=None, resume=True), tmp_path / "run")


def test_where_there_is_time_all_steps_are_made(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial leaves weights and random numbers of the run as they are."""
    monkeypatch.setattr(length, "TRIAL_S", 0.05)
    config = small(small_bank, epochs=1, samples=6, precision="fp32", log_every=1)
    for name, minutes in (("bounded", 60.0), ("free", None)):
        pretrain(replace(config, minutes=minutes), tmp_path / name)
    logs = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").open()]
        for name in ("bounded", "free")
    ]
    assert len(logs[0]) == 3
    assert logs[0] == logs[1]
    assert read_run_config(tmp_path / "bounded/config.json")["steps"] is None


@pytest.mark.parametrize(
    ("times", "chosen", "said"),
    [
        ({4: 20, 2: 40, 1: 5}, 4, ""),
        ({4: 40, 2: 10, 1: 30}, 2, "2 threads instead: a step takes "),
        ({4: 60, 2: 30, 1: 5}, 1, "1 thread instead: a step takes "),
    ],
)
def test_fewer_threads_are_taken_where_they_are_faster(
    times: dict[int, float], chosen: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(length, "THREADS_TRIAL_S", 0.05)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        threads, line = length.fit_threads(
            lambda: time.sleep(times[torch.get_num_threads()] / 1000), 4
        )
        assert (threads, torch.get_num_threads()) == (chosen, chosen)
    finally:
        torch.set_num_threads(before)
    assert line.startswith(said)
    assert bool(line) == bool(said)


def test_threads_are_not_tried_by_long_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "LONG_STEP_S", 0.01)
    made = []
    assert length.fit_threads(lambda: made.append(time.sleep(0.02)), 4) == (4, "")
    assert len(made) == 2


@pytest.mark.parametrize("words", [["--steps", "9"], ["--epochs=2"]])
def test_a_length_that_is_asked_for_is_kept(words: list[str]) -> None:
    assert defaults(["--preset=tiny", *words]).minutes is None
    assert defaults(["--preset=tiny"]).minutes == PRESETS["tiny"].minutes > 0  # type: ignore[operator]


def test_a_run_says_early_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 101.0, 102.0, 105.0, 106.0])
    report = MetricsLogger(tmp_path, 1000, batch=16)
    monkeypatch.setattr(
        "smile_train.training.metrics_logger.time.perf_counter", lambda: next(clock)
    )
    for step in range(1, 6):
        report.advance(step)
    said = capsys.readouterr().err
    assert said.count("to go") == 1
    # Three steps in five seconds since the first.
    assert "about 27 min 40 s to go: 996 steps at 9.6 clips/s" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (59.4, "59 s"), (163, "2 min 40 s"), (180, "3 min"), (3600, "1 h"),
     (18_600, "5 h 10 min"), (273_600, "3 d 4 h")],
)  # fmt: skip
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert spoken_time(seconds) == said


def test_minutes_must_be_some() -> None:
    with pytest.raises(InputError, match="--minutes is 0; give more than 0"):
        PretrainConfig(minutes=0)


@pytest.mark.slow
def test_a_run_over_several_banks_goes_on_with_them_alone(
    small_bank: ObjectBank, white_bank: ObjectBank, tmp_path: Path
) -> None:
    several = (small_bank.path, white_bank.path)
    config = replace(small(small_bank, steps=2, precision="fp32"), bank=several)
    pretrain(replace(config, stop_at=1), tmp_path / "run")
    stored = read_run_config(tmp_path / "run/config.json")
    assert stored["bank"] == [str(path) for path in several]
    assert stored["bank_sha256"] == open_bank(*several).card["metadata_sha256"]
    resumed = replace(config, resume=True)
    with pytest.raises(InputError, match=r"bank \['.* there, .*; the bank's objects have changed"):
        pretrain(replace(resumed, bank=several[::-1]), tmp_path / "run")
    pretrain(resumed, tmp_path / "run")
    assert (tmp_path / "run/checkpoints/step_00000002").is_dir()
