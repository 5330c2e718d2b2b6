"""Files as training loops leave them: their weights are read, whatever lies beside them."""

import argparse
import datetime
import enum
import io
import json
import pickle
import random
import struct
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import smile_train
import torch
from safetensors.torch import save_file
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints.open import open_backbone
from smile_train.checkpoints.published import load_official, save_official
from smile_train.checkpoints.weight_files import (
    ENCODERS,
    open_folder,
    open_weights,
    read_own_state,
    read_weights,
)
from smile_train.models.config import StudentConfig
from smile_train.models.mae import PretrainModel

GRID = TokenGrid(frames=4, height=64, width=64)
SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2
)
Weights = dict[str, torch.Tensor]


class Mode(enum.Enum):
    """What options hold besides numbers."""

    TUBE = "tube"


class Settings:
    """A class of a training loop that is not installed where its file is read."""

    def __init__(self) -> None:
        self.root, self.rates = Path("data"), np.linspace(0, 1, 5)


@pytest.fixture(scope="module")
def model() -> PretrainModel:
    torch.manual_seed(0)
    return PretrainModel(SMALL, GRID, 16).eval()


@pytest.fixture(scope="module")
def optimizer(model: PretrainModel) -> torch.optim.Optimizer:
    """One that has taken a step, with NumPy's numbers among its settings."""
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sum(parameter.square().sum() for parameter in model.parameters()).backward()  # type: ignore
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    adam.step()
    model.load_state_dict(weights)
    adam.param_groups[0]["lr"] = np.float64(0.001)
    return adam


def options() -> argparse.Namespace:
    """Arguments as training scripts keep them."""
    return argparse.Namespace(
        num_frames=4, input_size=64, encoder_heads=2, decoder_heads=2,
        output_dir=Path("out"), started=datetime.datetime(2024, 5, 1), mode=Mode.TUBE,
        sizes=np.array([1, 2]), kind=np.dtype("float32"), settings=Settings(),
    )  # fmt: skip


def equal(found: Weights, expected: Weights) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], value) for name, value in expected.items()
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_a_training_loop_leaves_is_read_without_the_rest(
    zipped: bool,
    model: PretrainModel,
    optimizer: torch.optim.Optimizer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = {
        "model": OrderedDict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "args": options(),
        "epoch": 7,
        "rng": {"numpy": np.random.default_rng(0).bit_generator.state, "python": random.getstate()},
        "best": np.float32(0.5),
        "log": defaultdict(list, loss=[np.float64(1.0)]),
    }
    path = tmp_path / "last.pth"
    torch.save(data, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
    found = load_official(path)
    assert equal(found.weights, model.state_dict())
    assert found.epoch == 7
    assert found.args["num_frames"] == 4
    assert "output_dir" not in found.args
    [said] = caplog.messages
    assert "read without objects of" in said
    assert open_backbone(path).grid == GRID


WRAPPED: dict[str, tuple[str, ...]] = {
    "ddp": ("module",),
    "compiled": ("_orig_mod",),
    "lightning": ("model",),
    "lightning-compiled": ("model", "_orig_mod"),
    "compiled-ddp": ("_orig_mod", "module"),
    "ddp-compiled": ("module", "_orig_mod"),
    "fsdp": ("_fsdp_wrapped_module",),
    "nested": ("module", "model", "_orig_mod", "module"),
    "backbone": ("backbone",),
    "of-a-trainer": ("model", "student", "module"),
}


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", None])
def test_names_are_read_through_wrappers(
    wrapped: str, key: str | None, model: PretrainModel, tmp_path: Path
) -> None:
    prefix = "".join(f"{part}." for part in WRAPPED[wrapped])
    weights = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({key: weights, "epoch": torch.tensor(3)} if key else weights, tmp_path / "x.pt")
    assert equal(open_weights(tmp_path / "x.pt", ENCODERS).weights, model.state_dict())
    save_file(weights, tmp_path / "x.safetensors")
    assert equal(open_weights(tmp_path / "x.safetensors", ENCODERS).weights, model.state_dict())


def test_names_are_read_through_wrappers_of_parts(model: PretrainModel, tmp_path: Path) -> None:
    model.encoder = torch.nn.DataParallel(model.encoder)  # type: ignore[assignment]
    model.decoder = torch.compile(model.decoder)  # type: ignore[assignment]
    try:
        torch.save({"module": model.state_dict()}, tmp_path / "x.pt")
    finally:
        model.encoder = model.encoder.module  # type: ignore[assignment]
        model.decoder = model.decoder._orig_mod  # type: ignore[assignment]
    assert equal(open_weights(tmp_path / "x.pt", ENCODERS).weights, model.state_dict())


def averaged(model: PretrainModel) -> Weights:
    """What torch keeps of an average of weights."""
    average = torch.optim.swa_utils.AveragedModel(model)
    for parameter in average.parameters():
        parameter.data.mul_(0.5)
    return average.state_dict()


@pytest.mark.parametrize("key", ["model_ema", "ema_state_dict", "state_dict_ema", "ema"])
def test_an_average_is_taken_where_it_is_alone(
    key: str, model: PretrainModel, tmp_path: Path
) -> None:
    torch.save({key: averaged(model), "optimizer": {}, "epoch": 1}, tmp_path / "x.pth")
    opened = open_weights(tmp_path / "x.pth", ENCODERS)
    halves = {name: value * 0.5 for name, value in model.state_dict().items()}
    assert equal(opened.weights, halves)
    assert not opened.said
    torch.save({key: averaged(model), "model": model.state_dict()}, tmp_path / "both.pth")
    opened = open_weights(tmp_path / "both.pth", ENCODERS)
    assert equal(opened.weights, model.state_dict())
    assert opened.said == (f"took the weights in 'model'; there are others in {key}",)


def test_lightning_keeps_a_model_beside_others(model: PretrainModel, tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    state |= {f"model_ema.module.{name}": value for name, value in averaged(model).items()}
    state |= {"teacher.visual.conv1.weight": torch.ones(3), "loss.scale": torch.ones(1)}
    data = {
        "state_dict": state,
        "hyper_parameters": {"num_frames": 4, "root": Path("x")},
        "pytorch-lightning_version": "2.4.0",
        "callbacks": {"checkpoint": {"best_model_path": Path("y"), "best": torch.tensor(0.1)}},
        "loops": {"fit": {"progress": Settings()}},
    }
    torch.save(data, tmp_path / "x.ckpt")
    opened = open_weights(tmp_path / "x.ckpt", ENCODERS)
    assert equal(opened.weights, model.state_dict())
    assert opened.args == {"num_frames": 4}
    assert any("left out" in line and "teacher, loss" in line for line in opened.said)


def test_equally_good_models_are_not_guessed_at(model: PretrainModel, tmp_path: Path) -> None:
    weights = {f"{n}.{k}": w for n in ("first", "second") for k, w in model.state_dict().items()}
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"several models in it \(first\., second\.\)"):
        open_weights(tmp_path / "x.pt", ENCODERS)


def test_a_whole_pickled_module_is_read_without_its_classes(
    model: PretrainModel, tmp_path: Path
) -> None:
    torch.save({"net": torch.nn.Sequential(OrderedDict(model=model))}, tmp_path / "x.pt")
    found = open_weights(tmp_path / "x.pt", ENCODERS).weights
    own = model.state_dict()
    assert equal({name: found[name] for name in own}, own)


class _Scaled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_torchscript_is_read_and_not_run(tmp_path: Path) -> None:
    scripted = torch.jit.script(_Scaled())
    torch.jit.save(scripted, tmp_path / "x.pt")
    expected = {name: value.detach() for name, value in scripted.state_dict().items()}
    assert equal(read_weights(tmp_path / "x.pt"), expected)


KINDS: dict[str, Callable[[], torch.Tensor]] = {
    "view": lambda: torch.arange(20.0).view(4, 5)[1:, ::2],
    "transposed": lambda: torch.arange(6.0).view(2, 3).T,
    "half": lambda: torch.arange(6).half(),
    "bfloat16": lambda: torch.arange(6).bfloat16(),
    "float8": lambda: torch.arange(6).float().to(torch.float8_e4m3fn),
    "unsigned": lambda: torch.arange(6).to(torch.uint16),
    "bool": lambda: torch.tensor([True, False]),
    "complex": lambda: torch.ones(2, dtype=torch.complex64),
    "scalar": lambda: torch.tensor(7),
    "empty": lambda: torch.empty(0, 3),
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "with-attributes": lambda: _marked(torch.ones(3)),
}


def _marked(tensor: torch.Tensor) -> torch.Tensor:
    tensor.origin = Path("x")  # type: ignore[attr-defined]
    return tensor


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_every_kind_are_what_torch_reads(
    kind: str, zipped: bool, tmp_path: Path
) -> None:
    value = KINDS[kind]()
    weights = {"a": torch.ones(2), "b": value, "c": value.view(value.shape)}
    torch.save(weights, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / "x.pt")
    for name in weights:
        assert found[name].dtype == value.dtype or name == "a"
        torch.testing.assert_close(found[name], weights[name].detach(), rtol=0, atol=0)


def test_an_optimizer_is_not_even_read(model: PretrainModel, tmp_path: Path) -> None:
    torch.save({"model": model.state_dict(), "optimizer": [torch.ones(9000)]}, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    place = data.index(struct.pack("<f", 1.0) * 9000)
    (tmp_path / "x.pt").write_bytes(data[:place] + bytes(36000) + data[place + 36000 :])
    assert equal(open_weights(tmp_path / "x.pt", ENCODERS).weights, model.state_dict())


def test_damage_and_nothing_else_is_to_be_downloaded_again(
    model: PretrainModel, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    for zipped in (True, False):
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(InputError, match=r"damaged .*; download it again"):
            read_weights(path)
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:100] + path.read_bytes()[150:])
    with pytest.raises(InputError, match=r"damaged .*; download it again"):
        read_weights(path)
    torch.save(model.state_dict(), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged .*checksum.*; download it again"):
        read_weights(path)
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(data[:-5])
    with pytest.raises(InputError, match=r"damaged .*; download it again"):
        read_weights(tmp_path / "x.safetensors")


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


SOUND: dict[str, tuple[bytes, str]] = {
    "page": (b"<!DOCTYPE html><html>", "a web page, not a file of weights"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    "text": (b"hello, these are no weights at all", "no file of weights that is known"),
    "zip": (zipped("x.pth", b"x"), "a zip file that torch.save did not write"),
    "pickle": (pickle.dumps({"a": np.ones(3)}), "a pickle that torch.save did not write"),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_files_of_something_else_are_named(kind: str, tmp_path: Path) -> None:
    data, said = SOUND[kind]
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        load_official(tmp_path / "x.pth")
    assert "again" not in str(caught.value)


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    torch.save({"model": {"encoder.norm.weight": np.ones(3)}}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"refused to make objects of numpy.*_reconstruct") as told:
        load_official(tmp_path / "x.pth")
    assert "again" not in str(told.value)
    sparse = torch.eye(3).to_sparse()
    torch.save({"model": {"a": torch.ones(1), "b": sparse}}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"b is .*_rebuild_sparse_tensor"):
        load_official(tmp_path / "x.pth")


def test_shards_are_read_as_one(model: PretrainModel, tmp_path: Path) -> None:
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    parts = [dict(list(weights.items())[number::2]) for number in range(2)]
    for ending, save in (("safetensors", save_file), ("bin", torch.save)):
        folder = tmp_path / ending
        folder.mkdir()
        stem = "model" if ending == "safetensors" else "pytorch_model"
        placed = {}
        for number, part in enumerate(parts, 1):
            name = f"{stem}-0000{number}-of-00002.{ending}"
            save(part, folder / name)
            placed |= dict.fromkeys(part, name)
        index = folder / f"{stem}.{ending}.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
        assert equal(open_folder(folder, ENCODERS).weights, model.state_dict())
        for name in ("../x.bin", "/etc/passwd", "a/b.bin", ".hidden"):
            index.write_text(json.dumps({"weight_map": {"a": name}}))
            with pytest.raises(InputError, match="outside of its folder"):
                open_folder(folder, ENCODERS)
        index.write_text(json.dumps({"weight_map": {"a": "missing.bin"}}))
        with pytest.raises(InputError, match=r"lacks its shard missing\.bin"):
            open_folder(folder, ENCODERS)


def test_our_export_opens_with_plain_torch_load(model: PretrainModel, tmp_path: Path) -> None:
    """And as the published code reads it: `model` of a dict, `args` left alone."""
    save_official(tmp_path / "x.pth", model, args={"model": "smile"}, epoch=3)
    plain = torch.load(tmp_path / "x.pth")
    assert equal(plain["model"], model.state_dict())
    assert plain["epoch"] == 3
    assert plain["args"]["num_frames"] == 4
    again = load_official(tmp_path / "x.pth")
    assert again.args == plain["args"]
    assert equal(
        smile_train.load(tmp_path / "x.pth").encoder.state_dict(), model.encoder.state_dict()
    )


def test_a_runs_state_comes_back_as_it_was(
    optimizer: torch.optim.Optimizer, tmp_path: Path
) -> None:
    optimizer.param_groups[0]["lr"] = 0.001
    state = {
        "optimizer": optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "best": None,
        "step": 7,
        "history": [(1, 0.5), (2, float("inf"))],
        "done": True,
        "name": "a",
    }
    torch.save(state, tmp_path / "x.pt")
    found, expected = read_own_state(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt")
    assert found.keys() == expected.keys()
    assert found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    for number, moments in expected["optimizer"]["state"].items():
        assert equal(found["optimizer"]["state"][number], moments)
    assert torch.equal(found.pop("generator"), expected.pop("generator"))
    del found["optimizer"], expected["optimizer"]
    assert found == expected
    assert isinstance(found["history"][0], tuple)
