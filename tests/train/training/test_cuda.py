"""Training on a CUDA device: the losses of the CPU in every precision, compiled and sharded too."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import smile_train
import timm
import torch
from safetensors.torch import load_file
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import read_run_config
from smile_train.config.machine import choose_precision
from smile_train.evaluation.results import Results
from smile_train.teachers import ClipTeacher, TimmTeacher
from support import forked

pytestmark = pytest.mark.cuda

GRID = TokenGrid(frames=4, height=64, width=64)
QUICK = [
    "pretrain", "--preset=tiny", "--patch=16", "--frames=4", "--batch=8", "--workers=0",
    "--steps=8", "--log-every=1", "--track=none",
]  # fmt: skip
Train = Callable[..., list[float]]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def arguments(small_bank: ObjectBank) -> list[str]:
    return [*QUICK, f"--bank={small_bank.path}"]


@pytest.fixture(scope="module")
def on_cpu(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses in float32 in a process that sees no CUDA device."""
    folder = tmp_path_factory.mktemp("cpu")
    process = forked.start("smile_train", [*arguments, "--precision=fp32", "--out=run"], cwd=folder)
    _, err = process.communicate()
    assert process.wait() == 0, err
    return losses(folder / "run")


@pytest.fixture
def train(arguments: list[str], tmp_path: Path) -> Train:
    """Train in this process, on the device; returns the losses."""

    def run(*more: str, out: str = "run") -> list[float]:
        words = [*arguments, *more, f"--out={tmp_path / out}"]
        assert run_app("smile_train", "", COMMANDS, words, default="pretrain") == 0
        return losses(tmp_path / out)

    return run


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 2e-4), ("bf16", 2e-2), ("fp16", 2e-2)]
)
@pytest.mark.parametrize("render", ["cpu", "device"])
def test_losses_are_those_of_the_cpu(
    train: Train, on_cpu: list[float], precision: str, tolerance: float, render: str
) -> None:
    found = train(f"--precision={precision}", f"--render={render}")
    assert found == pytest.approx(on_cpu, rel=tolerance)


def test_compiled_models_learn_the_same(train: Train, on_cpu: list[float]) -> None:
    assert train("--precision=fp32", "--compile") == pytest.approx(on_cpu, rel=1e-3)


def test_the_precision_chosen_is_the_fastest_that_the_device_has(
    train: Train, tmp_path: Path
) -> None:
    half = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    assert choose_precision(torch.device("cuda"))[0] == half
    train("--stop-at=1")
    assert read_run_config(tmp_path / "run/config.json")["precision"] == half


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(train: Train, tmp_path: Path) -> None:
    straight = train("--precision=fp16", out="straight")
    train("--precision=fp16", "--stop-at=4", out="stopped")
    assert train("--precision=fp16", "--resume", out="stopped") == pytest.approx(straight, rel=1e-5)
    one, other = (
        load_file(tmp_path / name / "checkpoints/step_00000008/model.safetensors")
        for name in ("straight", "stopped")
    )
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("sharded", [False, True])
def test_one_launched_process_learns_the_same(
    arguments: list[str], on_cpu: list[float], sharded: bool, tmp_path: Path
) -> None:
    """By `accelerate launch`; with FSDP2 the model is a shard of itself."""
    how = ["--num_processes=1", "--num_machines=1", "--dynamo_backend=no", "--mixed_precision=no"]
    if sharded:
        how += [
            "--use_fsdp", "--fsdp_version=2", "--fsdp_auto_wrap_policy=TRANSFORMER_BASED_WRAP",
            "--fsdp_transformer_layer_cls_to_wrap=Block",
        ]  # fmt: skip
    for more in ("--stop-at=4", "--resume"):
        words = [*arguments, "--precision=fp32", f"--out={tmp_path / 'run'}", more]
        done = subprocess.run(
            [sys.executable, "-m", "accelerate.commands.launch", *how, "-m", "smile_train", *words],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == pytest.approx(on_cpu, rel=2e-4)


@pytest.fixture
def clip() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 4, 64, 64, 3), dtype=torch.uint8, generator=generator)


def small_timm_teacher(name: str, size: int) -> TimmTeacher:
    torch.manual_seed(4)
    sizes = {"img_size": size, "embed_dim": 48, "depth": 2, "num_heads": 3}
    model = timm.create_model(name, num_classes=0, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return TimmTeacher(model)


@pytest.mark.parametrize("kind", ["clip", "dino", "dinov2", "mae"])
def test_teachers_say_what_they_say_on_the_cpu(
    kind: str, tiny_clip: Path, clip: torch.Tensor
) -> None:
    teacher = {
        "clip": lambda: ClipTeacher.open(str(tiny_clip)),
        "dino": lambda: small_timm_teacher("vit_small_patch16_224", 64),
        "dinov2": lambda: small_timm_teacher("vit_small_patch14_reg4_dinov2", 98),
        "mae": lambda: small_timm_teacher("vit_base_patch16_224", 64),
    }[kind]()
    expected = teacher(clip, GRID)
    teacher, there = teacher.to("cuda"), clip.to("cuda")
    torch.testing.assert_close(teacher(there, GRID).cpu(), expected, rtol=1e-2, atol=1e-2)
    with torch.autocast("cuda", torch.bfloat16):
        found = teacher(there, GRID)
    assert found.dtype == torch.float32
    error = (found.cpu() - expected).norm() / expected.norm()
    assert error < 2e-2


def test_an_encoder_on_the_device_has_the_features_of_the_cpu(checkpoint: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8, generator=generator)
    expected, _ = smile_train.load(checkpoint).features(video)
    found, _ = smile_train.load(checkpoint).to("cuda").features(video)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("command", ["knn", "strict", "attentive"])
def test_probes_tell_scenes_apart(
    command: str, checkpoint: Path, scenes: Path, tmp_path: Path
) -> None:
    words = [
        "probe", command, str(checkpoint), f"--data={scenes}", f"--out={tmp_path / 'run'}",
        "--stride=1", "--workers=0", "--segments=1", "--crops=1",
    ]  # fmt: skip
    assert run_app("smile_train", "", COMMANDS, words) == 0
    assert Results.read(tmp_path / "run").metrics["top1"] >= 75


@pytest.mark.parametrize("more", [(), ("--compile",)])
def test_fine_tuning_learns_a_separable_task(
    checkpoint: Path, scenes: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    words = [
        "finetune", str(checkpoint), f"--data={scenes}", f"--out={tmp_path / 'run'}", "--batch=8",
        "--stride=1", "--workers=0", "--track=none", "--mixup=0", "--cutmix=0", "--segments=1",
        "--crops=1", "--epochs=12", "--base-lr=3e-2", "--ema=0.7", *more,
    ]  # fmt: skip
    assert run_app("smile_train", "", COMMANDS, words) == 0
    assert Results.read(tmp_path / "run").metrics["top1"] >= 90
