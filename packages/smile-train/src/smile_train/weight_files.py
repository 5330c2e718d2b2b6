"""Reading files of weights that others made: nothing but tensors is ever unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch
from smile_motion.errors import InputError

REASON_LENGTH = 200
"""Characters of another library's message that are shown."""


def unpickle_safely(path: Path, *, allowed: Sequence[Callable | tuple[Callable, str]] = ()) -> Any:
    """Read what `torch.save` wrote.

    allowed  classes that may be in it besides tensors and plain values.
    Raises InputError when the file is damaged, or holds anything else; OSError when it cannot be
    opened.
    """
    with path.open("rb") as file:
        try:
            with torch.serialization.safe_globals(list(allowed)):
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes fail anywhere in the reader, in a dozen ways
            # The first sentence; those after it advise to read the file unsafely.
            reason = " ".join(str(error).split()).partition(". ")[0][:REASON_LENGTH]
            raise InputError(
                f"{path}: not a file that can be read safely ({reason or type(error).__name__}); "
                f"download it again"
            ) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors, from .safetensors or from what `torch.save` wrote.

    Raises InputError when the file is damaged, or holds anything else.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: damaged ({error}); download it again") from error
    data = unpickle_safely(path)
    if not is_named_tensors(data):
        raise InputError(f"{path}: holds no named tensors; expected a file of weights")
    return data


def is_named_tensors(data: object) -> TypeGuard[dict[str, torch.Tensor]]:
    """Whether something is a state dict."""
    return isinstance(data, dict) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in data.items()
    )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive; PyTorch's other files hold no constants."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
