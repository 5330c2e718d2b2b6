"""Files that strangers made run nothing when they are read."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import smile_train
import torch
from smile_motion import ObjectBank, read_clip
from smile_motion.bank.format import read_candidates, read_card, read_metadata
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.io.files import sha256
from smile_motion.motion.plan_json import read_plan
from smile_train.checkpoints.files import load_checkpoint, save_checkpoint
from smile_train.checkpoints.weight_files import read_weights
from smile_train.datasets.custom import read_manifest
from smile_train.teachers import ClipTeacher, TimmTeacher


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    """One that works; it has not gone off."""
    armed = Bomb(tmp_path / "went-off")
    pickle.loads(pickle.dumps(armed))
    armed.folder.rmdir()
    return armed


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def as_torchscript(data: bytes) -> bytes:
    """What `torch.save` wrote, posing as a TorchScript archive."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        top = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{top}/constants.pkl", archive.read(f"{top}/data.pkl"))
    return buffer.getvalue()


WEIGHTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "published": ("x.pth", smile_train.load),
    "hub": ("pytorch_model.bin", lambda path: smile_train.load(path.parent)),
    "viclip": ("x.pth", lambda path: smile_train.load(f"viclip:{path}")),
    "clip": ("x.pt", lambda path: ClipTeacher.open(str(path))),
    "clip-folder": ("open_clip_pytorch_model.bin", lambda path: ClipTeacher.open(str(path.parent))),
    "timm-folder": ("pytorch_model.bin", lambda path: TimmTeacher.open(str(path.parent))),
    "weights": ("x.safetensors", read_weights),
}
"""Readers of weights: how a file is named, and what reads it."""


@pytest.mark.parametrize("container", ["torch", "bare", "torchscript"])
@pytest.mark.parametrize("reader", WEIGHTS)
def test_weights_run_nothing(
    reader: str, container: str, tmp_path: Path, bomb: Bomb, tiny_folders: Path
) -> None:
    name, read = WEIGHTS[reader]
    folder = tmp_path / reader
    if (tiny_folders / reader).is_dir():
        shutil.copytree(tiny_folders / reader, folder)
    folder.mkdir(exist_ok=True)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    content = {"model": {"encoder.norm.weight": bomb}, "args": bomb}
    match container:
        case "torch":
            data = saved(content)
        case "bare":
            data = pickle.dumps(content)
        case _:
            data = as_torchscript(saved(content))
    (folder / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(folder / name)
    assert "\n" not in str(caught.value)
    assert not bomb.folder.exists()


@pytest.fixture(scope="module")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as open_clip, timm and transformers write them."""
    import timm
    from smile_motion.tokens import TokenGrid
    from smile_train.checkpoints.to_transformers import export_transformers
    from smile_train.models.config import STUDENTS
    from smile_train.models.mae import PretrainModel
    from support.tiny_clip import write_tiny_clip
    from timm.models import save_for_hf

    root = tmp_path_factory.mktemp("folders")
    write_tiny_clip(root / "clip-folder")
    small = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
    model = timm.create_model("vit_base_patch16_224", num_classes=0, **small)
    save_for_hf(model, root / "timm-folder", model_args=small, safe_serialization=True)
    student = PretrainModel(STUDENTS["tiny"], TokenGrid(frames=4, height=64, width=64), 1536)
    export_transformers(student, root / "hub")
    return root


@pytest.mark.parametrize("part", ["model.safetensors", "training.pt"])
def test_a_checkpoint_with_true_hashes_runs_nothing(part: str, tmp_path: Path, bomb: Bomb) -> None:
    path = save_checkpoint(
        tmp_path, 1, weights={"a": torch.zeros(1)}, training={"step": 1}, config={}, keep=1
    )
    (path / part).write_bytes(saved({"state": bomb}))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"][part] = sha256((path / part).read_bytes())
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=part):
        load_checkpoint(path)
    assert not bomb.folder.exists()


DOCUMENTS: dict[str, Callable[[Path, ObjectBank], object]] = {
    "plan.json": read_plan,
    "clip.json": read_clip,
    "recipe.json": lambda path, _: ClipOptions(recipe_file=path).make_recipe(),
    "bank.json": lambda path, _: read_card(path.parent),
    "metadata.jsonl": lambda path, _: read_metadata(path.parent),
    "candidates.jsonl": lambda path, _: read_candidates(path.parent),
    "train.jsonl": lambda path, _: read_manifest(path),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_run_nothing(
    name: str, tmp_path: Path, bomb: Bomb, small_bank: ObjectBank
) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(bomb))
    with pytest.raises(InputError, match=name):
        DOCUMENTS[name](tmp_path / name, small_bank)
    assert not bomb.folder.exists()


@pytest.mark.parametrize("name", ["ring", "category"])
def test_a_packed_bank_runs_nothing(
    name: str, tmp_path: Path, bomb: Bomb, small_bank: ObjectBank
) -> None:
    shutil.copytree(small_bank.path, tmp_path / "bank")
    array = np.empty(1, object)
    array[0] = bomb
    np.save(tmp_path / f"bank/packed/{name}.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=rf"{name}\.npy: damaged; run .* bank pack"):
        ObjectBank.open(tmp_path / "bank")
    assert not bomb.folder.exists()
