"""Motion as a second target: its loss, its decoder, and runs that learn it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.open import open_backbone, open_checkpoint
from smile_train.config.pretrain import PretrainConfig, plan_stages
from smile_train.config.pretrain_presets import PRESETS
from smile_train.data.device_clips import PlanRenderer, open_clips
from smile_train.models.config import StudentConfig
from smile_train.models.layers import take
from smile_train.models.mae import PretrainModel
from smile_train.training.benchmark import TRUTH, measure
from smile_train.training.losses import masked_loss, mean_squared_error, pixel_targets
from smile_train.training.motion_loss import motion_loss, motion_losses, motion_targets
from smile_train.training.pretrain import pretrain

SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=3, decoder_heads=2
)
QUICK = {
    "preset": "tiny", "student": "tiny", "size": 64, "frames": 4, "batch": 4, "workers": 0,
    "background": "black", "target": "pixel", "precision": "fp32", "log_every": 1, "steps": 4,
    "save_every": 2, "track": "none", "base_lr": 3.2e-2, "warmup_epochs": 0, "clip_grad": 1.0,
}  # fmt: skip


def config(bank: ObjectBank, **more: object) -> PretrainConfig:
    return PretrainConfig(**{**QUICK, "bank": bank.path, "motion_target": "displacement", **more})


def test_normalisation_per_token_is_the_published_one() -> None:
    """(x - mean) / (sqrt(unbiased variance) + 1e-6) over the four points, each axis by itself."""
    generator = torch.Generator().manual_seed(0)
    displacement = 5 * torch.randn(2, 7, 8, generator=generator)
    target, known = motion_targets(displacement, "token", 16)
    points = displacement.view(2, 7, 4, 2)
    mean, variance = points.mean(2, keepdim=True), points.var(2, keepdim=True, unbiased=True)
    expected = ((points - mean) / (variance.sqrt() + 1e-6)).view(2, 7, 8)
    torch.testing.assert_close(target, expected, rtol=1e-5, atol=1e-5)
    assert known.all()
    rigid = torch.tensor([3.0, -2.0]).repeat(4).expand(1, 1, 8)
    assert (motion_targets(rigid, "token", 16)[0] == 0).all()
    assert (motion_targets(rigid, "size", 16)[0] == rigid / 16).all()
    assert (motion_targets(rigid, "none", 16)[0] == rigid).all()


def test_points_without_truth_are_left_out() -> None:
    nan = float("nan")
    tokens = torch.tensor(
        [[[1, 2, 3, 6, nan, nan, nan, nan], [1, 2, *[nan] * 6], [nan] * 8, [4.0] * 8]]
    )
    target, known = motion_targets(tokens, "token", 16)
    half = 1 / 2**0.5  # of two values, deviations are half a difference times sqrt(2)
    torch.testing.assert_close(
        target[0, 0, :4], torch.tensor([-half, -half, half, half]), rtol=1e-5, atol=0
    )
    assert known[0].sum(1).tolist() == [4, 0, 0, 8]
    assert not target[~known].any()
    _, known = motion_targets(tokens, "size", 16)
    assert known[0].sum(1).tolist() == [4, 2, 0, 8]
    predicted = torch.zeros(1, 4, 8, requires_grad=True)
    loss, any_known = motion_loss(predicted, *motion_targets(tokens, "none", 16))
    assert loss.item() == pytest.approx((1 + 4 + 9 + 36 + 1 + 4 + 8 * 16) / 14)
    assert any_known
    loss.backward()
    assert predicted.grad is not None
    assert not predicted.grad[0, 2].any()


def test_the_loss_of_a_batch_does_not_depend_on_how_it_is_split() -> None:
    generator = torch.Generator().manual_seed(1)
    displacement = torch.randn(4, 6, 8, generator=generator)
    displacement[1, :, :] = float("nan")
    displacement[2, :5, :] = float("nan")
    predicted = torch.randn(4, 6, 8, generator=generator)
    target, known = motion_targets(displacement, "size", 16)
    whole, _ = motion_loss(predicted, target, known)
    parts = [
        motion_loss(predicted[i : i + 1], target[i : i + 1], known[i : i + 1]) for i in range(4)
    ]
    assert whole.item() == pytest.approx(sum(loss.item() for loss, _ in parts) / 4)
    assert [bool(any_known) for _, any_known in parts] == [True, False, True, True]
    complete, _ = motion_loss(predicted[:1], target[:1], known[:1])
    assert complete.item() == pytest.approx(mean_squared_error(predicted[0], target[0]).item())


def test_a_second_decoder_changes_nothing_of_the_first() -> None:
    grid = TokenGrid(frames=4, height=64, width=64)
    torch.manual_seed(3)
    plain = PretrainModel(SMALL, grid, 16)
    torch.manual_seed(3)
    model = PretrainModel(SMALL, grid, 16, motion_dim=8)
    more = set(model.state_dict()) - set(plain.state_dict())
    assert {name.split(".")[0] for name in more} == {"tracker_decoder", "encoder_to_tracker"}
    assert model.state_dict()["encoder_to_tracker.weight"].shape == (32, 64)
    assert model.state_dict()["tracker_decoder.head.weight"].shape == (8, 32)
    assert len(model.tracker_decoder.blocks) == 2
    frames = torch.randint(0, 256, (2, 4, 64, 64, 3), dtype=torch.uint8)
    order = torch.stack([torch.randperm(grid.tokens) for _ in range(2)])
    visible, masked = order[:, :8], order[:, 8:]
    predicted, moved, _ = model(frames, visible, masked)
    assert moved.shape == (2, 24, 8)
    assert (predicted == plain(frames, visible, masked)).all()
    assert (model.reconstruct(frames, visible, masked) == predicted).all()


@pytest.mark.parametrize(
    ("target", "weight", "factor"), [("pixel", None, 1.0), ("pixel", 3.0, 3.0)]
)
def test_the_loss_is_the_other_and_that_of_motion_weighted(
    small_bank: ObjectBank, target: str, weight: float | None, factor: float
) -> None:
    options = config(small_bank, target=target, motion_weight=weight, masks_per_clip=2)
    batch = open_clips(options).new_batch(2)
    open_clips(options).fill([0, 1], batch)
    torch.manual_seed(0)
    model = PretrainModel(options.student_config, options.grid, 1536, motion_dim=8)
    names = ("frames", "visible", "masked")
    inputs = [batch[name] for name in names]
    frames, visible, masked = inputs
    loss = masked_loss(*(model, frames, visible, masked, None, options), motion=batch["motion"])
    twice = frames.repeat_interleave(2, 0)
    predicted, moved, _ = model(twice, visible.flatten(0, 1), masked.flatten(0, 1))
    pixels = pixel_targets(twice, options.grid, masked.flatten(0, 1))
    of_motion = take(batch["motion"].repeat_interleave(2, 0), masked.flatten(0, 1)) / 16
    expected = (predicted - pixels).square().mean() + factor * (moved - of_motion).square().mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("norm", ["size", "none"])
def test_visibility_and_rates_are_learned_where_they_are_known(
    small_bank: ObjectBank, norm: str
) -> None:
    options = config(small_bank, motion_visibility=True, motion_rates=True, motion_norm=norm)
    assert options.motion_dim == 24
    generator = torch.Generator().manual_seed(2)
    motion = torch.randn(2, 5, 24, generator=generator)
    motion[..., 8:12] = (motion[..., 8:12] > 0).float()
    motion[0, 1, 8:10], motion[1, 2:, 12:] = float("nan"), float("nan")
    predicted = torch.randn(2, 5, 24, generator=generator, requires_grad=True)
    losses, known = motion_losses(predicted, motion, options)
    assert bool(known)
    sure = torch.sigmoid(predicted[..., 8:12])
    entropy = -torch.where(motion[..., 8:12] == 1, sure, 1 - sure).log()
    entropy = torch.where(motion[..., 8:12].isnan(), torch.nan, entropy)
    torch.testing.assert_close(losses["visibility"], entropy.nanmean((1, 2)).mean())
    units = [torch.pi / 180 * 2, 2.0, 2.0] if norm == "size" else [1.0, 1.0, 1.0]
    rates = motion[..., 12:] * torch.tensor(units * 4)
    errors = (predicted[..., 12:] - rates).square()
    torch.testing.assert_close(losses["rates"], errors.nanmean((1, 2)).mean())
    torch.stack(list(losses.values())).sum().backward()
    assert predicted.grad is not None
    assert not predicted.grad[motion.isnan()].any()
    assert predicted.grad[~motion.isnan()].all()


def test_weights_beside_pixels_and_features_are_the_published_ones() -> None:
    assert PRESETS["trackmae-vit-b"].motion_factor == 0.25
    assert replace(PRESETS["trackmae-vit-b"], target="pixel").motion_factor == 1
    first, second = plan_stages(PRESETS["smile-track-vit-b"], Path("run"))
    assert (first.config.motion_dim, second.config.motion_dim) == (8, 0)


def test_batches_hold_the_truth_of_their_clips(small_bank: ObjectBank) -> None:
    options = config(small_bank)
    clips = open_clips(options)
    sample = clips[5]
    epoch, index = clips.order.locate(5)
    truth = clips.maker.make(index, epoch).truth.token_motion(options.grid)
    expected = truth.displacement.reshape(options.grid.tokens, 8)
    assert (sample["motion"].numpy() == expected).all()
    assert (expected != 0).any()
    more = open_clips(replace(options, motion_visibility=True, motion_rates=True))[5]["motion"]
    assert more.shape == (options.grid.tokens, 8 + 4 + 12)
    seen, rates = more[:, 8:12].numpy(), more[:, 12:].numpy()
    assert (more[:, :8].numpy() == expected).all()
    assert (seen == truth.visible.reshape(seen.shape)).all()
    of_plan = clips.maker.make(index, epoch).truth.token_rates(options.grid, truth.slot)
    np.testing.assert_array_equal(rates, of_plan.reshape(rates.shape))
    plain = open_clips(replace(options, motion_target="none"))[5]
    assert "motion" not in plain
    for name in ("frames", "visible", "masked"):
        assert (plain[name] == sample[name]).all()


@pytest.mark.parametrize("reading", ["present", "started"])
@pytest.mark.parametrize("strategy", ["single", "mixed"])
def test_the_device_finds_the_motion_that_workers_do(
    small_bank: ObjectBank, reading: str, strategy: str
) -> None:
    options = config(
        small_bank, motion_reading=reading, strategy=strategy, size=96, frames=8,
        motion_visibility=True, motion_rates=True,
    )  # fmt: skip
    planned = replace(options, render="device")
    expected, batch = (open_clips(one).new_batch(4) for one in (options, planned))
    open_clips(options).fill([0, 1, 2, 3], expected)
    open_clips(planned).fill([0, 1, 2, 3], batch)
    painter = PlanRenderer.open(planned, open_clips(planned).maker.bank, torch.device("cpu"))
    painted = painter(batch)
    assert (painted["frames"] == expected["frames"]).all()
    assert painted["motion"].shape == expected["motion"].shape
    torch.testing.assert_close(
        painted["motion"], expected["motion"], rtol=1e-5, atol=2e-5, equal_nan=True
    )
    assert (expected["motion"][..., :8] != 0).any()


@pytest.mark.parametrize(
    "learned",
    [
        {"motion_target": "none"},
        {"motion_visibility": True, "motion_rates": True, "motion_reading": "started"},
        {"background": "noise", "camera": "pan", "decoder_mask_ratio": 0.5, "masks_per_clip": 2},
    ],
    ids=lambda learned: next(iter(learned)),
)
def test_motion_bins_are_the_same_where_a_device_renders(
    small_bank: ObjectBank, learned: dict
) -> None:
    options = config(small_bank, masking="motion-bins", size=64, frames=8, **learned)
    planned = open_clips(replace(options, render="device"))
    painter = PlanRenderer.open(planned.config, planned.maker.bank, torch.device("cpu"))
    batch, expected = planned.new_batch(3), open_clips(options).new_batch(3)
    planned.fill([0, 1, 2], batch)
    open_clips(options).fill([0, 1, 2], expected)
    painted = painter(batch)
    for name, values in expected.items():
        np.testing.assert_array_equal(painted[name].numpy(), values.numpy())
    assert ("motion" in expected) == (options.motion_target != "none")


def test_on_a_device_natural_video_is_unknown_too(
    small_bank: ObjectBank, real_videos: dict[str, Path]
) -> None:
    options = config(small_bank, background="natural", videos=real_videos["bikes"], size=96)
    planned = replace(options, render="device")
    batch = open_clips(planned).new_batch(1)
    open_clips(planned).fill([0], batch)
    painter = PlanRenderer.open(planned, open_clips(planned).maker.bank, torch.device("cpu"))
    moved, expected = painter(batch)["motion"][0], open_clips(options)[0]["motion"]
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=2e-5, equal_nan=True)


def test_motion_bins_of_training_show_as_much_that_moves(small_bank: ObjectBank) -> None:
    options = config(small_bank, masking="motion-bins", motion_target="none", size=128)
    clips = open_clips(options)
    for number in range(5):
        sample = clips[number]
        epoch, index = clips.order.locate(number)
        lengths = clips.maker.make(index, epoch).truth.token_motion(options.grid).by_position()
        visible = sample["visible"][0].numpy().reshape(2, -1)
        assert (visible[0] + 64 == visible[1]).all()
        moving = np.argsort(-lengths, kind="stable")[: min((lengths > 0).sum(), 32)]
        assert np.isin(visible[0], moving).sum() <= 7  # half of the 13 that are seen


def read_log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def straight(small_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("motion") / "run"
    pretrain(config(small_bank, workers=2), run)
    return run


def test_a_run_that_is_resumed_learns_the_same_motion(
    small_bank: ObjectBank, straight: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    pretrain(config(small_bank, stop_at=2), run)
    pretrain(config(small_bank, resume=True), run)
    keys = ("step", "loss", "motion_loss")
    one, other = ([[line[key] for key in keys] for line in read_log(r)] for r in (straight, run))
    assert one == other
    assert all(0 < line["motion_loss"] < line["loss"] for line in read_log(run))
    weights, again = (
        load_file(r / "checkpoints/step_00000004/model.safetensors") for r in (straight, run)
    )
    assert any(name.startswith("tracker_decoder.") for name in weights)
    for name, value in weights.items():
        assert (value == again[name]).all(), name
    with pytest.raises(InputError, match="motion_norm 'size' there, 'token' asked for"):
        pretrain(config(small_bank, resume=True, motion_norm="token"), run)


def test_its_checkpoint_opens_with_and_without_the_second_decoder(
    small_bank: ObjectBank, straight: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, _ = open_checkpoint(straight)
    assert (model.motion_dim, model.motion_depth) == (8, 2)
    assert not any("tracker" in name for name in open_backbone(straight).weights)
    pretrain(config(small_bank, init=straight, motion_target="none", steps=1), tmp_path / "without")
    assert "predicts motion besides, this run does not: left out" in capfd.readouterr().err
    pretrain(config(small_bank, init=tmp_path / "without", steps=1), tmp_path / "with")
    assert "no decoder of this run's motion: it is new" in capfd.readouterr().err
    model.save_pretrained(tmp_path / "hub")
    again = PretrainModel.from_pretrained(tmp_path / "hub")
    for name, value in model.state_dict().items():
        assert (again.state_dict()[name] == value).all(), name


def test_a_run_that_was_stored_before_there_was_motion_is_resumed(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    options = config(small_bank, motion_target="none")
    stored = {k: v for k, v in options.to_json().items() if not k.startswith(("motion", "tracks"))}
    assert options.differing(stored) == []
    assert replace(options, motion_target="displacement").differing(stored) == [
        "motion_target 'none' there, 'displacement' asked for"
    ]


def test_clips_of_which_nothing_is_known_count_as_nothing_and_that_is_said_once(
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Natural video, with objects in a share of the clips that is next to none."""
    run = tmp_path / "run"
    pretrain(
        config(
            small_bank, background="natural", videos=real_videos["bikes"], strategy="mixed",
            mixed_share=1e-9, steps=3, batch=2,
        ),
        run,
    )  # fmt: skip
    assert [line["motion_loss"] for line in read_log(run)] == [0, 0, 0]
    assert capfd.readouterr().err.count("its loss of motion is 0") == 1


def test_natural_video_is_unknown_where_no_object_is(
    small_bank: ObjectBank, real_videos: dict[str, Path]
) -> None:
    options = config(small_bank, background="natural", videos=real_videos["bikes"], size=96)
    motion = open_clips(options)[0]["motion"]
    assert 0.1 < motion.isnan().float().mean() < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 2}, "--motion-target: 2 frames in tokens of 2 are one time slice"),
        ({"motion_points": 9, "patch": 8}, "--motion-points is 9; give 1 to 8"),
        ({"motion_points": 17}, "--motion-points is 17; give 1 to 16"),
        ({"camera": "pan"}, "nothing in a clip tells how --camera pan moves over black; use"),
        ({"motion_target": "official"}, "--motion-target official is for tracks of videos"),
        ({"motion_target": "official", "motion_rates": True}, "not in a tracker's files; use"),
        (
            {"motion_target": "none", "masking": "motion-bins", "objects": 0},
            "--masking motion-bins needs objects, which alone are known to move",
        ),
    ],
)
def test_motion_that_nothing_tells_is_refused(
    small_bank: ObjectBank, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config(small_bank, **options)


def test_motion_of_no_objects_is_refused(small_bank: ObjectBank, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--motion-target displacement needs objects, which alone"):
        pretrain(config(small_bank, objects=0, masking="tube"), tmp_path / "run")


def test_a_second_stage_goes_on_without_motion(
    small_bank: ObjectBank, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = config(small_bank, strategy="progressive", steps=2)
    pretrain(options, tmp_path / "run")
    assert "predicts motion besides, this run does not: left out" in capfd.readouterr().err
    assert all("motion_loss" in line for line in read_log(tmp_path / "run/stage-1"))
    assert not any("motion_loss" in line for line in read_log(tmp_path / "run/stage-2"))
    assert open_checkpoint(tmp_path / "run")[0].motion_dim == 0


def test_bench_has_a_line_for_the_truth(small_bank: ObjectBank) -> None:
    timings = measure(config(small_bank), repeats=1, device=torch.device("cpu"))
    assert 0 < timings.median(TRUTH) < timings.median("together")
    forward = timings.flops["student forward"]
    plain = measure(config(small_bank, motion_target="none"), repeats=1, device=torch.device("cpu"))
    assert TRUTH not in plain.seconds
    assert forward > plain.flops["student forward"]
