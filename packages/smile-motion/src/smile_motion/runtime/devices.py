"""Where the models of a build run, and in which precision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from smile_motion.errors import InputError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "float16", "bfloat16"]
"""`auto` is float32 on the CPU, where all parts of a build judge alike, whatever machine each is
on, and half precision on CUDA."""


def choose_device(device: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that is there; `auto` prefers CUDA.

    Raises InputError for another word, and for CUDA where there is none.
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
    """Whether a CUDA device has arithmetic in bfloat16, rather than an emulation of it."""
    import torch

    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def choose_dtype(
    precision: Precision, device: torch.device, *, half: Literal["float16", "bfloat16"] = "float16"
) -> torch.dtype:
    """Turn a precision into a dtype.

    half    what `auto` means on CUDA; float16 where the device has no bfloat16.
    Raises InputError for another word, and for float16 on the CPU.
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
