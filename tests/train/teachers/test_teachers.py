import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.teachers import ClipTeacher
from smile_train.training.losses import normalize_targets

GRID = TokenGrid(frames=4, height=64, width=64)
CONFIG = "open_clip_config.json"
FIXTURE = Path(__file__).parents[2] / "fixtures/official/clip_visual.safetensors"


def clip(grid: TokenGrid = GRID) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, grid.frames, grid.height, grid.width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_tokens_are_those_of_each_tubelets_first_frame(tiny_clip: Path) -> None:
    teacher, frames = ClipTeacher.open(str(tiny_clip)), clip()
    tokens = teacher(frames, GRID)
    assert tokens.shape == (2, GRID.tokens, 32)
    changed = frames.clone()
    changed[:, 1::2] = 0
    assert (teacher(changed, GRID) == tokens).all()
    changed[:, 2] = 0
    assert (teacher(changed, GRID)[:, :16] == tokens[:, :16]).all()
    assert (teacher(changed, GRID)[:, 16:] != tokens[:, 16:]).any()


def test_the_teachers_own_normalisation_is_used_unless_the_published_way_is_asked_for(
    tiny_clip: Path,
) -> None:
    assert ClipTeacher.open(str(tiny_clip)).mean == (0.5, 0.4, 0.3)
    official = ClipTeacher.open(str(tiny_clip), official_input=True)
    assert official.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    "grid",
    [TokenGrid(frames=2, height=96, width=96), TokenGrid(frames=2, height=64, width=64, patch=8)],
)
def test_another_token_grid_is_met_by_resizing(tiny_clip: Path, grid: TokenGrid) -> None:
    tokens = ClipTeacher.open(str(tiny_clip))(clip(grid), grid)
    assert tokens.shape == (2, grid.tokens, 32)
    assert tokens.isfinite().all()


def test_tokens_are_those_of_open_clip_itself(tiny_clip: Path) -> None:
    teacher = ClipTeacher.open(str(tiny_clip))
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = teacher.visual(images)[1]
    torch.testing.assert_close(teacher.encode_images(images), expected, rtol=0, atol=1e-5)


def test_compiled_blocks_share_a_graph_and_say_the_same(tiny_clip: Path) -> None:
    teacher, frames = ClipTeacher.open(str(tiny_clip)), clip()
    expected, graphs = teacher(frames, GRID), []
    torch.compiler.reset()
    teacher.compile(dynamic=False, backend=lambda graph, _: graphs.append(graph) or graph)
    assert (teacher(frames, GRID) == expected).all()
    assert len(graphs) == 1


def test_nothing_is_learned_by_the_teacher(tiny_clip: Path) -> None:
    teacher = ClipTeacher.open(str(tiny_clip))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(clip(), GRID).requires_grad


def test_normalised_channels_have_mean_zero_and_deviation_one(tiny_clip: Path) -> None:
    tokens = normalize_targets(ClipTeacher.open(str(tiny_clip))(clip(), GRID))
    torch.testing.assert_close(tokens.mean(1), torch.zeros(2, 32), rtol=0, atol=1e-5)
    torch.testing.assert_close(tokens.std(1), torch.ones(2, 32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "neither a folder nor an open_clip model"),
        ("ViT-B-16-quickgelu:nowhere", "has no weights 'nowhere'"),
        ("./missing.pt", "no such teacher"),
    ],
)
def test_a_teacher_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClipTeacher.open(name)


def test_a_folder_without_weights_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_bytes(
        (tiny_clip / "open_clip_config.json").read_bytes()
    )
    with pytest.raises(InputError, match=str(tmp_path)):
        ClipTeacher.open(str(tmp_path))


def test_the_prefix_of_open_clip_is_understood(tiny_clip: Path) -> None:
    plain, prefixed = (ClipTeacher.open(f"{before}{tiny_clip}") for before in ("", "local-dir:"))
    assert (plain(clip(), GRID) == prefixed(clip(), GRID)).all()
    with pytest.raises(InputError, match="no such teacher"):
        ClipTeacher.open("local-dir:nowhere")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_openai_named_weights_is_opened_with_its_description(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"tower{suffix}"
    weights = load_file(FIXTURE)
    if suffix == ".pt":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    with pytest.raises(InputError, match=rf'tower\{suffix}: .*48 .* 0 attention heads.*"heads"'):
        ClipTeacher.open(str(path))
    description = path.with_suffix(".json")
    description.write_text('{"heads": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}')
    teacher = ClipTeacher.open(str(path))
    assert (teacher.mean, teacher.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    frames = clip(TokenGrid(frames=2))
    expected = ClipTeacher.from_visual_weights(weights, heads=3, mean=teacher.mean, std=teacher.std)
    assert (teacher(frames, TokenGrid(frames=2)) == expected(frames, TokenGrid(frames=2))).all()
    for wrong in ("[]", "{", '{"heads": 0}', '{"head": 3}', '{"mean": [1, 2]}', '{"heads": 7}'):
        description.write_text(wrong)
        with pytest.raises(InputError, match=rf"tower\{suffix}: "):
            ClipTeacher.open(str(path))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_a_torchscript_archive_of_openais_is_opened(tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(6)
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}
    model = open_clip.model.CLIP(16, vision, text, quick_gelu=True).eval()  # type: ignore[arg-type]
    # As in OpenAI's archives, the mask is a constant and three scalars are among the weights.
    mask = model.attn_mask
    del model.attn_mask
    model.attn_mask = mask
    for name, value in (("input_resolution", 32), ("context_length", 8), ("vocab_size", 64)):
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        model.visual.output_tokens = True
        expected = model.visual(images)[1].numpy()
        model.visual.output_tokens = False
    example = (images, torch.zeros(2, 8, dtype=torch.long))
    with torch.no_grad():
        torch.jit.trace(model, example, strict=False, check_trace=False).save(tmp_path / "a.pt")
    teacher = ClipTeacher.open(str(tmp_path / "a.pt"))
    np.testing.assert_allclose(teacher.encode_images(images), expected, rtol=0, atol=1e-3)


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "content", ["empty", "text", "pickle", "list", "other", "script", "short", "missing"]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_that_hold_no_teacher_are_refused_by_name(
    content: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / f"bad{suffix}"
    match content:
        case "empty":
            path.touch()
        case "text":
            path.write_text("no weights")
        case "pickle":
            torch.save({"visual.proj": Evil()}, path)
        case "list":
            torch.save([torch.zeros(2)], path)
        case "other":
            torch.save({"weight": torch.zeros(2)}, path)
        case "script":
            torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
        case "short":
            path.write_bytes(FIXTURE.read_bytes()[:5000])
        case "missing":
            path.with_suffix(".json").write_text(json.dumps({"heads": 3}))
            weights = load_file(FIXTURE)
            del weights["visual.ln_post.weight"]
            save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    with pytest.raises(InputError, match=rf"bad\{suffix}: .*; ") as caught:
        ClipTeacher.open(str(path))
    assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["torn", "list", "json"])
def test_a_folder_that_open_clip_cannot_read_is_refused(
    fault: str, tiny_clip: Path, tmp_path: Path
) -> None:
    for file in tiny_clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights, config = (tmp_path / name for name in ("open_clip_model.safetensors", CONFIG))
    match fault:
        case "torn":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "list":
            config.write_text("[]")
        case "json":
            config.write_text("{nope")
    with pytest.raises(InputError, match=str(tmp_path)):
        ClipTeacher.open(str(tmp_path))
