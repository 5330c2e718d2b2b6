"""Cores and devices that this process may use, and the precision of a bank's models."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smile_motion.errors import InputError

if TYPE_CHECKING:
    import torch


CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Control groups on Linux, which limit the resources of containers."""
OWN_GROUPS = Path("/proc/self/cgroup")
"""Control groups of this process."""
SPINS = 1000
"""Looks that a thread of OpenMP takes for the others before it sleeps. Ours: on idle cores as fast
as the 300,000 or so of GNU's OpenMP."""


def available_cores() -> int:
    """Return the number of cores that this process may use, by affinity and control groups."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # Not on Linux.
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas(CONTROL_GROUPS, OWN_GROUPS)]))


def bound_spinning() -> None:
    """Let threads of PyTorch sleep soon while they wait for each other; call it before its import.

    GNU's OpenMP, which comes with PyTorch, has them look for milliseconds instead. Where cores have
    other work, too, that takes the time of the very thread that is waited for: steps of a small
    student take four times as long. Variables that people have set win.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def _quotas(root: Path, own: Path) -> list[int]:
    """Return the limits on cores of a process's control groups, rounded up; empty without limits.

    Args:
        root: Mount point of the control groups.
        own: List of the process's groups: `0::/a/b` (version 2), `4:cpu,cpuacct:/a/b` (version 1).
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, names, place = line.split(":", 2)
        if number == "0":
            start, read = root, _quota_of_version_2
        elif "cpu" in names.split(","):
            start, read = root / "cpu", _quota_of_version_1
        else:
            continue
        # Within a container its own group may be the root, and its path that of outside.
        folder = start / place.strip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(start):
                break
            quota = read(group)
            if quota is not None:
                found.append(max(1, math.ceil(quota)))
    return found


def _quota_of_version_2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_version_1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return None if quota < 0 else quota / period


Precision = Literal["auto", "float32", "float16", "bfloat16"]
"""`auto` is float32 on the CPU, so that all jobs of a build agree whatever machine each runs on,
and half precision on CUDA."""


def choose_device(device: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device; `auto` prefers CUDA.

    Raises:
        InputError: The word is another one, or there is no such CUDA device.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"--device {device}: expected auto, cpu, cuda or a number as in cuda:1")
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise InputError(
                f"--device {device}: torch sees {count} CUDA devices here; "
                f"run where there is one, or pass --device cpu"
            )
    return chosen


def has_bf16(device: torch.device) -> bool:
    """Whether a CUDA device computes in bfloat16 natively, without emulation."""
    import torch

    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def choose_dtype(
    precision: Precision, device: torch.device, *, half: Literal["float16", "bfloat16"] = "float16"
) -> torch.dtype:
    """Turn a precision into a dtype.

    Args:
        precision: Name of the dtype, or `auto`.
        device: Device to compute on.
        half: Meaning of `auto` on CUDA; float16 on devices without bfloat16.

    Raises:
        InputError: The precision is unknown, or float16 on the CPU.
    """
    import torch

    if precision == "auto":
        precision = half if device.type == "cuda" else "float32"
        if precision == "bfloat16" and not has_bf16(device):
            precision = "float16"
    if precision not in ("float32", "float16", "bfloat16"):
        raise InputError(f"dtype {precision}: expected auto, float32, float16 or bfloat16")
    if precision == "float16" and device.type == "cpu":
        raise InputError("dtype float16 runs on CUDA only; pass float32 or bfloat16 on the CPU")
    return getattr(torch, precision)
