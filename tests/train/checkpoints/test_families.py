"""Checkpoints in every published layout, made here with random weights."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import smile_train
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.backbone import build_encoder, classifier_weights
from smile_train.checkpoints.open import open_backbone, open_model
from smile_train.models.config import StudentConfig
from smile_train.models.heads import Classifier
from smile_train.models.layers import factorized_sine_cosine, sine_cosine
from smile_train.models.mae import PretrainModel

GRID = TokenGrid()
SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2
)
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> PretrainModel:
    torch.manual_seed(0)
    model = PretrainModel(SMALL, GRID, 16)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (1, 16, 224, 224, 3), dtype=torch.uint8, generator=generator)


def videomae(model: PretrainModel) -> Weights:
    return dict(model.state_dict())


def sigma(model: PretrainModel) -> Weights:
    more = {"prototypes": torch.randn(30, 16), "memory": torch.randn(8, 16)}
    more |= {"head.0.weight": torch.randn(8, 16), "mha.in_proj_weight": torch.randn(48, 16)}
    return videomae(model) | more | {"query.weight": torch.randn(16, 16)}


def mme(model: PretrainModel) -> Weights:
    weights = {n: w for n, w in videomae(model).items() if not n.startswith("decoder.")}
    weights["encoder_to_decoder.0.weight"] = weights.pop("encoder_to_decoder.weight")
    return weights | {"decoder.0.head.0.2.weight": torch.randn(8, 8)}


def omnimae(model: PretrainModel) -> Weights:
    """A bias on keys too, which changes nothing; no prefix `encoder`, a stem of two layers."""
    weights: Weights = {}
    for name, value in model.encoder.state_dict().items():
        name = name.replace("patch_embed.proj.", "patch_embed.proj.1.")
        if name.endswith("attn.q_bias"):
            of_value = model.encoder.state_dict()[name.replace("q_bias", "v_bias")]
            stem = name.removesuffix("q_bias")
            keys = torch.randn(len(value))
            weights[f"trunk.{stem}qkv.bias"] = torch.cat([value, keys, of_value])
        elif not name.endswith("attn.v_bias"):
            weights[f"trunk.{name}"] = value
    weights["trunk.pos_embed"] = sine_cosine(GRID.tokens, SMALL.width)[None]
    weights["trunk.mask_token"] = torch.zeros(1, 1, 64)
    return weights | {"trunk.decoder.norm.weight": torch.ones(32), "head.weight": torch.ones(8, 32)}


def without_prefix(model: PretrainModel) -> Weights:
    return dict(model.encoder.state_dict())


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("family", [videomae, sigma, mme, omnimae, without_prefix])
def test_the_encoder_is_found(
    family: Callable[[PretrainModel], Weights],
    wrapped: bool,
    model: PretrainModel,
    video: torch.Tensor,
    tmp_path: Path,
) -> None:
    weights = family(model)
    data: object = weights
    if wrapped:
        args = argparse.Namespace(model="x", input_size=224)
        data = {"model": {f"module.{n}": w for n, w in weights.items()}, "args": args, "epoch": 1}
    torch.save(data, tmp_path / "theirs.pth")
    found = smile_train.load(tmp_path / "theirs.pth", heads=2)
    with torch.no_grad():
        expected = model.encoder(video)
    torch.testing.assert_close(found.features(video)[0], expected, rtol=0, atol=1e-5)


def mvd(model: PretrainModel) -> Weights:
    table = factorized_sine_cosine(GRID, SMALL.width)[None]
    more = {"pos_embed": table, "pos_embed_img": table, "pos_embed_vid": table}
    for kind in ("img", "vid"):
        more |= {f"mask_token_{kind}": torch.zeros(1, 1, 64), f"down_{kind}.weight": torch.eye(64)}
        more |= {f"decoder_{kind}.head.weight": torch.eye(64)}
    return without_prefix(model) | more


def test_umt_has_eight_frames_of_a_token_each(tmp_path: Path) -> None:
    grid = TokenGrid(frames=8, tubelet=1)
    torch.manual_seed(0)
    model = PretrainModel(SMALL, grid, 16).eval()
    weights = {n: w for n, w in model.state_dict().items() if n.startswith("encoder.")}
    more = {f"clip_decoder.0.head.{kind}": torch.ones(8, 8) for kind in ("weight", "bias")}
    torch.save({"model": weights | more}, tmp_path / "umt.pth")
    found = smile_train.load(tmp_path / "umt.pth", heads=2)
    assert found.grid == grid
    video = torch.randint(0, 256, (1, 8, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.encoder(video)
    torch.testing.assert_close(found.features(video)[0], expected, rtol=0, atol=1e-5)


def test_a_fine_tuned_umt_has_eight_frames_too(tmp_path: Path) -> None:
    grid = TokenGrid(frames=8, tubelet=1)
    torch.manual_seed(0)
    ours = Classifier(SMALL, grid, 7, head_scale=1.0).eval()
    torch.save({"model": ours.state_dict()}, tmp_path / "tuned.pth")
    opened, _, _ = open_model(tmp_path / "tuned.pth", heads=2)
    assert opened.grid == grid
    args = argparse.Namespace(num_frames=16)
    torch.save({"model": ours.state_dict(), "args": args}, tmp_path / "longer.pth")
    assert open_backbone(tmp_path / "longer.pth", heads=2).grid.frames == 16


def test_sigma_is_known_without_prototypes(model: PretrainModel, tmp_path: Path) -> None:
    weights = {name: w for name, w in sigma(model).items() if name != "prototypes"}
    torch.save({"model": weights}, tmp_path / "sigma.pth")
    backbone = open_backbone(tmp_path / "sigma.pth", heads=2)
    assert backbone.pretraining == {"published": "SIGMA"}


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [False, True])
def test_vit_g_of_videomae_v2_has_its_own_proportions(tuned: bool, tmp_path: Path) -> None:
    """Width 1408, 16 heads, MLPs of 48 / 11 the width, patches of 14; here of one block."""
    grid = TokenGrid(patch=14)
    config = StudentConfig(
        width=1408, depth=1, heads=16, mlp_ratio=48 / 11,
        decoder_width=512, decoder_depth=1, decoder_heads=8,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Classifier(config, grid, 3) if tuned else PretrainModel(config, grid, 4)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    prefix = "" if tuned else "encoder."
    assert shapes[f"{prefix}blocks.0.mlp.fc1.weight"] == (6144, 1408)
    if not tuned:
        assert shapes["decoder.blocks.0.mlp.fc1.weight"] == (2234, 512)
    torch.save({"model": model.state_dict()}, tmp_path / "vit-g.pth")
    opened, _, _ = open_model(tmp_path / "vit-g.pth")
    assert opened.config.heads == 16
    assert opened.grid.patch == 14
    for name, value in opened.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_mvd_has_other_positions(model: PretrainModel, video: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"model": mvd(model)}, tmp_path / "mvd.pth")
    backbone = open_backbone(tmp_path / "mvd.pth", heads=2)
    assert backbone.config.positions == "factorised"
    encoder = build_encoder(backbone)
    with torch.no_grad():
        tokens = model.encoder.patch_embed(_cubes(video)) + mvd(model)["pos_embed"]
        for block in model.encoder.blocks:
            tokens = block(tokens)
        expected = model.encoder.norm(tokens)
        torch.testing.assert_close(encoder(video), expected, rtol=0, atol=1e-5)
    wrong = mvd(model) | {"pos_embed": torch.zeros(1, GRID.tokens, 64)}
    torch.save({"model": wrong}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match="a table of positions of"):
        open_backbone(tmp_path / "wrong.pth", heads=2)


def _cubes(video: torch.Tensor) -> torch.Tensor:
    from smile_train.models.layers import cut_cubes

    return cut_cubes(video, GRID)


def test_the_factorised_table_is_the_published_one() -> None:
    """Its definition, stated again: for each token (t, h, w) sines, then cosines, of t, w, h."""
    grid, width = TokenGrid(frames=4, height=48, width=48), 32
    table = factorized_sine_cosine(grid, width).numpy()
    time, rows, columns = grid.shape
    for t, h, w in ((0, 0, 0), (1, 2, 0), (1, 0, 2)):
        expected = []
        for place, channels in ((t, 8), (w, 12), (h, 12)):
            rates = [10000 ** (-i / (channels / 2)) for i in range(channels // 2)]
            expected += [np.sin(place * rate) for rate in rates]
            expected += [np.cos(place * rate) for rate in rates]
        token = (t * rows + h) * columns + w
        assert table[token] == pytest.approx(expected, abs=1e-6)
    assert table.shape == (time * rows * columns, width)


def test_unknown_weights_are_listed(model: PretrainModel, tmp_path: Path) -> None:
    weights = videomae(model) | {"encoder.blocks.0.gamma_1": torch.ones(64)}
    torch.save({"model": weights}, tmp_path / "scaled.pth")
    with pytest.raises(InputError, match=r"not known to have \(encoder\.blocks\.0\.gamma_1\)"):
        open_backbone(tmp_path / "scaled.pth", heads=2)
    torch.save({"state": {"conv1.weight": torch.ones(2)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="names of no known family"):
        open_backbone(tmp_path / "other.pth")
    torch.save({"model": {"conv1.weight": torch.ones(2)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="names of no known family"):
        open_backbone(tmp_path / "other.pth")
    weights = videomae(model)
    del weights["encoder.blocks.1.mlp.fc2.bias"]
    torch.save({"model": weights}, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"missing blocks\.1\.mlp\.fc2\.bias"):
        smile_train.load(tmp_path / "less.pth", heads=2)


def test_a_fine_tuned_checkpoint_is_a_classifier(video: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(1)
    ours = Classifier(SMALL, GRID, 7, head_scale=1.0).eval()
    torch.save({"module": ours.state_dict()}, tmp_path / "tuned.pth")
    opened, _, _ = open_model(tmp_path / "tuned.pth", heads=2)
    assert isinstance(opened, Classifier)
    with torch.no_grad():
        torch.testing.assert_close(opened(video), ours(video), rtol=0, atol=1e-6)
    backbone = open_backbone(tmp_path / "tuned.pth", heads=2)
    with pytest.raises(InputError, match="its head knows 7 classes, the data set has 9"):
        classifier_weights(backbone, 9, reset_head=False)
    assert "head.weight" not in classifier_weights(backbone, 9, reset_head=True)
    tokens, _ = smile_train.load(tmp_path / "tuned.pth", heads=2).features(video)
    with torch.no_grad():
        torch.testing.assert_close(tokens, ours.tokens(video), rtol=0, atol=1e-5)
