from pathlib import Path

import pytest
import torch
from smile_motion.errors import InputError
from smile_train.checkpoints.files import load_checkpoint, newest_checkpoint, save_checkpoint


def save(folder: Path, step: int, keep: int = 3) -> Path:
    return save_checkpoint(
        folder,
        step,
        weights={"w": torch.full((4, 4), float(step))},
        training={"step": step, "optimiser": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        config={"student": "tiny"},
        keep=keep,
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    weights, training, config = load_checkpoint(save(tmp_path, 12))
    assert (weights["w"] == 12).all()
    assert training["step"] == 12
    assert (training["optimiser"]["state"][0]["exp_avg"] == 1).all()
    assert config == {"student": "tiny"}
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000012"]


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100, 1000):
        save(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000100", "step_00001000"]


@pytest.mark.parametrize(
    "harm", ["truncated weights", "no manifest", "flipped bit", "half-written"]
)
def test_a_torn_checkpoint_is_passed_over_with_a_line(tmp_path: Path, harm: str) -> None:
    good, torn = save(tmp_path, 1), save(tmp_path, 2)
    weights = torn / "model.safetensors"
    match harm:
        case "truncated weights":
            weights.write_bytes(weights.read_bytes()[:-7])
        case "no manifest":
            (torn / "manifest.json").unlink()
        case "flipped bit":
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(data)
        case "half-written":
            torn.rename(tmp_path / ".step_00000002.99.tmp")
    newest, passed = newest_checkpoint(tmp_path)
    assert newest == good
    assert len(passed) == (0 if harm == "half-written" else 1)
    if passed:
        assert "step_00000002" in passed[0]
        with pytest.raises(InputError, match="step_00000002"):
            load_checkpoint(torn)


def test_nothing_to_find(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") == (None, [])
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(tmp_path)
