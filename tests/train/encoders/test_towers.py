"""Encoders of another architecture, against their own definitions."""

from pathlib import Path

import pytest
import smile_train
import torch
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_train.__main__ import COMMANDS
from smile_train.evaluation.results import Results

Weights = dict[str, torch.Tensor]


def clips(frames: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, frames, side, side, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_clip_is_open_clips_features_of_frames_averaged(tiny_clip: Path) -> None:
    import open_clip

    model = smile_train.load(f"clip:{tiny_clip}")
    theirs = open_clip.create_model(f"local-dir:{tiny_clip}").eval()
    size = model.grid.height
    video = clips(model.grid.frames, size)
    tokens, pooled = model.features(video)
    mean, std = torch.tensor(model.encoder.clip.mean), torch.tensor(model.encoder.clip.std)
    assert mean.tolist() == pytest.approx([0.5, 0.4, 0.3])  # the folder's own
    images = ((video / 255 - mean) / std).permute(0, 1, 4, 2, 3).flatten(0, 1)
    with torch.no_grad():
        expected = theirs.encode_image(images).unflatten(0, (2, -1)).mean(1)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)
    assert tokens.shape == (2, model.grid.tokens, model.width)
    assert model.frame_features(video).shape == (2, model.grid.frames, model.width)
    # What a frame gives does not depend on the others.
    other = video.clone()
    other[:, 1:] = 0
    same = model.frame_features(other)[:, 0]
    torch.testing.assert_close(same, model.frame_features(video)[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["strict", "knn"])
def test_a_clip_is_probed_like_our_own(
    kind: str, tiny_clip: Path, scenes: Path, tmp_path: Path
) -> None:
    arguments = [
        *("probe", kind, f"clip:{tiny_clip}", f"--data={scenes}", f"--out={tmp_path / 'out'}"),
        *("--stride=1", "--workers=0", "--precision=fp32", f"--cache={tmp_path / 'cache'}"),
        *("--segments=1", "--crops=1"),
    ]
    assert run_app("smile_train", "", COMMANDS, arguments) == 0
    results = Results.read(tmp_path / "out")
    assert results.metrics["top1"] > 80
    assert results.checkpoint["source"] == f"clip:{tiny_clip}"


@pytest.mark.parametrize("command", ["probe sigma", "probe attentive", "finetune"])
def test_what_trains_refuses_a_clip_in_a_line(
    command: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*command.split(), "clip:ViT-B-16", f"--data={scenes}", f"--out={tmp_path / 'out'}"]
    assert run_app("smile_train", "", COMMANDS, arguments) == 2
    said = capsys.readouterr().err
    assert "clip:ViT-B-16: of another architecture" in said
    assert "probe strict, probe knn" in said


WIDTH, DEPTH, SIDE, PATCH, JOINT = 128, 2, 64, 16, 24


def viclip(frames: int = 4) -> Weights:
    """A checkpoint as published: the vision tower, beside text and a temperature."""
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return 0.05 * torch.randn(shape, generator=generator)

    vision = {
        "class_embedding": draw(WIDTH),
        "positional_embedding": draw((SIDE // PATCH) ** 2 + 1, WIDTH),
        "temporal_positional_embedding": draw(1, frames, WIDTH),
        "conv1.weight": draw(WIDTH, 3, 1, PATCH, PATCH),
        "proj": draw(WIDTH, JOINT),
    }
    for norm in ("ln_pre", "ln_post"):
        vision |= {f"{norm}.weight": 1 + draw(WIDTH), f"{norm}.bias": draw(WIDTH)}
    for block in range(DEPTH):
        stem = f"transformer.resblocks.{block}"
        for norm in ("ln_1", "ln_2"):
            vision |= {f"{stem}.{norm}.weight": 1 + draw(WIDTH), f"{stem}.{norm}.bias": draw(WIDTH)}
        vision |= {
            f"{stem}.attn.in_proj_weight": draw(3 * WIDTH, WIDTH),
            f"{stem}.attn.in_proj_bias": draw(3 * WIDTH),
            f"{stem}.attn.out_proj.weight": draw(WIDTH, WIDTH),
            f"{stem}.attn.out_proj.bias": draw(WIDTH),
            f"{stem}.mlp.c_fc.weight": draw(4 * WIDTH, WIDTH),
            f"{stem}.mlp.c_fc.bias": draw(4 * WIDTH),
            f"{stem}.mlp.c_proj.weight": draw(WIDTH, 4 * WIDTH),
            f"{stem}.mlp.c_proj.bias": draw(WIDTH),
        }
    named = {f"vision_encoder.{name}": value for name, value in vision.items()}
    return named | {"temp": torch.ones(()), "text_encoder.ln_final.weight": torch.ones(4)}


def published_forward(weights: Weights, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tower's definition, stated again: tokens in (n t) order, the class token first."""
    own = {name.removeprefix("vision_encoder."): value for name, value in weights.items()}
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((video / 255 - mean) / std).permute(0, 4, 1, 2, 3)
    batch, _, frames = pixels.shape[:3]
    x = torch.nn.functional.conv3d(pixels, own["conv1.weight"], stride=(1, PATCH, PATCH))
    x = x.flatten(3).permute(0, 2, 3, 1).flatten(0, 1)  # (B T, patches, width)
    cls = own["class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([cls, x], 1) + own["positional_embedding"]
    cls, x = x[:batch, :1], x[:, 1:]
    x = x.unflatten(0, (batch, frames)).transpose(1, 2)  # (B, patches, T, width)
    x = torch.cat([cls, (x + own["temporal_positional_embedding"]).flatten(1, 2)], 1)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = own[f"{name}.weight"], own[f"{name}.bias"]
        return torch.nn.functional.layer_norm(x, (WIDTH,), weight, bias, 1e-5)

    x = norm(x, "ln_pre")
    for block in range(DEPTH):
        stem = f"transformer.resblocks.{block}"
        y = norm(x, f"{stem}.ln_1")
        qkv = y @ own[f"{stem}.attn.in_proj_weight"].T + own[f"{stem}.attn.in_proj_bias"]
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        shares = (q @ k.transpose(-2, -1) / 64**0.5).softmax(-1)
        y = (shares @ v).transpose(1, 2).flatten(2)
        x = x + y @ own[f"{stem}.attn.out_proj.weight"].T + own[f"{stem}.attn.out_proj.bias"]
        y = norm(x, f"{stem}.ln_2") @ own[f"{stem}.mlp.c_fc.weight"].T
        y = y + own[f"{stem}.mlp.c_fc.bias"]
        y = y * torch.sigmoid(1.702 * y)
        x = x + y @ own[f"{stem}.mlp.c_proj.weight"].T + own[f"{stem}.mlp.c_proj.bias"]
    x = norm(x, "ln_post")
    patches = x[:, 1:].unflatten(1, (-1, frames)).transpose(1, 2).flatten(1, 2)
    return patches, x[:, 0] @ own["proj"]


def test_viclip_is_what_was_published(tmp_path: Path) -> None:
    weights = viclip()
    torch.save({"model": weights}, tmp_path / "viclip.pth")
    model = smile_train.load(f"viclip:{tmp_path / 'viclip.pth'}")
    assert (model.grid.frames, model.grid.height, model.grid.tubelet) == (4, SIDE, 1)
    video = clips(4, SIDE)
    tokens, pooled = model.features(video)
    expected_tokens, expected = published_forward(weights, video)
    torch.testing.assert_close(tokens, expected_tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)


def test_what_is_no_viclip_is_refused(tmp_path: Path) -> None:
    weights = viclip()
    torch.save({"model": weights | {"vision_encoder.extra": torch.ones(1)}}, tmp_path / "more.pth")
    with pytest.raises(InputError, match="unknown extra"):
        smile_train.load(f"viclip:{tmp_path / 'more.pth'}")
    torch.save({"model": {"conv.weight": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not a ViCLIP"):
        smile_train.load(f"viclip:{tmp_path / 'other.pth'}")
    with pytest.raises(InputError, match="no such"):
        smile_train.load("viclip:/nowhere.pth")
