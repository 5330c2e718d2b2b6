"""Fine-tuning as a user runs it: on real videos, in real processes."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import read_run_config
from smile_train.checkpoints.open import open_backbone
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import NOTES, PRESETS, changed_options, without_mixing
from smile_train.evaluation.results import Results
from smile_train.models.config import STUDENTS
from smile_train.training.optim import layer_scales, parameter_groups
from smile_train.training.stop import EXIT_REQUEUE
from support import forked

QUICK = [
    *("--batch=8", "--stride=1", "--workers=0", "--precision=fp32", "--track=none"),
    *("--mixup=0", "--cutmix=0", "--log-every=1", "--segments=1", "--crops=1"),
]


def finetune(*arguments: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["finetune", *map(str, arguments)])


@pytest.mark.slow
def test_a_separable_task_is_learned(checkpoint: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert finetune(
        checkpoint, "--data", scenes, "--out", out, *QUICK, "--epochs=12", "--base-lr=3e-2",
        "--ema=0.7",
    ) == 0  # fmt: skip
    results = Results.read(out)
    assert results.metrics["top1"] == 100
    assert results.metrics["mean_class_top1"] == 100
    assert results.samples == 12
    assert results.checkpoint["source"] == str(checkpoint)
    assert len(results.checkpoint["sha256"]) == 64
    assert results.pretraining["target"] == "pixel"
    assert results.versions["torch"] == torch.__version__.split("+")[0]
    assert any("epochs 12" in line for line in results.ours)
    scores = np.load(out / "predictions.npz")
    assert len(set(scores["keys"].tolist())) == 12
    classes = json.loads((out / "classes.json").read_text())
    assert classes["classes"] == ["bigbuckbunny", "bikes"]
    assert classes["samples"] == [6, 6]
    assert classes["top1"] == classes["top5"] == [100, 100]
    assert (out / "confusion.png").stat().st_size > 1000
    for name in ("best", "last"):
        assert read_run_config(out / name / "config.json")["model"] == "classifier"


@pytest.mark.slow
def test_training_from_scratch_starts_from_random_weights_of_the_seed(
    scenes: Path, tmp_path: Path
) -> None:
    small = ["--from-scratch=tiny", "--size=32", "--patch=16", "--frames=4", "--layer-decay=1"]
    started = []
    for number, seed in enumerate((5, 5, 6)):
        out = tmp_path / f"run-{number}"
        assert finetune(
            "--data", scenes, "--out", out, *QUICK, *small, "--epochs=1", f"--seed={seed}",
        ) == 0  # fmt: skip
        results = Results.read(out)
        assert results.checkpoint["source"] == "tiny from scratch"
        assert results.pretraining == {"untrained": "tiny"}
        started.append(results.checkpoint["sha256"])
    assert started[0] == started[1] != started[2]
    described = read_run_config(tmp_path / "run-0" / "last" / "config.json")
    assert described["grid"] == {"frames": 4, "height": 32, "width": 32, "tubelet": 2, "patch": 16}
    assert open_backbone(tmp_path / "run-0" / "last").config == STUDENTS["tiny"]


@pytest.mark.slow
def test_shuffled_labels_give_chance(checkpoint: Path, scenes: Path, tmp_path: Path) -> None:
    """Labels that say nothing of the videos: what is reached on others is chance."""
    rng = np.random.default_rng(0)
    root = tmp_path / "shuffled"
    root.mkdir()
    for split in ("train", "validation"):
        clips = sorted((scenes / split).rglob("*.mp4"))
        labels = rng.permutation(np.arange(len(clips)) % 2)
        lines = [f"{clip} {label}" for clip, label in zip(clips, labels, strict=True)]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    out = tmp_path / "run"
    assert finetune(
        checkpoint, "--dataset=list", "--data", root, "--out", out, *QUICK,
        "--epochs=6", "--base-lr=1e-2",
    ) == 0  # fmt: skip
    # Of 12 samples by a fair coin, 2 to 10 are right in 99.4 % of cases.
    assert 2 <= Results.read(out).metrics["last_top1"] * 12 / 100 <= 10


@pytest.mark.slow
def test_a_killed_run_continues_as_if_nothing_had_happened(
    checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    options = [*QUICK, "--epochs=4", "--base-lr=1e-2", "--save-every=2", "--mixup=0.8"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finetune(checkpoint, "--data", scenes, "--out", whole, *options) == 0
    command = ["finetune", checkpoint, "--data", scenes, "--out", killed, *options]
    process = forked.start("smile_train", command)
    deadline = time.monotonic() + 120
    while not any(killed.glob("checkpoints/step_*/manifest.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (killed / "results.json").exists()
    assert forked.start("smile_train", [*command, "--resume"]).wait() == 0
    for name in ("best", "last"):
        expected = load_file(whole / name / "model.safetensors")
        found = load_file(killed / name / "model.safetensors")
        assert all(np.array_equal(expected[key], found[key]) for key in expected)
    assert Results.read(whole).metrics == Results.read(killed).metrics


@pytest.mark.slow
def test_two_processes_learn_and_count_as_one_does(
    checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    options = [*QUICK, "--epochs=2", "--base-lr=1e-3", "--drop-path=0", "--allow-missing"]
    short = tmp_path / "data"  # Of an odd number of test samples, one process has one more.
    shutil.copytree(scenes, short)
    (short / "validation/bikes/12.mp4").unlink()
    # The second sample: of two processes, the one that writes no results reads it.
    (short / "validation/bigbuckbunny/13.mp4").write_bytes(b"no video")
    for processes, out in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        command = ["finetune", checkpoint, "--data", short, "--out", out, *options]
        together = forked.start_together("smile_train", command, processes=processes)
        said = [process.communicate()[1] for process in together]
        assert {process.wait() for process in together} == {0}, said
        assert f"{processes} x CPU{' (DDP)' if processes == 2 else ''}" in said[0]
        assert Results.read(out).partial
    one, two = (np.load(tmp_path / name / "predictions.npz") for name in ("one", "two"))
    assert len(one["keys"]) == 10
    assert (one["keys"] == two["keys"]).all()
    assert np.abs(one["scores"] - two["scores"]).max() < 1e-4
    first, second = (
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").open()]
        for name in ("one", "two")
    )
    assert first == pytest.approx(second, rel=1e-4)


@pytest.mark.slow
def test_a_head_of_other_classes_is_refused_or_replaced(
    checkpoint: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first"
    options = [*QUICK, "--epochs=1"]
    assert finetune(checkpoint, "--data", scenes, "--out", first, *options) == 0
    renamed = tmp_path / "renamed"
    shutil.copytree(scenes, renamed)
    for split in ("train", "validation"):
        (renamed / split / "bikes").rename(renamed / split / "cyclists")
    out = tmp_path / "second"
    assert finetune(first, "--data", renamed, "--out", out, *options) == 2
    error = capsys.readouterr().err
    assert "(class 1 is 'bikes' there, 'cyclists' here)" in error
    assert "--reset-head" in error
    three = tmp_path / "three"
    shutil.copytree(scenes, three)
    for split in ("train", "validation"):
        shutil.copytree(three / split / "bikes", three / split / "cyclists")
    assert finetune(first, "--data", three, "--out", out, *options) == 2
    error = capsys.readouterr().err
    assert "its head knows 2 classes, the data set has 3" in error
    assert "--reset-head" in error
    assert not out.exists()
    assert finetune(first, "--data", three, "--out", out, *options, "--reset-head") == 0


def test_broken_videos_are_replaced_in_training_and_named_in_tests(
    checkpoint: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(scenes, root)
    (root / "train/bikes/03.mp4").write_bytes(b"no video")
    (root / "validation/bikes/12.mp4").write_bytes(b"no video")
    options = [*QUICK, "--epochs=1", "--data", root]
    assert finetune(checkpoint, "--out", tmp_path / "a", *options) == 2
    assert "12.mp4: not a readable video" in capsys.readouterr().err
    assert finetune(checkpoint, "--out", tmp_path / "b", *options, "--allow-missing") == 0
    results = Results.read(tmp_path / "b")
    assert results.samples == 11
    assert results.partial


def test_a_run_stops_where_it_is_told_and_goes_on_without_broken_videos(
    checkpoint: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(scenes, root)
    (root / "validation/bikes/12.mp4").write_bytes(b"no video")
    options = [checkpoint, "--data", root, "--out", out, *QUICK, "--epochs=1"]
    with pytest.raises(SystemExit) as left:
        finetune(*options, "--stop-at=2")
    assert left.value.code == EXIT_REQUEUE
    assert f"continue with --resume --out {out}" in capsys.readouterr().err
    assert not (out / "results.json").exists()
    assert finetune(*options, "--resume") == 2
    assert "--allow-missing" in capsys.readouterr().err
    assert finetune(*options, "--resume", "--allow-missing") == 0
    assert Results.read(out).samples == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch=7"], "odd share"),
        (["--preset=nothing"], "unknown; choose from smile-ssv2"),
        (["--erasing=2"], "--erasing is 2.0; give 0 to 1"),
        (["--stride=0"], "--stride is 0; give 1 or more"),
        (["--mixup=-1"], "--mixup is -1.0; give 0 or more"),
        (["--rand-augment=rand-m7-x9"], "--rand-augment rand-m7-x9: not understood"),
        (["--rand-augment=rand-seven"], "--rand-augment rand-seven: not understood"),
        (["--from-scratch=tiny"], "start from one of them; leave the other out"),
        (["--patch=8"], "--patch"),
        (["--data=/nowhere"], "no train split in it"),
    ],
)
def test_what_cannot_be_done_is_refused(
    checkpoint: Path,
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    out = tmp_path / "run"
    assert finetune(checkpoint, "--data", scenes, "--out", out, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_presets_have_the_tabulated_values() -> None:
    expected = {  # batch, lr, layer decay, epochs, repeats, segments x crops
        "smile-ssv2": (32, 1e-3, 0.70, 40, 1, 2, 3),
        "smile-k400": (16, 1e-3, 0.75, 100, 1, 7, 3),
        "videomae-ssv2": (512, 5e-4, 0.75, 50, 1, 2, 3),
        "videomae-k400": (512, 1e-3, 0.75, 100, 1, 5, 3),
        "videomae-ucf101": (128, 5e-4, 0.70, 100, 2, 5, 3),
    }
    for name, values in expected.items():
        preset = PRESETS[name]
        assert values == (
            *(preset.batch, preset.base_lr, preset.layer_decay, preset.epochs),
            *(preset.repeats, preset.segments, preset.crops),
        )
        assert changed_options(preset) == ()
    assert PRESETS["videomae-ucf101"].head_dropout == 0.5
    assert changed_options(PRESETS["gym"]) == (NOTES["gym"],)
    assert changed_options(FinetuneConfig()) == ("no preset",)


def test_what_several_labels_have_no_use_for_is_off_or_refused() -> None:
    config = PRESETS["own"]
    assert without_mixing(config, "single-label") == config
    off = without_mixing(config, "multi-label")
    assert off.mixup == off.cutmix == off.label_smoothing == 0
    assert {"mixup 0.0", "cutmix 0.0", "label_smoothing 0.0"} < set(changed_options(off))
    for task, changed in (
        ("count", replace(config, mixup=0.5)),
        ("multi-label", replace(config, label_smoothing=0.2)),
        ("single-label", replace(PRESETS["attentive-probe"], cutmix=1.0)),
    ):
        with pytest.raises(InputError, match="labels are mixed and smoothed in fine-tuning"):
            without_mixing(changed, task)


def test_weight_decay_and_rates_of_a_classifier() -> None:
    from smile_train.models.heads import Classifier

    model = Classifier(STUDENTS["tiny"], TokenGrid(frames=4, height=32, width=32), 5)
    groups = parameter_groups(model, 0.05, layer_scales(model, 4, 0.75))
    scales = sorted({group["lr_scale"] for group in groups})
    assert scales == pytest.approx([0.75**power for power in range(5, -1, -1)])
