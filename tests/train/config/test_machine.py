"""Precision and threads: chosen by what this machine does, kept by runs that are resumed."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.runtime.devices import _quotas, available_cores
from smile_train.checkpoints.files import read_run_config
from smile_train.config.machine import (
    GAIN,
    choose_precision,
    measure_bf16,
    memory_parameters,
    settle_machine,
    share_cores,
    threads_of_environment,
)
from smile_train.config.pretrain_presets import PRESETS
from smile_train.config.run import RunOptions
from smile_train.training.pretrain import pretrain
from support import forked

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2",  # else all that this processor has
}
"""What a processor without AVX-512 and bfloat16 is played with."""
GLIBC = pytest.mark.skipif(
    "glibc" not in platform.libc_ver(),
    reason="elsewhere PyTorch has another OpenMP, and the C library no mallopt: nothing is set",
)
"""Runs on every Linux that PyTorch's wheels are for, continuous integration's too."""
CHOOSE = """
import json, torch
from smile_train.config.machine import choose_precision, measure_bf16
print(json.dumps([measure_bf16(), *choose_precision(torch.device("cpu"))]))
"""


def test_a_processor_without_bf16_gets_fp32() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE], env=os.environ | AVX2, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ratio, precision, why = json.loads(done.stdout)
    assert ratio > GAIN
    assert precision == "fp32"
    assert why == f"bf16 takes {ratio:.1f} times as long on this CPU"


def test_bf16_is_chosen_where_it_pays() -> None:
    ratio = measure_bf16()
    precision, why = choose_precision(torch.device("cpu"))
    assert precision == ("bf16" if ratio <= GAIN else "fp32")
    times = 1 / ratio if precision == "bf16" else ratio
    assert f"{times:.1f} times" in why
    # oneDNN takes bf16 wherever there is AVX-512, and only plays it where no instruction has it.
    if torch.cpu._is_avx512_bf16_supported() and os.environ.get("ATEN_CPU_CAPABILITY") is None:
        assert precision == "bf16"


def test_a_resumed_run_keeps_its_precision_and_threads(
    small_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Whatever the machine would choose: here the opposite of it."""
    best, _ = choose_precision(torch.device("cpu"))
    other = "fp32" if best == "bf16" else "bf16"
    config = replace(
        PRESETS["tiny"], size=32, frames=4, batch=2, workers=0, bank=small_bank.path, steps=2,
        stop_at=1, track="none", precision=other, cpu_threads=1, minutes=None,
        probe_motion_every=None,
    )  # fmt: skip
    pretrain(config, tmp_path / "run")
    capsys.readouterr()
    bare = replace(config, precision="auto", cpu_threads=None, resume=True)
    checkpoint = pretrain(replace(bare, stop_at=None), tmp_path / "run")
    err = capsys.readouterr().err
    assert f"{other}: the run began with it" in err
    assert "1 CPU thread: the run began with as many" in err
    stored = read_run_config(checkpoint / "config.json")
    assert (stored["precision"], stored["cpu_threads"]) == (other, 1)
    with pytest.raises(InputError, match=f"precision '{other}' there, '{best}' asked for"):
        pretrain(replace(bare, precision=best), tmp_path / "run")


def test_a_new_run_stores_what_was_chosen(
    small_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = replace(
        PRESETS["tiny"], size=32, frames=4, batch=2, workers=0, bank=small_bank.path, steps=1,
        track="none", minutes=None, probe_motion_every=None,
    )  # fmt: skip
    pretrain(config, tmp_path / "run")
    precision, why = choose_precision(torch.device("cpu"))
    assert capsys.readouterr().err.count(f"{precision}: {why}") == 1
    stored = read_run_config(tmp_path / "run/config.json")
    assert (stored["precision"], stored["cpu_threads"]) == (precision, torch.get_num_threads())


@pytest.mark.parametrize(
    ("environment", "launcher", "threads"),
    [
        ({}, None, None),
        ({"OMP_NUM_THREADS": "1"}, {}, 1),
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"}, {"HOME": "/"}, None),
        ({"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, None, None),
        (
            {"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"},
            {"OMP_NUM_THREADS": "1"},
            1,
        ),
        ({"OMP_NUM_THREADS": "3", "ACCELERATE_MIXED_PRECISION": "no"}, {}, 3),
        ({"OMP_NUM_THREADS": "many"}, {}, None),
    ],
)
def test_threads_are_those_of_a_person_not_of_a_launcher(
    environment: dict[str, str], launcher: dict[str, str] | None, threads: int | None
) -> None:
    assert threads_of_environment(environment, launcher) == threads


@pytest.mark.slow
def test_accelerate_launch_leaves_all_cores_to_a_run() -> None:
    """As it is: its own default of 1, and a person's 1, are told apart."""
    code = "from smile_train.config.machine import share_cores; print(*share_cores())"
    launch = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes=1"),
        *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--no_python"),
        *(sys.executable, "-c", code),
    ]
    bare = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    cores = available_cores()
    for environment, said in (
        (bare, f"{cores} core{'s' * (cores > 1)} here"),
        (bare | {"OMP_NUM_THREADS": "1"}, "OMP_NUM_THREADS"),
    ):
        done = subprocess.run(launch, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


@GLIBC
def test_freed_memory_is_used_again() -> None:
    done = forked.run("support.page_faults", [])
    assert done.returncode == 0, done.stderr
    before, kept = map(int, done.stdout.split())
    assert kept < before / 4


@pytest.mark.slow
@GLIBC
@pytest.mark.parametrize(("policy", "spins"), [(None, "1000"), ("active", "30000000000")])
def test_threads_sleep_soon_unless_people_said_otherwise(policy: str | None, spins: str) -> None:
    """As OpenMP says itself when PyTorch loads it."""
    environment = os.environ | {"OMP_DISPLAY_ENV": "verbose"}
    if policy is not None:
        environment["OMP_WAIT_POLICY"] = policy
    command = [sys.executable, "-m", "smile_train", "export", "none", "--out", "nowhere"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{spins}'" in ended.stderr


def test_variables_that_people_set_stay() -> None:
    assert memory_parameters({}) == {-3: 2**25, -1: 2**31 - 1}
    assert memory_parameters({"MALLOC_TRIM_THRESHOLD_": "65536"}) == {-3: 2**25}
    assert memory_parameters({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=65536"}) == {}


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    cores = available_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * cores))
    assert share_cores()[0] == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert share_cores()[0] == cores
    assert share_cores(3) == (3, "--cpu-threads")
    fewer, why = share_cores(begun=cores + 1)
    assert fewer == cores
    assert f"the run began with {cores + 1}" in why


def test_refusals() -> None:
    with pytest.raises(InputError, match="fp16 needs a CUDA device; use auto"):
        settle_machine("fp16", None)
    with pytest.raises(InputError, match="--cpu-threads is 0; give 1 or more"):
        RunOptions(cpu_threads=0)


def test_limits_of_control_groups(tmp_path: Path) -> None:
    """Both versions, with the limit on the group itself or above it."""
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    (root / "user/task").mkdir(parents=True)
    own.write_text("0::/user/task\n")
    (root / "user/task/cpu.max").write_text("max 100000\n")
    assert _quotas(root, own) == []
    (root / "user/cpu.max").write_text("150000 100000\n")
    assert _quotas(root, own) == [2]
    own.write_text("9:memory:/m\n4:cpu,cpuacct:/task\n")
    (root / "cpu/task").mkdir(parents=True)
    (root / "cpu/task/cpu.cfs_quota_us").write_text("300000\n")
    (root / "cpu/task/cpu.cfs_period_us").write_text("100000\n")
    (root / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert _quotas(root, own) == [3]
    assert _quotas(root, tmp_path / "missing") == []
