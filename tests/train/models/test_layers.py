"""Float32 layers on a CPU: the same numbers as torch's, whatever multiplies."""

import pytest
import torch
import torch.nn.functional as F
from smile_train.models.config import STUDENTS
from smile_train.models.layers import ONE_DNN, Linear, linear, quicken
from smile_train.models.mae import PretrainModel
from smile_train.teachers import ClipTeacher
from torch import nn


@pytest.mark.parametrize("rows", [(7,), (2, 5), (3, 4, 33)])
@pytest.mark.parametrize("biased", [True, False])
def test_layer_and_gradients_are_those_of_torch(rows: tuple[int, ...], biased: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*rows, 48, generator=generator)
    parts = [x, torch.randn(40, 48, generator=generator), torch.randn(40, generator=generator)]
    found = []
    for layer in (F.linear, linear):
        taken = [part.clone().requires_grad_() for part in parts[: 3 if biased else 2]]
        out = layer(*taken)
        out.square().mean().backward()
        found.append([out.detach(), *(part.grad for part in taken)])
    for one, other in zip(*found, strict=True):
        assert other.shape == one.shape
        torch.testing.assert_close(other, one, rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(not ONE_DNN, reason="no processor of the kind")
def test_it_is_what_float32_models_run_through() -> None:
    """Counted by torch's profiler: products of float32 go to oneDNN, of bfloat16 as ever."""
    from smile_train.config.pretrain_presets import PRESETS

    grid = PRESETS["tiny"].grid
    model = PretrainModel(STUDENTS["tiny"], grid, 8)
    teacher = quicken(nn.Sequential(nn.Linear(8, 8)))
    frames = torch.zeros(1, *(grid.frames, grid.height, grid.width, 3), dtype=torch.uint8)
    tokens = torch.arange(grid.tokens)[None]
    for half in (False, True):
        with torch.profiler.profile() as seen, torch.autocast("cpu", enabled=half):
            model(frames, tokens[:, :50], tokens[:, 50:])
            teacher(torch.zeros(2, 8))
        count = {entry.key: entry.count for entry in seen.key_averages()}
        layers = sum(isinstance(part, Linear) for part in model.modules()) + 2
        assert count.get("mkldnn::_linear_pointwise", 0) == (0 if half else layers)
        assert ("aten::addmm" in count) == half


def test_a_teacher_of_open_clip_says_the_same() -> None:
    import open_clip

    torch.manual_seed(0)
    visual = open_clip.create_model("ViT-B-32-quickgelu", force_image_size=64).visual
    images = torch.randn(2, 3, 64, 64)
    visual.output_tokens = True
    with torch.no_grad():
        expected = visual.eval()(images)[1]
        found = ClipTeacher(visual).encode_images(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
