"""Motion probes of a student while it learns."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_train.__main__ import COMMANDS


@pytest.fixture(scope="module")
def asked_run(bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run of two steps that was asked about motion after each, and its options."""
    out = tmp_path_factory.mktemp("asked") / "run"
    options = [
        *("--preset=tiny", "--steps=2", "--batch=4", "--size=32", "--patch=16", "--frames=4"),
        *("--bank", str(bank.path), "--workers=0", "--track=none", "--precision=fp32"),
        *("--probe-motion-every=1", "--probe-motion-clips=80", "--out", str(out)),
    ]
    assert run_app("smile_train", "", COMMANDS, ["pretrain", *options]) == 0
    return out, options


def measured(run: Path) -> list[dict[str, float]]:
    lines = (run / "measures.jsonl").read_text().splitlines()
    return [entry for line in lines if "growth_accuracy" in (entry := json.loads(line))]


@pytest.mark.slow
def test_a_run_asks_its_student_and_ends_by_saying_so(
    asked_run: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, options = asked_run
    asked = measured(run)
    assert [entry["step"] for entry in asked] == [1, 2]
    assert [len(entry) for entry in asked] == [3, 5]
    assert all(0 <= value <= 100 for entry in asked for name, value in entry.items())
    assert run_app("smile_train", "", COMMANDS, ["pretrain", *options, "--resume"]) == 0
    assert measured(run) == asked
    last = asked[-1]
    assert (
        f"growth or shrinkage: {last['growth_accuracy']:.0f} % (untrained "
        f"{last['growth_accuracy_untrained']:.0f} %, guessing 50 %); direction of travel: "
        f"{last['direction_accuracy']:.0f} % (untrained "
        f"{last['direction_accuracy_untrained']:.0f} %, guessing 12.5 %)"
    ) in capsys.readouterr().out


@pytest.mark.slow
def test_asking_does_not_change_what_is_learned(
    asked_run: tuple[Path, list[str]], tmp_path: Path
) -> None:
    run, options = asked_run
    own = [option for option in options[:-2] if not option.startswith("--probe")]
    silent = [*own, "--probe-motion-every=0", "--stop-at=2", "--out", str(tmp_path / "run")]
    assert run_app("smile_train", "", COMMANDS, ["pretrain", *silent]) == 0
    first, second = (
        load_file(folder / "checkpoints/step_00000002/model.safetensors")
        for folder in (run, tmp_path / "run")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
