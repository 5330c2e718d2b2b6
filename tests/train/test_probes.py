"""Probes of frozen encoders on real videos."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.encoder import load
from smile_train.evaluate.results import Results
from smile_train.model import STUDENTS
from smile_train.model.attentive import AttentiveProbes
from smile_train.probe.linear import hold_out, score_views, train_linear
from smile_train.probe.neighbours import neighbour_votes

CPU = torch.device("cpu")


def probe(kind: str, *arguments: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["probe", kind, *map(str, arguments)])


@pytest.mark.parametrize("kind", ["strict", "knn"])
def test_cached_probes_tell_scenes_apart_and_encode_once(
    checkpoint: Path, scenes: Path, tmp_path: Path, kind: str
) -> None:
    options = [
        *("--data", scenes, "--stride=1", "--workers=0", "--precision=fp32"),
        *("--cache", tmp_path / "cache", "--segments=2", "--crops=1"),
    ]
    assert probe(kind, checkpoint, *options, "--out", tmp_path / "a") == 0
    results = Results.read(tmp_path / "a")
    assert results.metrics["top1"] == 100
    assert results.samples == 12
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/*/part_*")}
    assert len(parts) == 2
    assert probe(kind, checkpoint, *options, "--out", tmp_path / "b") == 0
    assert parts == {p: p.stat().st_mtime_ns for p in tmp_path.glob("cache/*/part_*")}
    assert Results.read(tmp_path / "b").metrics == results.metrics
    grid = json.loads((tmp_path / "a/grid.json").read_text())
    assert grid["chosen"] in [entry.get("rate", entry.get("neighbours")) for entry in grid["grid"]]


def test_features_of_another_view_are_not_taken_for_these(
    checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    options = ["--data", scenes, "--workers=0", "--precision=fp32", "--cache", tmp_path / "cache"]
    assert probe("knn", checkpoint, *options, "--stride=1", "--out", tmp_path / "a") == 0
    assert probe("knn", checkpoint, *options, "--stride=2", "--out", tmp_path / "b") == 0
    assert len(list(tmp_path.glob("cache/*"))) == 4


def test_sigma_and_attentive_probes_leave_the_encoder_alone(
    checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    before = load_file(checkpoint / "checkpoints/step_00000001/model.safetensors")
    options = [
        *("--data", scenes, "--stride=1", "--workers=0", "--precision=fp32", "--batch=8"),
        *("--track=none", "--segments=1", "--crops=1"),
    ]
    sigma = ["--epochs=6", "--base-lr=1e-1"]
    assert probe("sigma", checkpoint, *options, *sigma, "--out", tmp_path / "s") == 0
    assert Results.read(tmp_path / "s").metrics["top1"] == 100
    after = load_file(tmp_path / "s/last/model.safetensors")
    kept = [name for name in after if name.startswith(("blocks.", "patch_embed."))]
    assert kept
    assert all(torch.equal(after[name], before[f"encoder.{name}"]) for name in kept)
    assert probe("attentive", checkpoint, *options, "--epochs=3", "--out", tmp_path / "a") == 0
    results = Results.read(tmp_path / "a")
    assert results.metrics["top1"] >= 90
    grid = json.loads((tmp_path / "a/grid.json").read_text())
    assert len({(entry["rate"], entry["weight_decay"]) for entry in grid["grid"]}) == 20
    assert results.metrics["top1"] == max(entry["top1"] for entry in grid["grid"])
    after = load_file(tmp_path / "a/last/model.safetensors")
    assert torch.equal(after["encoder.norm.weight"], before["encoder.norm.weight"])


def test_a_grid_of_heads_is_that_many_heads_alone() -> None:
    """None feels the others: the same weights as when trained by itself."""
    digits = load_digits()
    features, labels = digits.data.astype(np.float32)[:600], digits.target[:600]
    options = {"epochs": 3, "batch": 64, "weight_decay": 0.01, "seed": 1, "device": CPU}
    rates = (1e-3, 1e-2)
    both = train_linear(features, labels, 10, rates=rates, **options)
    for place, rate in enumerate(rates):
        alone = train_linear(features, labels, 10, rates=(rate,), **options)
        assert torch.allclose(both.weight[place], alone.weight[0], atol=1e-5)


def test_a_linear_probe_of_real_digits_does_what_it_should() -> None:
    digits = load_digits()
    features, labels = digits.data.astype(np.float32), digits.target.astype(np.int64)
    learn, test = hold_out(len(labels), 0)
    assert not set(learn) & set(test)
    heads = train_linear(
        features[learn], labels[learn], 10,
        rates=(1e-2,), epochs=30, batch=256, weight_decay=0.0, seed=0, device=CPU,
    )  # fmt: skip
    scores = score_views(heads, features[test][:, None], "single-label", CPU)[0]
    assert (scores.argmax(1) == labels[test]).mean() > 0.94
    assert scores.sum(1) == pytest.approx(1, abs=1e-5)
    shuffled = np.random.default_rng(0).permutation(labels[learn])
    heads = train_linear(
        features[learn], shuffled, 10,
        rates=(1e-2,), epochs=30, batch=256, weight_decay=0.0, seed=0, device=CPU,
    )  # fmt: skip
    scores = score_views(heads, features[test][:, None], "single-label", CPU)[0]
    assert (scores.argmax(1) == labels[test]).mean() < 0.25


def test_neighbours_of_real_digits() -> None:
    digits = load_digits()
    features = torch.from_numpy(digits.data).float()
    labels = torch.from_numpy(digits.target).long()
    votes = neighbour_votes(
        features[:1500], labels[:1500], features[1500:], neighbours=5, classes=10
    )
    assert float((votes.argmax(1) == labels[1500:]).float().mean()) > 0.93
    # Each sample is its own nearest neighbour, unless it is left out.
    own = neighbour_votes(features, labels, None, neighbours=1, classes=10).argmax(1) == labels
    kept = neighbour_votes(features, labels, features, neighbours=1, classes=10).argmax(1) == labels
    assert bool(kept.all())
    assert 0.97 < float(own.float().mean()) < 1


def test_attentive_heads_read_where_tokens_are_not_only_what_they_are() -> None:
    torch.manual_seed(0)
    grid = TokenGrid(frames=4, height=32, width=32)
    model = AttentiveProbes(STUDENTS["tiny"], grid, 3, 2).eval()
    frames = torch.rand(2, 4, 32, 32, 3)
    with torch.no_grad():
        scores = model(frames)
    assert scores.shape == (2, 2, 3)
    learning = model(frames)
    assert torch.allclose(scores, learning, atol=1e-5)
    learning[:, 0].sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.probes[1].parameters())


def test_few_samples_of_each_class(
    checkpoint: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", scenes, "--stride=1", "--workers=0", "--precision=fp32"]
    options += ["--cache", tmp_path / "cache"]
    assert probe("knn", checkpoint, *options, "--few=2", "--out", tmp_path / "a") == 0
    features = json.loads(next(tmp_path.glob("cache/data-train*/features.json")).read_text())
    assert features["samples_sha256"] == Results.read(tmp_path / "a").dataset_sha256["train"]
    assert Results.read(tmp_path / "a").partial
    assert probe("knn", checkpoint, *options, "--few=0", "--out", tmp_path / "b") == 2
    assert "--few is 0" in capsys.readouterr().err


def test_nothing_is_probed_without_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe("strict", "--data=/nowhere") == 2
    assert "no checkpoint" in capsys.readouterr().err
    with pytest.raises(InputError, match="no such run"):
        load("/nowhere/at/all")
