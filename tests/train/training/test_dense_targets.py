"""Losses of visible tokens and of several layers, after V-JEPA 2.1: what they are, and runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.open import open_backbone, open_checkpoint, start_from
from smile_train.checkpoints.published import open_pretrained, save_official
from smile_train.checkpoints.to_transformers import pretraining_to_transformers
from smile_train.config.pretrain import PretrainConfig
from smile_train.models.config import StudentConfig
from smile_train.models.mae import PretrainModel
from smile_train.teachers import ClipTeacher
from smile_train.training.losses import (
    mask_distance,
    masked_loss,
    mean_squared_error,
    normalize_targets,
    pixel_targets,
    teach,
)
from smile_train.training.optim import parameter_groups
from smile_train.training.pretrain import choose_layers, pretrain, student_options

GRID = TokenGrid(frames=4, height=32, width=32)
SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2
)
QUICK = {
    "preset": "tiny", "student": "tiny", "size": 32, "frames": 4, "batch": 4, "workers": 0,
    "background": "black", "target": "pixel", "precision": "fp32", "log_every": 1, "steps": 4,
    "save_every": 2, "track": "none", "mask_ratio": 0.5, "masking": "tube",
    "visible_weight": 0.5, "target_layers": (2, 4),
}  # fmt: skip


def config(**more: object) -> PretrainConfig:
    return PretrainConfig(**{**QUICK, **more})


def clip_and_mask(grid: TokenGrid = GRID, seen: int = 4) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    shape = (3, grid.frames, grid.height, grid.width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    order = torch.stack([torch.randperm(grid.tokens, generator=generator) for _ in range(3)])
    return frames, order[:, :seen], order[:, seen:]


@given(
    st.sampled_from(
        [GRID, TokenGrid(frames=6, height=64, width=96), TokenGrid(frames=2, height=64, width=80)]
    ),
    st.integers(0, 2**31),
    st.floats(0.01, 0.99),
)
@settings(max_examples=40, deadline=None)
def test_distances_are_those_to_the_nearest_masked_token(
    grid: TokenGrid, seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(grid.tokens, generator=generator)
    count = max(1, min(grid.tokens - 1, round(share * grid.tokens)))
    at = torch.cartesian_prod(*(torch.arange(side) for side in grid.shape)).float()
    apart = (at[order[:count], None] - at[order[count:]]).square().sum(-1).sqrt()
    found = mask_distance(order[None, :count], grid)
    torch.testing.assert_close(found[0], apart.amin(1))


def test_without_the_options_nothing_is_drawn_or_named_otherwise() -> None:
    torch.manual_seed(3)
    plain = PretrainModel(SMALL, GRID, 16)
    torch.manual_seed(3)
    seeing = PretrainModel(SMALL, GRID, 16, predict_visible=True)
    own, more = plain.state_dict(), seeing.state_dict()
    assert more.keys() - own.keys() == {"decoder.visible_head.weight", "decoder.visible_head.bias"}
    for name in own.keys() - {"decoder.head.weight"}:
        if not name.startswith("decoder."):
            assert (own[name] == more[name]).all(), name
    layered = PretrainModel(SMALL, GRID, 16, target_layers=(1, 2)).state_dict()
    assert {name.split(".")[0] for name in layered.keys() - own.keys()} == {
        "encoder_to_decoder", "layer_norms"
    }  # fmt: skip
    assert {n for n in layered if n.startswith("encoder.")} == {
        n for n in own if n.startswith("encoder.")
    }


@pytest.mark.parametrize("scaling", ["distance", "none"])
def test_the_loss_is_that_of_masked_tokens_and_the_visible_ones_weighted(scaling: str) -> None:
    options = config(visible_weight=0.7, visible_scaling=scaling)
    torch.manual_seed(0)
    model = PretrainModel(options.student_config, GRID, 1536, **student_options(options))
    frames, visible, masked = clip_and_mask()
    predicted = model(frames, visible, masked)
    errors = (predicted.visible - pixel_targets(frames, GRID, visible)).square().mean(-1)
    if scaling == "distance":
        errors = errors / mask_distance(visible, GRID).sqrt()
    hidden = mean_squared_error(predicted.masked, pixel_targets(frames, GRID, masked))
    parts: dict[str, torch.Tensor] = {}
    loss = masked_loss(
        *(model, frames, visible[:, None], masked[:, None], None, options), note=parts.update
    )
    torch.testing.assert_close(loss, hidden + 0.7 * errors.mean())
    torch.testing.assert_close(parts["masked_loss"], hidden.detach())
    torch.testing.assert_close(parts["visible_loss"], errors.mean().detach())


@pytest.mark.parametrize("target", ["pixel", "clip"])
def test_each_part_of_the_loss_falls_and_every_weight_is_used(tiny_clip: Path, target: str) -> None:
    """A few steps on three clips; the trap of DDP are weights without a gradient."""
    options, layers = config(target=target), (1, 2)
    teacher = None
    if target == "clip":
        teacher = ClipTeacher.open(str(tiny_clip))
        teacher.choose_layers([1 / 2, 1])
    object.__setattr__(options, "target_layers", layers)  # of a smaller student than has a name
    torch.manual_seed(1)
    dim = 1536 if teacher is None else teacher.target_dim
    model = PretrainModel(SMALL, GRID, dim, predict_visible=True, target_layers=layers)
    frames, visible, masked = clip_and_mask()
    features = teach(frames, teacher, options)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=3e-3)
    seen: list[dict[str, torch.Tensor]] = []
    for _ in range(12):
        masked_loss(
            *(model, frames, visible[:, None], masked[:, None], features, options),
            note=seen.append,
        ).backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    names = {"masked_loss", "visible_loss"}
    names |= {"layer_1_loss", "layer_2_loss"} if teacher else set()
    assert set(seen[0]) == names
    for name in names:
        assert seen[-1][name] < 0.9 * seen[0][name], name
    if teacher:
        both = seen[0]["layer_1_loss"] + seen[0]["layer_2_loss"]
        torch.testing.assert_close(both / 2, seen[0]["masked_loss"])


def test_a_lower_layer_is_supervised_directly() -> None:
    """Where the last block passes nothing back, the first one still learns."""
    frames, visible, masked = clip_and_mask()
    for layers in ((), (1, 2)):
        torch.manual_seed(2)
        model = PretrainModel(SMALL, GRID, 8, target_layers=layers)
        model.encoder.norm.weight.data.zero_()  # the last block's way to the decoder
        model(frames, visible, masked).square().mean().backward()
        grad = model.get_parameter("encoder.blocks.0.mlp.fc1.weight").grad
        assert grad is not None
        assert bool(grad.any()) == bool(layers)


@pytest.mark.parametrize("plain", [True, False])
def test_a_teacher_of_several_layers_ends_with_its_last(tiny_clip: Path, plain: bool) -> None:
    teacher = ClipTeacher.open(str(tiny_clip))
    frames, *_ = clip_and_mask()
    last = teacher(frames, GRID)
    teacher.choose_layers([0.5, 1.0])
    teacher._plain = plain
    both = teacher(frames, GRID)
    assert (teacher.layers, teacher.target_dim) == ((1, 2), 64)
    torch.testing.assert_close(both[..., 32:], last, rtol=1e-4, atol=1e-5)
    block = teacher.visual.transformer.resblocks[0]
    hook = block.register_forward_hook(lambda module, given, out: store.append(out))
    store: list[torch.Tensor] = []
    teacher._plain = False
    again = teacher(frames, GRID)
    hook.remove()
    first = teacher.visual.ln_post(store[0])[:, 1:]
    field = first.transpose(1, 2).unflatten(2, teacher.rows_columns)
    own = torch.nn.functional.interpolate(field, (GRID.rows, GRID.columns), mode="bilinear")
    own = own.flatten(2).transpose(1, 2).reshape(3, GRID.tokens, 32)
    torch.testing.assert_close(both[..., :32], own, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again, both, rtol=1e-4, atol=1e-5)
    per_token = teach(frames, teacher, config(target="clip", target_norm="token"))
    assert per_token is not None
    expected = [normalize_targets(part, "token") for part in again.split(32, -1)]
    torch.testing.assert_close(per_token, torch.cat(expected, -1))
    with pytest.raises(InputError, match="fall on blocks 1 1 2 of a teacher of 2; give fewer"):
        teacher.choose_layers([0.25, 0.5, 1.0])


def test_layers_follow_the_depth_of_both(tiny_clip: Path) -> None:
    teacher = ClipTeacher.open(str(tiny_clip))
    choose_layers(teacher, config(target="clip", target_layers=(2, 4)))
    assert teacher.layers == (1, 2)


@pytest.mark.parametrize("layers", [(4,), (2, 3), (3, 2, 4), (2, 2, 4), (2, 5)])
def test_layers_that_the_student_lacks_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"--target-layers .*has 4 blocks.*the last 4"):
        config(target_layers=layers)


@pytest.mark.parametrize("layers", [7, "12", {"a": 1}, [1.0, 2.0], [None, 2]])
def test_layers_of_a_strangers_configuration_are_checked(layers: object) -> None:
    with pytest.raises(InputError, match=r"target.layers"):
        PretrainModel(SMALL, GRID, 16, target_layers=layers)  # type: ignore[arg-type]


def test_another_run_takes_what_fits_and_says_what_is_new() -> None:
    torch.manual_seed(0)
    plain = PretrainModel(SMALL, GRID, 16)
    dense = PretrainModel(SMALL, GRID, 16, predict_visible=True, target_layers=(1, 2))
    said = start_from(plain, Path("A"), dense)
    assert ["their head is new" in said[0], "layers 2 of the encoder" in said[1]] == [True, True]
    said = start_from(dense, Path("B"), plain)
    assert ["left out" in said[0], "what joins them is new" in said[1]] == [True, True]
    for name, value in plain.state_dict().items():
        if name.startswith("encoder."):
            assert (value == dense.state_dict()[name]).all()


def test_other_formats_get_what_they_have_a_place_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PretrainModel(SMALL, GRID, 1536, predict_visible=True).eval()
    save_official(tmp_path / "published.pth", model, args={}, epoch=0)
    again, _ = open_pretrained(tmp_path / "published.pth")
    frames, visible, masked = clip_and_mask()
    expected = model.reconstruct(frames, visible, masked)
    assert (again(frames, visible, masked) == expected).all()
    assert not any("visible" in n for n in pretraining_to_transformers(model).state_dict())
    layered = PretrainModel(SMALL, GRID, 1536, target_layers=(1, 2))
    for write in (
        lambda: save_official(tmp_path / "b.pth", layered, args={}, epoch=0),
        lambda: pretraining_to_transformers(layered),
    ):
        with pytest.raises(InputError, match=r"given layers 1 2 of the encoder.*encoder alone"):
            write()
    layered.save_pretrained(tmp_path / "hub")
    hub = PretrainModel.from_pretrained(tmp_path / "hub")
    assert hub.target_layers == (1, 2)
    for name, value in layered.state_dict().items():
        assert (hub.state_dict()[name] == value).all()


@pytest.mark.slow
def test_a_run_is_resumed_to_the_same_weights_and_its_encoder_opens_alone(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    options = config(bank=small_bank.path)
    pretrain(options, tmp_path / "straight")
    pretrain(replace(options, stop_at=2), tmp_path / "run")
    pretrain(replace(options, resume=True), tmp_path / "run")
    first, second = (
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("straight", "run")
    )
    keys = ("loss", "masked_loss", "visible_loss")
    assert [[e[k] for k in keys] for e in first] == [[e[k] for k in keys] for e in second]
    weights, again = (
        load_file(tmp_path / run / "checkpoints/step_00000004/model.safetensors")
        for run in ("straight", "run")
    )
    assert all((value == again[name]).all() for name, value in weights.items())
    model, _ = open_checkpoint(tmp_path / "run")
    assert (model.target_layers, model.decoder.predict_visible) == ((2, 4), True)
    names = open_backbone(tmp_path / "run").weights
    assert not any(n.startswith(("layer_norms", "decoder", "encoder_to")) for n in names)
    with pytest.raises(InputError, match=r"visible_weight 0.5 there, 0.0 asked for"):
        pretrain(replace(options, resume=True, visible_weight=0.0), tmp_path / "run")
