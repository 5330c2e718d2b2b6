"""TrackMAE's checkpoints: its encoder, all of it to go on with, its order of steps and its loss."""

import argparse
from pathlib import Path

import pytest
import smile_train
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.open import open_backbone, open_checkpoint
from smile_train.checkpoints.published import save_official
from smile_train.models.config import StudentConfig
from smile_train.models.mae import PretrainModel
from smile_train.training.motion_loss import motion_loss, motion_targets

GRID = TokenGrid()
SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=4, decoder_heads=2
)
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> PretrainModel:
    torch.manual_seed(0)
    model = PretrainModel(SMALL, GRID, 48, motion_dim=8)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def joined_biases(weights: Weights) -> Weights:
    """As TrackMAE names them: one bias on queries, keys and values."""
    found = {name: value for name, value in weights.items() if not name.endswith("_bias")}
    for name, query in weights.items():
        if name.endswith("attn.q_bias"):
            stem = name.removesuffix("q_bias")
            keys = torch.randn(len(query))  # shifts all scores of a query alike
            found[f"{stem}qkv.bias"] = torch.cat([query, keys, weights[f"{stem}v_bias"]])
    return found


@pytest.fixture(params=["qkv.bias", "q_bias"])
def published(request: pytest.FixtureRequest, model: PretrainModel, tmp_path: Path) -> Path:
    weights = dict(model.state_dict())
    if request.param == "qkv.bias":
        weights = joined_biases(weights)
        assert "tracker_decoder.blocks.1.attn.qkv.bias" in weights
    args = argparse.Namespace(decoder_heads=2, encoder_heads=2)
    torch.save({"model": weights, "epoch": 799, "args": args}, tmp_path / "trackmae.pth")
    return tmp_path / "trackmae.pth"


def test_its_encoder_is_found_without_the_tracker_s_parts(
    published: Path, model: PretrainModel
) -> None:
    backbone = open_backbone(published, heads=2)
    assert backbone.pretraining == {"published": "TrackMAE"}
    assert set(backbone.weights) == set(model.encoder.state_dict())
    video = torch.randint(0, 256, (1, 16, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.encoder(video)
    found = smile_train.load(published, heads=2).features(video)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_all_of_it_is_found_to_go_on_with(published: Path, model: PretrainModel) -> None:
    opened, _ = open_checkpoint(published, heads=2)
    assert (opened.motion_dim, opened.motion_depth, opened.target_dim) == (8, 2, 48)
    for name, value in model.state_dict().items():
        assert torch.equal(opened.state_dict()[name], value), name


def test_its_names_and_shapes_are_the_published_ones(model: PretrainModel, tmp_path: Path) -> None:
    """`tracker_decoder`: two blocks of the decoder's width, its own norm and head of 8; before it
    a projection without a bias; positions and the mask token are the decoder's."""
    save_official(tmp_path / "ours.pth", model, args={}, epoch=0)
    weights = torch.load(tmp_path / "ours.pth")["model"]
    of_motion = {n: tuple(w.shape) for n, w in weights.items() if "tracker" in n}
    block = {
        "norm1.weight": (32,), "norm1.bias": (32,), "norm2.weight": (32,), "norm2.bias": (32,),
        "attn.qkv.weight": (96, 32), "attn.q_bias": (32,), "attn.v_bias": (32,),
        "attn.proj.weight": (32, 32), "attn.proj.bias": (32,),
        "mlp.fc1.weight": (128, 32), "mlp.fc1.bias": (128,),
        "mlp.fc2.weight": (32, 128), "mlp.fc2.bias": (32,),
    }  # fmt: skip
    expected = {"encoder_to_tracker.weight": (32, 64)}
    for number in range(2):
        expected |= {f"tracker_decoder.blocks.{number}.{n}": shape for n, shape in block.items()}
    expected |= {f"tracker_decoder.norm.{kind}": (32,) for kind in ("weight", "bias")}
    expected |= {"tracker_decoder.head.weight": (8, 32), "tracker_decoder.head.bias": (8,)}
    assert of_motion == expected


def test_its_steps_and_loss_are_the_published_ones(model: PretrainModel) -> None:
    """Stated again from the description: visible tokens first, then masked ones, the head on the
    masked; mean squared error over masked tokens of targets normalized over a token's points."""
    generator = torch.Generator().manual_seed(2)
    frames = torch.randint(0, 256, (2, 16, 224, 224, 3), dtype=torch.uint8, generator=generator)
    order = torch.stack([torch.randperm(1568, generator=generator) for _ in range(2)])
    visible, masked = order[:, :320].sort(1).values, order[:, 320:].sort(1).values
    tracks = 3 * torch.randn(2, 8, 28, 28, 2, generator=generator)
    # 28 x 28 displacements of a slice, cut into 2 x 2 for each of 14 x 14 tokens.
    cut = tracks.view(2, 8, 14, 2, 14, 2, 2).permute(0, 1, 2, 4, 3, 5, 6).reshape(2, 1568, 4, 2)
    deviation = cut.var(2, unbiased=True, keepdim=True).sqrt() + 1e-6
    normal = ((cut - cut.mean(2, keepdim=True)) / deviation).reshape(2, 1568, 8)
    with torch.no_grad():
        seen = model.encoder(frames, visible) @ model.encoder_to_tracker.weight.T
        table = model.decoder.positions
        tokens = torch.cat([seen + table[visible], model.mask_token + table[masked]], 1)
        for block in model.tracker_decoder.blocks:
            tokens = block(tokens)
        expected = model.tracker_decoder.head(model.tracker_decoder.norm(tokens[:, 320:]))
        predicted = model(frames, visible, masked)[1]
    torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-5)
    hidden = torch.stack([normal[i, masked[i]] for i in range(2)])
    displacement = cut.reshape(2, 1568, 8)
    own = torch.stack([displacement[i, masked[i]] for i in range(2)])
    loss, _ = motion_loss(predicted, *motion_targets(own, "token", 16))
    torch.testing.assert_close(loss, (expected - hidden).square().mean(), rtol=1e-4, atol=0)


def test_parts_of_another_architecture_are_refused(model: PretrainModel, tmp_path: Path) -> None:
    weights = dict(model.state_dict())
    weights["tracker_decoder.head.weight"] = torch.zeros(8)
    torch.save({"model": weights}, tmp_path / "flat.pth")
    with pytest.raises(InputError, match="of 1 dimensions"):
        open_checkpoint(tmp_path / "flat.pth", heads=2)
    weights = dict(model.state_dict())
    del weights["tracker_decoder.blocks.0.norm1.weight"]
    torch.save({"model": weights}, tmp_path / "torn.pth")
    with pytest.raises(InputError, match=r"missing tracker_decoder\.blocks\.0\.norm1"):
        open_checkpoint(tmp_path / "torn.pth", heads=2)
