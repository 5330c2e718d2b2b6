"""Stages, mixtures, starts from checkpoints and early ends, as a user runs them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_train.checkpoints.files import read_run_config
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.pretrain_presets import NOTES, PRESETS
from smile_train.data.device_clips import open_clips
from smile_train.training.monitor import LINEAR
from smile_train.training.monitor_plots import draw_curves
from smile_train.training.pretrain import pretrain

SMALL = {
    "preset": "tiny",
    "student": "tiny",
    "size": 64,
    "patch": 16,
    "frames": 4,
    "target": "pixel",
    "batch": 4,
    "samples": 16,
    "warmup_epochs": 1,
    "workers": 0,
    "precision": "fp32",
    "log_every": 1,
    "track": "none",
}


def config(bank: ObjectBank, **changes: object) -> PretrainConfig:
    return PretrainConfig(**{**SMALL, "bank": bank.path, **changes})  # type: ignore[arg-type]


def history(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


@pytest.mark.slow
def test_the_second_stage_starts_from_the_firsts_weights_with_a_new_schedule(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    last = pretrain(config(small_bank, strategy="progressive", epochs=2), run)
    assert last == run / "stage-2/checkpoints/step_00000008"
    one, two = history(run / "stage-1"), history(run / "stage-2")
    assert [entry["lr"] for entry in one] == [entry["lr"] for entry in two]
    second = read_run_config(run / "stage-2/config.json")
    assert (second["objects"], second["masking"]) == (0, "tube")
    # The same by hand, as two runs.
    alone = config(
        small_bank, epochs=2, objects=0, masking="tube", init=run / "stage-1", picture_every=0
    )
    by_hand = weights(pretrain(alone, tmp_path / "alone"))
    for name, value in weights(last).items():
        assert (value == by_hand[name]).all(), name


@pytest.mark.slow
def test_a_progressive_run_that_ends_early_goes_on_in_the_stage_it_was_in(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    whole = {"strategy": "progressive", "epochs": 2}
    straight = weights(pretrain(config(small_bank, **whole), tmp_path / "straight"))
    run = tmp_path / "broken"
    stopped = pretrain(config(small_bank, stop_at=3, **whole), run)
    assert stopped == run / "stage-1/checkpoints/step_00000003"
    assert not (run / "stage-2").exists()
    resumed = weights(pretrain(config(small_bank, resume=True, **whole), run))
    for name, value in straight.items():
        assert (value == resumed[name]).all(), name
    rates = [entry["lr"] for entry in history(run / "stage-1")]
    assert rates == [entry["lr"] for entry in history(tmp_path / "straight/stage-1")]


def test_a_mixture_has_the_share_of_clips_with_objects(small_bank: ObjectBank) -> None:
    clips = open_clips(config(small_bank, strategy="mixed", mixed_share=0.3, samples=400))
    plain = [clips.maker_of(0, index) is not clips.maker for index in range(400)]
    assert np.mean(plain) == pytest.approx(0.7, abs=0.07)
    number = plain.index(True)
    maker = clips.maker_of(0, number)
    assert maker.plan(number).slots == 0
    # Without objects, a clip is masked in tubes.
    batch = clips.new_batch(400)
    clips.fill(list(range(400)), batch)
    grid = clips.config.grid
    hidden = torch.zeros(400, grid.tokens).scatter_(1, batch["masked"][:, 0], 1)
    tubes = (hidden.view(400, grid.slices, -1).std(1) == 0).all(1)
    located = [clips.order.locate(n) for n in range(400)]
    expected = [clips.maker_of(epoch, index) is not clips.maker for epoch, index in located]
    assert tubes[torch.tensor(expected)].all()
    assert not tubes[~torch.tensor(expected)].all()


@pytest.mark.parametrize("render", ["cpu", "device"])
def test_the_decoder_can_be_spared_tokens(
    render: str, small_bank: ObjectBank, tmp_path: Path
) -> None:
    run = tmp_path / render
    spared = config(small_bank, decoder_mask_ratio=0.5, render=render, steps=2, masks_per_clip=2)
    assert spared.reconstructed == 12
    pretrain(spared, run)
    assert np.isfinite([entry["loss"] for entry in history(run)]).all()
    if render == "device":
        clips = open_clips(config(small_bank, decoder_mask_ratio=0.5, steps=2, masks_per_clip=2))
        other = tmp_path / "cpu"
        pretrain(clips.config, other)
        assert [e["loss"] for e in history(run)] == [e["loss"] for e in history(other)]


def test_runs_of_one_process_can_differ_in_precision(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    for precision in ("fp32", "bf16"):
        run = tmp_path / precision
        pretrain(config(small_bank, steps=1, precision=precision), run)
        assert read_run_config(run / "config.json")["precision"] == precision


def test_saving_memory_changes_nothing(small_bank: ObjectBank, tmp_path: Path) -> None:
    plain = weights(pretrain(config(small_bank, steps=2), tmp_path / "plain"))
    again = config(small_bank, steps=2, gradient_checkpointing=True)
    saving = weights(pretrain(again, tmp_path / "saving"))
    for name, value in plain.items():
        torch.testing.assert_close(saving[name], value, rtol=0, atol=1e-7)


@pytest.mark.slow
def test_positions_follow_longer_and_larger_clips(small_bank: ObjectBank, tmp_path: Path) -> None:
    run = tmp_path / "run"
    pretrain(config(small_bank, steps=2), run)
    larger = config(small_bank, init=run, frames=8, size=96, steps=2)
    pretrain(larger, tmp_path / "larger")
    from smile_train.checkpoints.open import open_checkpoint

    model, _ = open_checkpoint(tmp_path / "larger")
    assert model.trained.shape == (2, 4, 4)
    assert model.encoder.positions.shape == (4 * 6 * 6, 192)
    with pytest.raises(InputError, match="another student"):
        pretrain(config(small_bank, init=run, student="vit-s", steps=2), tmp_path / "x")


@pytest.mark.slow
def test_a_published_checkpoint_starts_a_run_and_another_model_does_not(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    from smile_train.checkpoints.open import open_checkpoint
    from smile_train.checkpoints.published import save_official

    run = tmp_path / "run"
    pretrain(config(small_bank, steps=2), run)
    model, _ = open_checkpoint(run)
    published = tmp_path / "published.pth"
    save_official(published, model, args={"model": "smile"}, epoch=3)
    one = weights(pretrain(config(small_bank, init=published, steps=2), tmp_path / "one"))
    two = weights(pretrain(config(small_bank, init=run, steps=2), tmp_path / "two"))
    for name, value in one.items():
        assert (value == two[name]).all(), name
    spoilt = torch.load(published, weights_only=False)
    spoilt["model"]["encoder.extra"] = torch.zeros(2)
    del spoilt["model"]["encoder.norm.weight"]
    torch.save(spoilt, published)
    with pytest.raises(InputError, match=r"unknown encoder\.extra, missing encoder\.norm\.weight"):
        pretrain(config(small_bank, init=published, steps=2), tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_a_checkpoint_of_pixels_starts_a_run_on_features(
    small_bank: ObjectBank, tiny_clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    pretrain(config(small_bank, steps=2), run)
    features = config(small_bank, init=run, target="clip", teacher=str(tiny_clip), steps=2)
    pretrain(features, tmp_path / "features")
    assert "the decoder's head is new" in capfd.readouterr().err


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_its_samples(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    pretrain(config(small_bank, steps=9, stop_at=2, save_every=2), run)
    from smile_train.training import pretrain as loop

    honest, calls = loop.masked_loss, []

    def overflowing(*arguments: object, **more: object) -> torch.Tensor:
        calls.append(1)
        loss = honest(*arguments, **more)  # type: ignore[arg-type]
        return loss * torch.inf if len(calls) == 3 else loss

    monkeypatch.setattr(loop, "masked_loss", overflowing)
    with pytest.raises(InputError, match=r"step 5: the loss is inf; its samples are in"):
        pretrain(config(small_bank, steps=9, save_every=2, resume=True), run)
    record = json.loads((run / "nonfinite.json").read_text())
    assert record["step"] == 5
    assert [sample["number"] for sample in record["samples"]] == [16, 17, 18, 19]
    assert sorted(path.name for path in (run / "checkpoints").iterdir())[-1] == "step_00000004"


def test_a_full_disk_is_told_before_a_checkpoint_is_written(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(InputError, match=r"0 MB free, the next checkpoint takes \d+ MB"):
        pretrain(config(small_bank, steps=2), tmp_path / "run")


def test_every_preset_is_a_whole_configuration_with_an_origin() -> None:
    assert set(PRESETS) == set(NOTES)
    for name, preset in PRESETS.items():
        assert preset.preset == name
        assert NOTES[name]
    main = PRESETS["smile-vit-b"]
    assert (main.epochs * main.masks_per_clip, main.strategy) == (300, "progressive")


def test_features_that_tell_labels_apart_and_those_that_have_collapsed() -> None:
    from smile_train.training.monitor import effective_rank, neighbor_accuracy

    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(200, 32, generator=generator)
    assert effective_rank(spread) > 28
    assert effective_rank(torch.ones(200, 1) @ spread[:1]) == pytest.approx(1, abs=0.01)
    labels = torch.arange(60) % 3
    centres = torch.eye(32)[:3]
    near = centres[labels] + 0.1 * torch.randn(60, 32, generator=generator)
    assert neighbor_accuracy(near, labels) == 1
    assert neighbor_accuracy(spread[:60], labels) < 0.6


def test_a_probe_of_labeled_videos_is_tried_at_every_picture(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    listing = tmp_path / "probe.csv"
    listing.write_text("".join(f"{path} {name}\n" for name, path in real_videos.items()))
    pretrain(config(small_bank, knn=listing, steps=4, picture_every=2), tmp_path / "run")
    lines = (tmp_path / "run/measures.jsonl").read_text().splitlines()
    measures = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in measures] == [2, 4]
    assert all(0 <= entry["knn_accuracy"] <= 1 for entry in measures)
    assert all(entry["token_rank"] > 1 for entry in measures)


def test_a_linear_probe_leaves_each_sample_out_and_is_the_same_again() -> None:
    from smile_train.training.monitor import linear_accuracy

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    noise = torch.randn(60, 32, generator=generator)
    near = torch.eye(32)[:3][labels] + 0.1 * noise
    assert linear_accuracy(near, labels, seed=0) == 1
    # More channels than samples: a classifier asked about what it was fitted to would be right.
    found = [linear_accuracy(noise.repeat(1, 4), labels, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert max(found) < 0.6
    assert 0 <= linear_accuracy(near[[0, 1, 3, 4]], labels[[0, 1, 3, 4]], seed=0) <= 1


@pytest.mark.slow
def test_a_linear_probe_of_a_run_is_measured_drawn_and_not_asked_twice(
    small_bank: ObjectBank,
    scenes: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[str, list[int]]] = []

    def draw(path: Path, history: Any, measures: Any) -> None:
        drawn.append((path.parent.name, sorted(s for s in measures if LINEAR in measures[s])))
        draw_curves(path, history, measures)

    monkeypatch.setattr("smile_train.training.monitor.draw_curves", draw)
    listing = tmp_path / "probe.csv"
    found = sorted(scenes.glob("train/*/*.mp4"))
    listing.write_text("".join(f"{path} {path.parent.name}\n" for path in found))
    options = config(small_bank, knn=listing, probe_linear_every=2, steps=4, picture_every=2)
    pretrain(options, tmp_path / "straight")
    said = capfd.readouterr().err
    assert f"of {len(found)} videos right" in said
    pretrain(replace(options, stop_at=2), tmp_path / "run")
    pretrain(replace(options, resume=True), tmp_path / "run")
    one, other = (
        [json.loads(line) for line in (tmp_path / run / "measures.jsonl").read_text().splitlines()]
        for run in ("straight", "run")
    )
    linear = [[e["linear_accuracy"] for e in own if "linear_accuracy" in e] for own in (one, other)]
    assert linear[0] == linear[1]
    assert len(linear[0]) == 2
    # Once a step, when all of it is measured.
    assert drawn == [(run, steps) for run in ("straight", "run") for steps in ([2], [2, 4])]
    assert (tmp_path / "run/loss.png").stat().st_size > 10_000
    lonely = tmp_path / "lonely.csv"
    lonely.write_text(listing.read_text() + f"{found[0]} alone\n")
    with pytest.raises(InputError, match="label alone has one video; --probe-linear-every"):
        pretrain(replace(options, knn=lonely), tmp_path / "other")
    with pytest.raises(InputError, match="needs labeled videos; give their list, --knn"):
        replace(options, knn=None)
