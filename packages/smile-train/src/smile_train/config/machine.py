"""What a run takes from the machine that it begins on: threads and precision, decided once."""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from smile_motion.errors import InputError
from smile_motion.runtime.devices import available_cores, has_bf16

from smile_train.config.run import Precision, PrecisionName
from smile_train.models.layers import linear

DTYPES: dict[PrecisionName, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}
"""Types of activations by precision."""
GAIN = 0.9
"""Share of float32's time that bfloat16 may take on a CPU to be chosen. Ours: near it nothing is
won but rounding."""
TRIAL = (512, 384, 1536)
"""Rows, inputs and outputs of the linear layer that is timed: one of ViT-S."""
TRIAL_S = 0.05
"""Seconds for which it is."""
LAUNCHERS = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")
"""Variables that tell processes of `accelerate launch` and `torchrun`."""
MALLOPT = {"MALLOC_MMAP_THRESHOLD_": (-3, 2**25), "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1)}
"""Parameters of glibc's `mallopt` and what they are set to, by the variables with which people set
them: the largest size of a block that is mapped by itself otherwise, and how much stays at the
end."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a run uses."""

    precision: PrecisionName
    """Type of activations."""
    cpu_threads: int
    """Threads of torch in this process."""
    threads_are_free: bool
    """Whether nobody asked for as many: fewer will do where they are faster."""
    said: str
    """What was chosen and why, a line each; to be printed once, by one process."""


def settle_machine(
    precision: Precision,
    cpu_threads: int | None,
    *,
    begun_precision: PrecisionName | None = None,
    begun_threads: int | None = None,
) -> Machine:
    """Set torch's threads, choose a precision; all processes of a run get the same one.

    Args:
        precision: The one asked for.
        cpu_threads: Number asked for; None for this process's share of the cores.
        begun_precision: Precision that the run began with and keeps unless another is asked for.
        begun_threads: The same of threads, so far as there are as many cores here.

    Raises:
        InputError: For fp16 without CUDA, and for less than one thread.
    """
    state = PartialState(cpu=not torch.cuda.is_available())
    device = state.device
    assert device is not None
    said: list[str] = []
    threads, free = torch.get_num_threads(), False
    if device.type == "cpu":
        threads, why = share_cores(cpu_threads, begun_threads)
        free = cpu_threads is None and begun_threads is None and wished_threads() is None
        torch.set_num_threads(threads)
        keep_freed_memory()
        said.append(f"{threads} CPU thread{'s' * (threads > 1)}: {why}")
    elif cpu_threads is not None:
        threads = _positive(cpu_threads)
        torch.set_num_threads(threads)
    if precision != "auto":
        chosen, why = precision, ""
    elif begun_precision is not None:
        chosen, why = begun_precision, "the run began with it"
    else:
        # Found by one process: clocks may tell others otherwise.
        found: list[Any] = [choose_precision(device) if state.is_main_process else None]
        broadcast_object_list(found)
        chosen, why = found[0]
    if chosen == "fp16" and device.type == "cpu":
        raise InputError("--precision fp16 needs a CUDA device; use auto, bf16 or fp32")
    if why:
        said.append(f"{chosen}: {why}")
    return Machine(
        precision=chosen, cpu_threads=threads, threads_are_free=free, said="\n".join(said)
    )


def choose_precision(device: torch.device) -> tuple[PrecisionName, str]:
    """Choose the fastest precision that training bears, and say why."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if has_bf16(device):
            return "bf16", f"{name} has it"
        return "fp16", f"{name} has no bf16"
    ratio = measure_bf16()
    if ratio <= GAIN:
        return "bf16", f"{1 / ratio:.1f} times as fast as fp32 on this CPU"
    return "fp32", f"bf16 takes {ratio:.1f} times as long on this CPU"


@functools.cache
def measure_bf16() -> float:
    """Time of a linear layer in bfloat16, its casts with it, over that in float32, on this CPU.

    One thread, and its own time alone: arithmetic is compared, not how busy the cores are.
    """
    rows, inputs, outputs = TRIAL
    x, weight = torch.ones(rows, inputs), torch.ones(outputs, inputs)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    best = {True: float("inf"), False: float("inf")}
    try:
        begun, rounds = time.thread_time(), 0
        while rounds < 2 or time.thread_time() - begun < TRIAL_S:
            for half in best:
                start = time.thread_time()
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                    linear(x, weight)
                best[half] = min(best[half], time.thread_time() - start)
            rounds += 1
    finally:
        torch.set_num_threads(threads)
    return best[True] / best[False]


def share_cores(asked: int | None = None, begun: int | None = None) -> tuple[int, str]:
    """Threads for torch in this process, and why.

    Args:
        asked: By --cpu-threads.
        begun: Those that the run began with: sums are in the same order with as many.

    Raises:
        InputError: For less than one.
    """
    if asked is not None:
        return _positive(asked), "--cpu-threads"
    cores = available_cores()
    if begun is not None and begun <= cores:
        return begun, "the run began with as many"
    other = "" if begun is None else f"; the run began with {begun}, last bits may differ"
    wished = wished_threads()
    if wished is not None:
        return wished, f"OMP_NUM_THREADS{other}"
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    shared = f", shared by {processes} processes" if processes > 1 else ""
    return max(1, cores // processes), f"{cores} core{'s' * (cores > 1)} here{shared}{other}"


def wished_threads() -> int | None:
    """What a person says with OMP_NUM_THREADS to this process."""
    return threads_of_environment(dict(os.environ), _own_environment_of(os.getppid()))


def threads_of_environment(
    environment: dict[str, str], launcher: dict[str, str] | None
) -> int | None:
    """What a person says with OMP_NUM_THREADS; none where only a launcher says it.

    `accelerate launch` and `torchrun` set 1 where nothing is set. A 1 is a person's where no
    launcher is, or where the launcher was started with it.

    Args:
        environment: Environment variables of this process.
        launcher: Environment of the parent process, where it can be read.
    """
    value = environment.get("OMP_NUM_THREADS", "")
    if not value.isdecimal() or int(value) < 1:
        return None
    launched = any(name in environment for name in LAUNCHERS)
    if value == "1" and launched and (launcher or {}).get("OMP_NUM_THREADS") != "1":
        return None
    return int(value)


def use_cores(asked: int | None = None) -> None:
    """Give torch this process's share of the cores, where a command computes without a run."""
    if not torch.cuda.is_available():
        torch.set_num_threads(share_cores(asked)[0])
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Have the C library keep what this process frees for what it asks for next.

    Otherwise activations of a step go back to the system, which clears their pages anew in the
    next one: a tenth of a small student's step. Blocks over 32 MiB still do. glibc alone is told,
    and not against variables that people have set.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in memory_parameters(os.environ).items():
            library.mallopt(parameter, value)


def memory_parameters(environment: Mapping[str, str]) -> dict[int, int]:
    """Parameters of `mallopt` that no variable sets, and what they are set to."""
    if "GLIBC_TUNABLES" in environment:
        return {}
    return dict(own for variable, own in MALLOPT.items() if variable not in environment)


def _own_environment_of(process: int) -> dict[str, str] | None:
    """What a process of this user was started with; none where the system does not show it."""
    try:
        content = Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.partition("=") for entry in os.fsdecode(content).split("\0") if entry)
    return {name: value for name, _, value in pairs}


def _positive(threads: int) -> int:
    if threads < 1:
        raise InputError(f"--cpu-threads is {threads}; give 1 or more")
    return threads
