"""Probes of frozen encoders on real videos."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.published import save_official
from smile_train.cli.finetune import name_of
from smile_train.config.probe import StrictProbeConfig
from smile_train.encoders.video_encoder import VideoEncoder, hash_settings, load
from smile_train.evaluation.metrics import neighbor_votes
from smile_train.evaluation.results import Results
from smile_train.models.config import STUDENTS
from smile_train.models.heads import AttentiveProbes
from smile_train.models.mae import Encoder, PretrainModel
from smile_train.probes.linear import (
    held_out_loss,
    hold_out,
    score_views,
    train_linear,
)
from support.labeled import write_class_folders

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
    key = "neighbours" if kind == "knn" else "penalty"
    assert grid["chosen"] in [entry[key] for entry in grid["grid"]]


def test_random_weights_of_a_student_are_probed_like_a_checkpoint(
    scenes: Path, tmp_path: Path
) -> None:
    """The floor: what they give is named as such, the same for a seed and another for another."""
    options = [
        *("--from-scratch=tiny", "--frames=4", "--size=32", "--data", scenes, "--stride=1"),
        *("--workers=0", "--precision=fp32", "--cache", tmp_path / "cache"),
        *("--segments=1", "--crops=1"),
    ]
    hashes = []
    for name, more in (("a", []), ("b", []), ("c", ["--seed=1"])):
        assert probe("knn", *options, *more, "--out", tmp_path / name) == 0
        results = Results.read(tmp_path / name)
        assert results.checkpoint["source"] == "tiny from scratch"
        assert results.pretraining == {"untrained": "tiny"}
        hashes.append(results.checkpoint["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]
    assert probe("strict", *options, "--out", tmp_path / "d") == 0
    assert Results.read(tmp_path / "d").checkpoint["sha256"] == hashes[0]


def test_a_checkpoint_and_random_weights_are_not_probed_together(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe("knn", "x.pth", "--from-scratch=tiny", "--data", scenes) == 2
    assert "probe one of them; leave the other out" in capsys.readouterr().err
    assert probe("knn", "x.pth", "--frames=4", "--data", scenes) == 2
    assert "--frames has an effect only with --from-scratch" in capsys.readouterr().err


def test_features_of_another_view_are_not_taken_for_these(
    checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    options = ["--data", scenes, "--workers=0", "--precision=fp32", "--cache", tmp_path / "cache"]
    assert probe("knn", checkpoint, *options, "--stride=1", "--out", tmp_path / "a") == 0
    assert probe("knn", checkpoint, *options, "--stride=2", "--out", tmp_path / "b") == 0
    assert len(list(tmp_path.glob("cache/*"))) == 4


def test_features_of_other_settings_are_not_taken_for_these(
    scenes: Path, tmp_path: Path, tiny_clip: Path
) -> None:
    """What is no weight decides as well: heads, epsilons, the pixels' mean, positions."""
    torch.manual_seed(0)
    grid = TokenGrid(frames=4, height=64, width=64)
    model = PretrainModel(STUDENTS["tiny"], grid, 1536).eval()
    save_official(tmp_path / "model.pth", model, args={}, epoch=1)
    options = ["--data", scenes, "--stride=1", "--workers=0", "--cache", tmp_path / "cache"]
    for heads in (3, 6):
        out = tmp_path / f"heads-{heads}"
        arguments = [tmp_path / "model.pth", *options, f"--heads={heads}", "--out", out]
        assert probe("knn", *arguments) == 0
    assert len(list(tmp_path.glob("cache/data-train-*"))) == 2

    other = replace(STUDENTS["tiny"], epsilon=1e-5)
    longer = TokenGrid(frames=8, height=64, width=64)
    encoders = [
        VideoEncoder(model.encoder),
        VideoEncoder(Encoder(other, grid)),
        VideoEncoder(Encoder(STUDENTS["tiny"], grid, longer)),
        VideoEncoder(Encoder(STUDENTS["tiny"], grid)),
        load(f"clip:{tiny_clip}"),
        load(f"clip:{tiny_clip}"),
    ]
    encoders[-1].encoder.clip.mean = (0.5, 0.5, 0.5)
    first, epsilon, positions, same, clip, mean = map(hash_settings, encoders)
    assert len({first, epsilon, positions, clip, mean}) == 5
    assert first == same


@pytest.mark.slow
def test_features_of_videos_that_changed_are_read_again(
    checkpoint: Path, tmp_path: Path, real_videos: dict[str, Path]
) -> None:
    data = write_class_folders(tmp_path / "data", real_videos, train=3, test=1)
    options = ["--data", data, "--stride=1", "--workers=0", "--cache", tmp_path / "cache"]
    run = itertools.count()

    def extract(*more: str) -> tuple[int, dict[str, np.ndarray]]:
        code = probe("knn", checkpoint, *options, *more, "--out", tmp_path / f"{next(run)}")
        (part,) = tmp_path.glob("cache/data-train-*/part_00000.safetensors")
        return code, load_file(part)

    assert extract()[0] == 0
    clip = data / "train" / min(real_videos) / "00.mp4"
    sound = clip.read_bytes()
    clip.write_bytes(clip.with_name("01.mp4").read_bytes())
    _, changed = extract()
    assert np.array_equal(changed["features"][0], changed["features"][1])
    clip.write_bytes(sound[:100])
    assert extract()[0] == 2
    code, lacking = extract("--allow-missing")
    assert code == 0
    assert lacking["present"].tolist() == [False] + [True] * 5
    assert extract()[0] == 2, "what is missing is not passed over unless that is allowed"
    clip.write_bytes(sound)
    code, whole = extract()
    assert code == 0
    assert whole["present"].all()
    (part,) = tmp_path.glob("cache/data-train-*/part_00000.safetensors")
    part.write_bytes(part.read_bytes()[:-40])
    code, again = extract()
    assert code == 0
    assert np.array_equal(again["features"], whole["features"])


@pytest.mark.slow
def test_sigma_and_attentive_probes_leave_the_encoder_alone(
    checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    before = load_file(checkpoint / "checkpoints/step_00000001/model.safetensors")
    options = [
        *("--data", scenes, "--stride=1", "--workers=0", "--precision=fp32", "--batch=8"),
        *("--track=none", "--segments=1", "--crops=1"),
    ]
    sigma = ["--epochs=6", "--base-lr=3e-1"]
    assert probe("sigma", checkpoint, *options, *sigma, "--out", tmp_path / "s") == 0
    assert Results.read(tmp_path / "s").metrics["top1"] == 100
    after = load_file(tmp_path / "s/last/model.safetensors")
    kept = [name for name in after if name.startswith(("blocks.", "patch_embed."))]
    assert kept
    assert all(torch.equal(after[name], before[f"encoder.{name}"]) for name in kept)
    assert probe("attentive", checkpoint, *options, "--epochs=2", "--out", tmp_path / "a") == 0
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
    options = {"iterations": 20, "device": CPU}
    penalties = 1e-3, 1.0
    both = train_linear(features, labels, 10, penalties=penalties, **options)
    for place, penalty in enumerate(penalties):
        alone = train_linear(features, labels, 10, penalties=(penalty,), **options)
        assert torch.allclose(both.weight[place], alone.weight[0], atol=1e-5)


def test_a_linear_probe_of_real_digits_does_what_it_should() -> None:
    digits = load_digits()
    features, labels = digits.data.astype(np.float32), digits.target.astype(np.int64)
    learn, test = hold_out(labels, 0)
    assert sorted([*learn, *test]) == list(range(len(labels)))
    heads = train_linear(
        features[learn], labels[learn], 10,
        penalties=(1e-2,), iterations=100, device=CPU,
    )  # fmt: skip
    scores = score_views(heads, features[test][:, None], "single-label", CPU)[0]
    assert (scores.argmax(1) == labels[test]).mean() > 0.94
    assert scores.sum(1) == pytest.approx(1, abs=1e-5)
    shuffled = np.random.default_rng(0).permutation(labels[learn])
    heads = train_linear(
        features[learn], shuffled, 10,
        penalties=(1e-2,), iterations=100, device=CPU,
    )  # fmt: skip
    scores = score_views(heads, features[test][:, None], "single-label", CPU)[0]
    assert (scores.argmax(1) == labels[test]).mean() < 0.25


@given(
    counts=st.lists(st.integers(0, 40), min_size=2, max_size=12).filter(any),
    seed=st.integers(0, 99),
)
def test_held_out_samples_are_of_classes_that_are_learned(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    marks = np.eye(len(counts), dtype=np.float32)[labels]
    for targets in (labels, marks):
        learn, held = hold_out(targets, seed)
        assert sorted([*learn, *held]) == list(range(len(labels)))
        assert set(labels[learn]) == set(labels), "no class is held out whole"
        room = sum(max(count - 1, 0) for count in counts)
        assert len(held) == min(room, max(1, round(0.1 * len(labels))))
    shares = np.bincount(labels[hold_out(labels, seed)[1]], minlength=len(counts))
    assert all(share <= -(-count // 10) + 1 for share, count in zip(shares, counts, strict=True))


def test_the_penalty_of_a_strict_probe_is_chosen_by_what_it_can_be(
    checkpoint: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", scenes, "--stride=1", "--workers=0", "--precision=fp32"]
    options += ["--cache", tmp_path / "cache", "--segments=1", "--crops=1"]
    assert probe("strict", checkpoint, *options, "--few=1", "--out", tmp_path / "a") == 2
    assert "no class has two training samples" in capsys.readouterr().err
    one = [*options, "--few=1", "--penalties", "1e-2"]
    assert probe("strict", checkpoint, *one, "--out", tmp_path / "b") == 0
    assert json.loads((tmp_path / "b/grid.json").read_text()) == {
        "grid": [], "chosen": 1e-2, "held_out": 0,
    }  # fmt: skip
    penalties = ["--penalties", "1e-4", "1e-2", "100"]
    assert probe("strict", checkpoint, *options, *penalties, "--out", tmp_path / "c") == 0
    found = json.loads((tmp_path / "c/grid.json").read_text())
    assert {entry["top1"] for entry in found["grid"]} == {100}
    best = min(found["grid"], key=lambda entry: entry["loss"])
    assert found["chosen"] == best["penalty"] != 100


@pytest.mark.parametrize("samples", [60, 300])
def test_a_linear_probe_is_no_worse_than_logistic_regression(samples: int) -> None:
    digits = load_digits()
    order = np.random.default_rng(2).permutation(len(digits.target))
    features = digits.data.astype(np.float32)[order]
    labels = digits.target.astype(np.int64)[order]
    learn, test = slice(0, samples), slice(samples, None)
    config = StrictProbeConfig()
    own, held = hold_out(labels[learn], 0)

    options = {"penalties": config.penalties, "iterations": config.iterations, "device": CPU}
    tried = train_linear(features[own], labels[own], 10, **options)
    scores = score_views(tried, features[held][:, None], "single-label", CPU)
    reached = (scores.argmax(2) == labels[held]).mean(1)
    losses = [held_out_loss(own_scores, labels[held]) for own_scores in scores]
    best = max(range(len(reached)), key=lambda n: (reached[n], -losses[n]))
    heads = train_linear(features[learn], labels[learn], 10, **options)
    scores = score_views(heads, features[test][:, None], "single-label", CPU)[best]
    accuracy = (scores.argmax(1) == labels[test]).mean()
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    plain.fit(features[learn], labels[learn])
    assert accuracy > plain.score(features[test], labels[test]) - 0.015


@pytest.mark.parametrize("kind", ["strict", "knn"])
def test_features_are_pooled_over_clips_or_by_slices(
    checkpoint: Path, scenes: Path, tmp_path: Path, kind: str
) -> None:
    options = [
        *("--data", scenes, "--stride=1", "--workers=0", "--precision=fp32"),
        *("--cache", tmp_path / "cache", "--segments=1", "--crops=1"),
    ]
    found = {}
    for pooling in ("pooled", "slices"):
        out = tmp_path / pooling
        assert probe(kind, checkpoint, *options, f"--pooling={pooling}", "--out", out) == 0
        assert Results.read(out).metrics["top1"] == 100
        assert any("spread over it" in line for line in Results.read(out).ours)
        for part in tmp_path.glob("cache/*-validation-*/part_*"):
            values = load_file(part)["features"]
            found[values.shape[-1]] = values
    assert found.keys() == {128, 4 * 128}
    np.testing.assert_allclose(
        found[512].reshape(*found[128].shape[:2], 4, 128).mean(2), found[128], atol=1e-5
    )


def test_neighbors_of_real_digits() -> None:
    digits = load_digits()
    features = torch.from_numpy(digits.data).float()
    labels = torch.from_numpy(digits.target).long()
    votes = neighbor_votes(features[:1500], labels[:1500], features[1500:], neighbors=5, classes=10)
    assert float((votes.argmax(1) == labels[1500:]).float().mean()) > 0.93
    # Each sample is its own nearest neighbor, unless it is left out.
    own = neighbor_votes(features, labels, None, neighbors=1, classes=10).argmax(1) == labels
    kept = neighbor_votes(features, labels, features, neighbors=1, classes=10).argmax(1) == labels
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


def test_results_of_two_runs_never_share_a_folder(
    checkpoint: Path,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--data", scenes, "--stride=1", "--workers=0", "--segments=1", "--crops=1"]
    step = checkpoint / "checkpoints/step_00000001"
    assert probe("knn", step, *options) == 0
    assert Results.read(tmp_path / "runs/run-step_00000001-knn-folder").metrics["top1"] > 50
    assert probe("knn", step, *options) == 2
    assert "run-step_00000001-knn-folder: holds results" in capsys.readouterr().err
    for source, name in {
        "runs/a/stage-2/checkpoints/step_00000009": "a-stage-2-step_00000009",
        "runs/v1.5/best": "v1.5-best",
        "files/k400.vit-b.pth": "k400.vit-b",
        "me/model.v2": "model.v2",
        "clip:ViT-B-16": "clip:ViT-B-16",
    }.items():
        assert name_of(source) == name


def test_nothing_is_probed_without_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe("strict", "--data=/nowhere") == 2
    assert "no checkpoint" in capsys.readouterr().err
    with pytest.raises(InputError, match="no such run"):
        load("/nowhere/at/all")
