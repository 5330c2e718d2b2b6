"""Figures of classes: gains between two runs, confusion."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from smile_motion.cli.app import run_app
from smile_train.__main__ import COMMANDS
from smile_train.datasets.base import LabeledVideo, LabeledVideos
from smile_train.evaluation.figures.confusion import draw_confusion
from smile_train.evaluation.figures.gains import ClassScores, class_gains
from smile_train.evaluation.metrics import classification_metrics, confusion
from smile_train.evaluation.predict import Predictions, write_evaluation
from smile_train.evaluation.results import Results


def evaluate(*words: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["evaluate", *map(str, words)])


def write_run(folder: Path, quality: float, seed: int, *, classes: int = 12) -> Path:
    """Results of a classifier that errs at random, as an evaluation writes them."""
    rng = np.random.default_rng(seed)
    targets = np.arange(10 * classes) % classes
    scores = rng.normal(size=(len(targets), classes)).astype(np.float32)
    scores[np.arange(len(targets)), targets] += quality
    videos = LabeledVideos(
        name="mine",
        split="validation",
        videos=tuple(
            LabeledVideo(key=str(n), path=Path(f"{n}.mp4"), target=int(target))
            for n, target in enumerate(targets)
        ),
        classes=tuple(f"Moving something {n}" for n in range(classes)),
    )
    metrics = classification_metrics(scores, targets)
    results = Results(
        protocol="finetune",
        dataset="mine",
        split="validation",
        samples=len(targets),
        metrics=metrics,
        main_metric="top1",
        checkpoint={"source": str(folder), "sha256": "0" * 64},
        dataset_sha256={"validation": videos.sha256},
    )
    keys = tuple(video.key for video in videos.videos)
    predictions = Predictions(keys=keys, scores=scores, targets=targets, broken=())
    write_evaluation(folder, results, predictions, videos)
    return folder


def test_gains_are_antisymmetric_and_sum_to_the_difference(tmp_path: Path) -> None:
    runs = [ClassScores.read(write_run(tmp_path / n, q, k)) for k, (n, q) in enumerate(
        [("a", 1.0), ("b", 2.0)]
    )]  # fmt: skip
    there, back = class_gains(*runs), class_gains(*runs[::-1])
    assert {g.name: g.gain for g in there} == {g.name: -g.gain for g in back}
    assert {g.gain for g in class_gains(runs[0], runs[0])} == {0.0}
    assert [g.gain for g in there] == sorted((g.gain for g in there), reverse=True)
    before, after = (run.results.metrics["mean_class_top1"] for run in runs)
    assert np.mean([g.gain for g in there]) == pytest.approx(after - before)


def test_gains_are_drawn_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write_run(tmp_path / "a", 1, 0), write_run(tmp_path / "b", 2, 1)
    assert evaluate("gains", first, second, "--out", tmp_path / "out", "--count=3") == 0
    content = json.loads((tmp_path / "out/gains.json").read_text())
    assert len(content["classes"]) == 12
    assert content["gained"] + content["lost"] + content["equal"] == 12
    assert "b over a:" in capsys.readouterr().out
    with Image.open(tmp_path / "out/gains.png") as picture:
        assert picture.width > 800
    other = write_run(tmp_path / "c", 2, 1, classes=5)
    assert evaluate("gains", first, other, "--out", tmp_path / "out") == 2
    assert "compare runs on one data set" in capsys.readouterr().err
    (other / "classes.json").unlink()
    assert evaluate("gains", first, other, "--out", tmp_path / "out") == 2
    assert "no scores by class" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [2, 12, 174, 400])
def test_confusion_is_drawn_for_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(4 * classes) % classes
    scores = rng.normal(size=(len(targets), classes))
    scores[np.arange(len(targets)), (targets + (targets == 0)) % classes] += 20
    counts = confusion(scores, targets)
    names = [f"Pretending to put something behind something {n}" for n in range(classes)]
    draw_confusion(counts, names, tmp_path / "confusion.png")
    listed = json.loads((tmp_path / "confusion.json").read_text())
    assert listed == [{"true": names[0], "predicted": names[1], "samples": 4, "share": 1.0}]
    with Image.open(tmp_path / "confusion.png") as picture:
        assert max(picture.size) < 2000
