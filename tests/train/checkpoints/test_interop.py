"""Checkpoints of other systems: what is inferred from them, and what is refused."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.from_transformers import from_transformers
from smile_train.checkpoints.open import open_checkpoint
from smile_train.checkpoints.published import (
    OfficialCheckpoint,
    infer_student,
    load_official,
    save_official,
)
from smile_train.checkpoints.to_transformers import export_transformers, to_transformers
from smile_train.models.config import STUDENTS, StudentConfig
from smile_train.models.mae import PretrainModel

FIXTURES = Path(__file__).parents[2] / "fixtures/official"
GRID = TokenGrid(frames=4, height=64, width=64)
SMALL = StudentConfig(
    width=48, depth=2, heads=3, decoder_width=24, decoder_depth=1, decoder_heads=2
)


def make(config: StudentConfig = SMALL, grid: TokenGrid = GRID) -> PretrainModel:
    torch.manual_seed(0)
    model = PretrainModel(config, grid, 16)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def clip(grid: TokenGrid = GRID) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (1, grid.frames, grid.height, grid.width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def predict(model: PretrainModel) -> torch.Tensor:
    tokens = torch.arange(model.grid.tokens)[None]
    with torch.no_grad():
        return model(clip(model.grid), tokens[:, ::2], tokens[:, 1::2])


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("told", [False, True])
def test_a_published_size_is_inferred_without_being_told_its_heads(name: str, told: bool) -> None:
    config = STUDENTS[name]  # type: ignore[index]
    with torch.device("meta"):
        weights = PretrainModel(config, GRID, 8).state_dict()
    checkpoint = OfficialCheckpoint(path=Path("x.pth"), weights=weights, args={}, epoch=None)
    assert infer_student(checkpoint, heads=config.heads if told else None) == config


@given(
    heads=st.integers(1, 6),
    decoder_heads=st.integers(1, 6),
    head_width=st.sampled_from([2, 4, 16]),
    depth=st.integers(1, 3),
    decoder_depth=st.integers(1, 3),
)
def test_what_is_exported_is_inferred_again(
    tmp_path_factory: pytest.TempPathFactory,
    heads: int,
    decoder_heads: int,
    head_width: int,
    depth: int,
    decoder_depth: int,
) -> None:
    config = StudentConfig(
        width=heads * head_width,
        depth=depth,
        heads=heads,
        mlp_ratio=2,
        decoder_width=decoder_heads * head_width,
        decoder_depth=decoder_depth,
        decoder_heads=decoder_heads,
    )
    path = tmp_path_factory.mktemp("official") / "out.pth"
    save_official(path, PretrainModel(config, GRID, 4), args={}, epoch=0)
    assert infer_student(load_official(path)) == config


@pytest.mark.parametrize("grid", [GRID, TokenGrid(frames=2, height=32, width=32, patch=8)])
def test_predictions_survive_the_published_format(grid: TokenGrid, tmp_path: Path) -> None:
    model = make(grid=grid)
    save_official(tmp_path / "new/out.pth", model, args={"model": "smile"}, epoch=3)
    again, _ = open_checkpoint(tmp_path / "new/out.pth")
    assert isinstance(again, PretrainModel)
    assert again.grid == grid
    assert (predict(again) == predict(model)).all()


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"mine\.pth: exists; choose another --out"):
        save_official(path, make(), args={}, epoch=0)
    with pytest.raises(InputError, match="square ones only"):
        save_official(
            tmp_path / "wide.pth",
            make(grid=TokenGrid(frames=2, height=32, width=64)),
            args={},
            epoch=0,
        )
    assert [file.name for file in tmp_path.iterdir()] == ["mine.pth"]
    assert path.read_text() == "precious"


def test_heads_that_nothing_tells_are_asked_for() -> None:
    with pytest.raises(InputError, match=r"pretrain_pixel\.pth: .* give them with --heads"):
        open_checkpoint(FIXTURES / "pretrain_pixel.pth")
    with pytest.raises(InputError, match=r"pretrain_pixel\.pth: encoder width 48 .* 5 heads"):
        open_checkpoint(FIXTURES / "pretrain_pixel.pth", heads=5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "holds no tensors by name under model"),
        ({"encoder.patch_embed.proj.weight": torch.zeros(64)}, "no encoder.blocks.0.mlp"),
        (
            {
                "encoder.patch_embed.proj.weight": torch.zeros(64, 3, 2, 4, 4),
                "encoder.blocks.0.mlp.fc1.weight": torch.zeros(()),
            },
            "another architecture",
        ),
        (
            {
                "encoder.patch_embed.proj.weight": torch.zeros(64, 3, 2, 4, 4),
                "encoder.blocks.0.mlp.fc1.weight": torch.zeros(256, 64),
                "encoder.blocks.last.mlp.fc1.weight": torch.zeros(256, 64),
            },
            "another architecture",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused_by_file(
    weights: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    torch.save({"model": weights}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=rf"other\.pth: .*{message}"):
        open_checkpoint(tmp_path / "other.pth")


@given(content=st.binary(max_size=60))
@example(content=b"junk")
@example(content=b"\x80\x02}q\x00")
def test_bytes_that_are_no_checkpoint_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pth: ") as caught:
        load_official(path)
    assert "\n" not in str(caught.value)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), kept=st.floats(0, 1))
def test_damage_to_a_checkpoint_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int, kept: float
) -> None:
    path = tmp_path_factory.mktemp("damage") / "damaged.pth"
    torch.save({"model": {"mask_token": torch.zeros(1, 1, 4)}, "epoch": 1}, path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = value
    path.write_bytes(content[: int(kept * len(content))] if kept < 0.5 else content)
    with suppress(InputError):
        load_official(path)


@pytest.mark.parametrize("from_folder", [False, True])
def test_an_encoder_comes_back_from_transformers(from_folder: bool, tmp_path: Path) -> None:
    model = make()
    if from_folder:
        export_transformers(model, tmp_path / "out")
        encoder, config = from_transformers(tmp_path / "out")
    else:
        encoder, config = from_transformers(to_transformers(model))
    assert config == SMALL
    assert encoder.grid == GRID
    for name, value in model.encoder.state_dict().items():
        assert (encoder.state_dict()[name] == value).all(), name
    with torch.no_grad():
        assert (encoder(clip()) == model.encoder(clip())).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_mean_pooling": True}, "no final norm"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"patch_size": [16, 8]}, "patches of 16 x 8"),
    ],
)
def test_another_architecture_in_transformers_is_refused(change: dict, message: str) -> None:
    from transformers import VideoMAEConfig, VideoMAEModel

    sizes = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3, "image_size": 32}
    settings = {**sizes, "intermediate_size": 96, "use_mean_pooling": False, **change}
    with pytest.raises(InputError, match=message):
        from_transformers(VideoMAEModel(VideoMAEConfig(**settings)))


def test_biases_left_out_in_transformers_are_zeros() -> None:
    from transformers import VideoMAEConfig, VideoMAEModel

    theirs = VideoMAEModel(
        VideoMAEConfig(
            hidden_size=48,
            num_hidden_layers=1,
            num_attention_heads=3,
            intermediate_size=100,  # no multiple of the width
            image_size=64,
            num_frames=4,
            qkv_bias=False,
            qv_bias=False,
            layer_norm_eps=1e-6,
            use_mean_pooling=False,
            decoder_num_attention_heads=6,
        )
    ).eval()
    encoder, _ = from_transformers(theirs)
    mean, std = encoder.patch_embed.mean, encoder.patch_embed.std
    pixels = ((clip() / 255 - mean) / std).permute(0, 1, 4, 2, 3)
    with torch.no_grad():
        expected = theirs(pixels).last_hidden_state
        torch.testing.assert_close(encoder(clip()), expected, rtol=0, atol=1e-5)


def test_folders_that_transformers_cannot_read_whole_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        from_transformers(tmp_path)
    export_transformers(make(), tmp_path / "out")
    weights = tmp_path / "out/model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged .*; download it again"):
        from_transformers(tmp_path / "out")
    from safetensors.torch import load, save_file

    rest = {name: value for name, value in load(content).items() if "layernorm_after" not in name}
    save_file(rest, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"missing blocks\.0\.norm2\.weight"):
        from_transformers(tmp_path / "out")


@pytest.mark.slow
def test_the_export_command_refuses_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "smile_train", "export"]
    source = str(FIXTURES / "pretrain_pixel.pth")
    done = subprocess.run(
        [*command, source, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--heads" in done.stderr
    assert not list(tmp_path.iterdir())
