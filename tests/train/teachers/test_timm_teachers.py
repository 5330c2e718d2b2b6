"""DINO, DINOv2 and MAE as teachers, on small models of the same architectures."""

from pathlib import Path

import pytest
import timm
import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.teachers import TimmTeacher, open_teacher
from timm.models import save_for_hf

GRID = TokenGrid(frames=4, height=64, width=64)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def write(folder: Path, name: str, *, size: int, **arguments: object) -> torch.nn.Module:
    """Save a seeded model of an architecture, made small, as timm writes it to the hub."""
    torch.manual_seed(4)
    small = {"img_size": size, "embed_dim": 48, "depth": 2, "num_heads": 3, **arguments}
    model = timm.create_model(name, num_classes=0, **small)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": MEAN, "std": STD}
    save_for_hf(model, folder, model_args=small, safe_serialization=True)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a DINO-like, a DINOv2-like (registers, patch 14) and an MAE-like model."""
    root = tmp_path_factory.mktemp("timm")
    write(root / "dino", "vit_small_patch16_224.dino".partition(".")[0], size=64)
    write(root / "dinov2", "vit_small_patch14_reg4_dinov2", size=98)
    write(root / "mae", "vit_base_patch16_224", size=64)
    return {kind: root / kind for kind in ("dino", "dinov2", "mae")}


def clip(grid: TokenGrid = GRID) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, grid.frames, grid.height, grid.width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("kind", ["dino", "dinov2", "mae"])
def test_tokens_of_each_tubelets_first_frame_without_class_and_registers(
    folders: dict[str, Path], kind: str
) -> None:
    teacher = open_teacher(kind, str(folders[kind]), grid=GRID)  # type: ignore[arg-type]
    tokens = teacher(clip(), GRID)
    assert tokens.shape == (2, GRID.tokens, 48)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    changed = clip()
    changed[:, 1::2] = 0
    assert (teacher(changed, GRID) == tokens).all()


def test_tokens_are_those_of_timm_itself(folders: dict[str, Path]) -> None:
    model = timm.create_model(f"local-dir:{folders['dino']}", pretrained=True, num_classes=0).eval()
    frames = clip()
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    images = ((frames[:, 0] / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.forward_features(images)[:, 1:]
    teacher = TimmTeacher.open(str(folders["dino"]))
    torch.testing.assert_close(teacher(frames, GRID)[:, :16], expected, rtol=0, atol=1e-5)


def test_dinov2_is_fed_frames_of_the_students_size(folders: dict[str, Path]) -> None:
    teacher = open_teacher("dinov2", str(folders["dinov2"]), grid=GRID)
    assert (teacher.size, teacher.rows_columns) == ((56, 56), (4, 4))
    wide = TokenGrid(frames=2, height=64, width=128)
    assert open_teacher("dinov2", str(folders["dinov2"]), grid=wide).size == (56, 126)


def test_frames_of_another_shape_than_the_teachers_are_refused(folders: dict[str, Path]) -> None:
    wide = TokenGrid(frames=2, height=64, width=128)
    with pytest.raises(InputError, match="token grids cannot be matched"):
        open_teacher("dino", str(folders["dino"]), grid=wide)


@pytest.mark.parametrize("fault", ["name", "empty", "json", "weights", "resnet"])
def test_teachers_that_are_not_there_are_refused_in_a_line(
    fault: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    given, message = str(tmp_path), str(tmp_path)
    if fault == "name":
        given, message = "vit_huge_nonsense", "neither a folder nor a timm model"
    elif fault == "json":
        (tmp_path / "config.json").write_text("{}")
    elif fault in ("weights", "resnet"):
        for file in folders["dino"].iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        if fault == "weights":
            weights = tmp_path / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:2000])
        else:
            config = tmp_path / "config.json"
            config.write_text(config.read_text().replace("vit_small_patch16_224", "resnet18"))
            message = "vision transformer"
    with pytest.raises(InputError, match=message) as caught:
        TimmTeacher.open(given)
    assert "\n" not in str(caught.value)
