from pathlib import Path

import pytest
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.published import (
    load_official,
    load_weights,
    open_pretrained,
    save_official,
)
from smile_train.checkpoints.to_transformers import export_transformers, to_transformers
from smile_train.models.config import STUDENTS, StudentConfig
from smile_train.models.layers import cut_cubes, join_cubes, take
from smile_train.models.mae import PretrainModel
from smile_train.training.losses import pixel_targets, restore_pixels

GRID = TokenGrid(frames=4, height=64, width=64)
SMALL = StudentConfig(
    width=48, depth=2, heads=3, decoder_width=24, decoder_depth=1, decoder_heads=3
)


def make(grid: TokenGrid = GRID) -> PretrainModel:
    torch.manual_seed(0)
    model = PretrainModel(SMALL, grid, 32)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
            if name.endswith("weight"):
                parameter.data += 1
    return model.eval()


def clip(grid: TokenGrid = GRID, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (batch, grid.frames, grid.height, grid.width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_cubes_are_the_pixels_of_their_tokens_and_join_again() -> None:
    frames = clip()
    cubes = cut_cubes(frames, GRID)
    assert cubes.shape == (2, GRID.tokens, 2 * 16 * 16 * 3)
    t, row, column = 1, 2, 3
    token = (t * GRID.rows + row) * GRID.columns + column
    expected = frames[0, 2:4, 32:48, 48:64].reshape(-1)
    assert (cubes[0, token] == expected).all()
    assert (join_cubes(cubes, GRID) == frames).all()


def test_taking_tokens_equals_indexing() -> None:
    tokens = torch.randn(3, 10, 4)
    index = torch.stack([torch.randperm(10)[:6] for _ in range(3)])
    assert (
        take(tokens, index) == torch.stack([t[i] for t, i in zip(tokens, index, strict=True)])
    ).all()


def test_projection_equals_the_published_convolution() -> None:
    model, frames = make(), clip()
    unit = frames.float().permute(0, 4, 1, 2, 3) / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1, 1)
    expected = model.encoder.patch_embed.proj((unit - mean) / std).flatten(2).transpose(1, 2)
    got = model.encoder.patch_embed(cut_cubes(frames, GRID))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_the_encoder_does_not_see_masked_tokens() -> None:
    model, frames = make(), clip()
    order = torch.randperm(GRID.tokens)
    visible, masked = (part.sort().values.expand(2, -1) for part in (order[:10], order[10:]))
    cubes = cut_cubes(frames, GRID).clone()
    cubes[:, masked[0]] = 0
    spoilt = join_cubes(cubes, GRID)
    with torch.no_grad():
        assert (model(frames, visible, masked) == model(spoilt, visible, masked)).all()


def test_predictions_come_in_the_order_of_the_masked_tokens() -> None:
    model, frames = make(), clip()
    order = torch.randperm(GRID.tokens)
    visible, masked = order[:10].expand(2, -1), order[10:].expand(2, -1)
    with torch.no_grad():
        one = model(frames, visible, masked)
        other = model(frames, visible.flip(1), masked.flip(1))
    torch.testing.assert_close(one, other.flip(1), rtol=1e-4, atol=1e-5)


def test_compiled_blocks_share_a_graph_and_predict_the_same() -> None:
    """One graph for the encoder's blocks and one for the decoder's, however many there are."""
    model, order = make(), torch.arange(GRID.tokens).expand(2, -1)
    arguments = clip(), order[:, :8], order[:, 8:]
    with torch.no_grad():
        expected = model(*arguments)
        graphs = []
        torch.compiler.reset()
        model.compile(dynamic=False, backend=lambda graph, _: graphs.append(graph) or graph)
        assert (model(*arguments) == expected).all()
    assert len(graphs) == 2


def test_pixel_targets_can_be_turned_back_into_the_clip() -> None:
    frames = clip()
    restored = restore_pixels(pixel_targets(frames, GRID), frames, GRID)
    torch.testing.assert_close(restored, frames / 255, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", STUDENTS)
def test_published_sizes(name: str) -> None:
    with torch.device("meta"):
        model = PretrainModel(STUDENTS[name], TokenGrid(), 768)  # type: ignore[index]
    millions = sum(p.numel() for p in model.encoder.parameters()) / 1e6
    published = {"mini": 0.8, "tiny": 2, "vit-s": 22, "vit-b": 86, "vit-l": 303, "vit-h": 631}
    assert millions == pytest.approx(published[name], rel=0.06)


@pytest.mark.parametrize("grid", [GRID, TokenGrid()])
def test_transformers_encoder_is_equal(grid: TokenGrid, tmp_path: Path) -> None:
    from transformers import VideoMAEModel

    model, frames = make(grid), clip(grid, batch=1)
    export_transformers(model, tmp_path / "out")
    theirs = VideoMAEModel.from_pretrained(tmp_path / "out").eval()
    unit = frames.float().permute(0, 1, 4, 2, 3) / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 1, 3, 1, 1)
    with torch.no_grad():
        got = theirs((unit - mean) / std).last_hidden_state
        torch.testing.assert_close(got, model.encoder(frames), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="not empty"):
        export_transformers(model, tmp_path / "out")


def test_transformers_image_processor_feeds_the_same_pixels(tmp_path: Path) -> None:
    from transformers import VideoMAEImageProcessor

    model, frames = make(), clip(batch=1)
    export_transformers(model, tmp_path / "out")
    processor = VideoMAEImageProcessor.from_pretrained(tmp_path / "out")
    inputs = processor(list(frames[0].numpy()), return_tensors="pt")
    with torch.no_grad():
        got = to_transformers(model)(**inputs).last_hidden_state
        torch.testing.assert_close(got, model.encoder(frames), rtol=0, atol=1e-4)


def test_published_format_out_and_in(tmp_path: Path) -> None:
    model = make(TokenGrid())
    save_official(tmp_path / "out.pth", model, args={"model": "tiny"}, epoch=7)
    again, checkpoint = open_pretrained(tmp_path / "out.pth", TokenGrid(), heads=3)
    assert checkpoint.epoch == 7
    for name, value in model.state_dict().items():
        assert (again.state_dict()[name] == value).all()


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    save_official(path, make(), args={}, epoch=0)
    wider = PretrainModel(STUDENTS["tiny"], GRID, 32)
    with pytest.raises(InputError, match=r"other.pth: a checkpoint of another model"):
        load_weights(wider, load_official(path).weights, path)


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


@pytest.mark.parametrize("content", ["pickle", "empty", "text"])
def test_files_that_are_no_checkpoint_are_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "bad.pth"
    match content:
        case "pickle":
            torch.save({"model": {}, "args": Evil()}, path)
        case "empty":
            path.touch()
        case "text":
            path.write_text("no checkpoint")
    with pytest.raises(InputError, match=r"bad.pth"):
        load_official(path)
    assert "executed" not in capsys.readouterr().out
