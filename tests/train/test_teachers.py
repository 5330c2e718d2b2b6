from pathlib import Path

import pytest
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.targets import normalise_targets
from smile_train.teachers import ClipTeacher

GRID = TokenGrid(frames=4, height=64, width=64)


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


def test_nothing_is_learned_by_the_teacher(tiny_clip: Path) -> None:
    teacher = ClipTeacher.open(str(tiny_clip))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(clip(), GRID).requires_grad


def test_normalised_channels_have_mean_zero_and_deviation_one(tiny_clip: Path) -> None:
    tokens = normalise_targets(ClipTeacher.open(str(tiny_clip))(clip(), GRID))
    torch.testing.assert_close(tokens.mean(1), torch.zeros(2, 32), rtol=0, atol=1e-5)
    torch.testing.assert_close(tokens.std(1), torch.ones(2, 32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "neither a file or folder nor an open_clip model"),
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
