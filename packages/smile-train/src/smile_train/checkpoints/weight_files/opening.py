"""Opening any file of weights: what it is by its first bytes, and the model that is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from smile_motion.errors import InputError, in_one_line
from smile_motion.io.schema import read
from smile_motion.runtime.model_configs import ShardIndex

from smile_train.checkpoints.weight_files.archives import TorchFile, open_archive, open_legacy
from smile_train.checkpoints.weight_files.pickles import Made, StoredTensor, printable
from smile_train.checkpoints.weight_files.state_dicts import (
    TENSOR_FUNCTIONS,
    Kind,
    find_state_dicts,
    has_model,
    listed,
    strip_wrappers,
)

Value = TypeVar("Value")

INDEX = ".index.json"
"""How the name of a list of shards ends."""
FOLDER_FILES = tuple(
    f"{name}{end}" for name in ("model.safetensors", "pytorch_model.bin") for end in ("", INDEX)
)
"""Where a folder keeps its weights, best first."""
_ARGUMENTS = ("args", "hyper_parameters", "config", "cfg", "opt")
"""Where training loops keep their options."""
_MOST_SHARDS = 1000
_LARGEST_INDEX = 64 << 20
_DEEPEST_STATE, _LARGEST_STATE = 32, 1_000_000
"""Dicts and lists in each other, and entries, of what a run continues from."""
_LARGEST_HEADER = 100_000_000
"""Bytes of the largest header of safetensors, as its library has it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightFile:
    """The weights of one model, out of a file."""

    path: Path
    """The file."""
    weights: dict[str, torch.Tensor]
    """Weights by name, without the prefixes of wrappers."""
    args: dict[str, Any] = field(default_factory=dict)
    """Plain values among the options that the file's training loop kept."""
    epoch: int | None = None
    """Last epoch, where it is told."""
    said: tuple[str, ...] = ()
    """A line for each thing that was left out, or chosen among several."""


def open_weights(path: Path, kind: Kind | None) -> WeightFile:
    """Read the weights of a model, whatever wrote the file: nothing in it is called.

    Args:
        path: .safetensors; what torch.save or torch.jit.save wrote, of any age; or the index of
            shards of these.
        kind: Kind of model; None for all of the file's weights as they are named.

    Raises:
        InputError: The file is damaged, or holds no weights; it says what is refused.
    """
    if path.name.endswith(INDEX):
        return _open_shards(path, kind)
    match _format(path):
        case "safetensors":
            return _open_safetensors(path, kind)
        case "archive":
            return _from_torch(open_archive(path), kind)
        case _:
            return _from_torch(open_legacy(path), kind)


def read_own_state(path: Path) -> Any:
    """Read what a run of ours continues from: tensors and plain values, in dicts, lists and tuples.

    Raises:
        InputError: The file is damaged, or holds anything else.
    """
    file = open_archive(path) if _format(path) == "archive" else open_legacy(path)
    described = file.described
    if described.foreign or not isinstance(described.content, dict):
        held = listed(described.foreign) or "no dict"
        raise InputError(f"{path}: not the state of a run ({held}); use an older checkpoint")
    values = file.tensors({str(id(one)): one for one in _tensors(described.content, path)})
    return _with_values(described.content, values)


def _tensors(content: Any, path: Path) -> Iterator[StoredTensor]:
    """All tensors, each as often as it is referred to: what is shared could be without end."""
    left, looked_at = [(content, 0)], 0
    while left:
        part, depth = left.pop()
        looked_at += 1
        if depth > _DEEPEST_STATE or looked_at > _LARGEST_STATE:
            raise InputError(f"{path}: larger than any run's state; use an older checkpoint")
        match part:
            case StoredTensor():
                yield part
            case Made():
                raise InputError(
                    f"{path}: not the state of a run ({printable(part.kind)}); use an older "
                    f"checkpoint"
                )
            case dict():
                left.extend((value, depth + 1) for value in part.values())
            case list() | tuple():
                left.extend((value, depth + 1) for value in part)


def _with_values(part: Any, values: dict[str, torch.Tensor]) -> Any:
    match part:
        case StoredTensor():
            return values[str(id(part))]
        case dict():
            return {key: _with_values(value, values) for key, value in part.items()}
        case list():
            return [_with_values(value, values) for value in part]
        case tuple():
            return tuple(_with_values(value, values) for value in part)
        case _:
            return part


def open_folder(folder: Path, kind: Kind | None) -> WeightFile:
    """Read the weights of a folder as transformers writes it, in one file or in shards.

    Raises:
        InputError: There are none, and as `open_weights` does.
    """
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return open_weights(folder / name, kind)
    raise InputError(f"{folder}: no weights ({' or '.join(FOLDER_FILES[::2])}); get them as well")


def _format(path: Path) -> str:
    """What a file is by its first bytes; names are of no use, `.bin` and `.pt` are anything."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    with path.open("rb") as file:
        start = file.read(64)
    # First, since a header of safetensors starts with its length, which may be any bytes.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _LARGEST_HEADER:
        return "safetensors"
    if start.startswith(b"PK"):
        return "archive"
    if start[:1] == b"\x80":
        return "legacy"
    if not start:
        fault = "empty; download it again"
    elif start.startswith(b"version https://git-lfs"):
        fault = "a pointer of Git LFS, not the file; fetch that with: git lfs pull"
    elif start.lstrip()[:1] == b"<":
        fault = "a web page, not a file of weights; download the file that it links to"
    else:
        fault = (
            "is no file of weights that is known; expected .safetensors, or what torch.save wrote"
        )
    raise InputError(f"{path}: {fault}")


def _open_safetensors(path: Path, kind: Kind | None) -> WeightFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            names, said = _strip({name: name for name in file.keys()}, kind, path)  # noqa: SIM118
            weights = {name: file.get_tensor(stored) for name, stored in names.items()}
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({in_one_line(error)}); download it again") from error
    return WeightFile(path=path, weights=weights, said=said)


def _open_shards(path: Path, kind: Kind | None) -> WeightFile:
    remedy = "download it again"
    index = read(path, ShardIndex, remedy=remedy, unknown="ignore", largest=_LARGEST_INDEX)
    placed = index.weight_map
    shards = sorted(set(placed.values()))
    if len(shards) > _MOST_SHARDS or not all(map(_is_file_name, shards)):
        raise InputError(f"{path}: names a file outside of its folder; do not use it")
    weights: dict[str, torch.Tensor] = {}
    said: dict[str, None] = {}
    for shard in shards:
        if not (path.parent / shard).is_file():
            raise InputError(f"{path}: lacks its shard {shard}; download it as well")
        part = open_weights(path.parent / shard, None)
        weights |= part.weights
        said |= dict.fromkeys(part.said)
    if absent := [name for name in placed if name not in weights]:
        raise InputError(f"{path}: its shards lack {listed(absent)}; download them again")
    weights, more = _strip(weights, kind, path)
    return WeightFile(path=path, weights=weights, said=(*said, *more))


def _is_file_name(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", name) is not None


def _from_torch(file: TorchFile, kind: Kind | None) -> WeightFile:
    content = file.described.content
    candidates = find_state_dicts(content)
    if not candidates:
        raise InputError(f"{file.path}: {_why_none(content, file.described.foreign)}")
    fitting = [found for found in candidates if has_model(found.entries, kind)]
    taken = (fitting or candidates)[0]
    names, said = _strip(taken.entries, kind, file.path)
    lines = list(said)
    if others := [found.place or "the first level" for found in fitting[1:]]:
        lines.insert(
            0, f"took the weights in {taken.place!r}; there are others in {listed(others)}"
        )
    foreign = [name for name, value in names.items() if isinstance(value, Made)]
    if foreign:
        kinds = listed(f"{name} is {_made(names[name].kind)}" for name in foreign)
        raise InputError(
            f"{file.path}: weights that are not plain tensors are not read ({kinds}); save the "
            f"model's state_dict as plain tensors"
        )
    stored = {name: value for name, value in names.items() if isinstance(value, StoredTensor)}
    if left := [name for name in names if name not in stored]:
        lines.append(f"left out what is no tensor among the weights ({listed(left)})")
    if file.described.foreign:
        lines.append(f"read without objects of {listed(file.described.foreign)}")
    epoch = content.get("epoch") if isinstance(content, dict) else None
    return WeightFile(
        path=file.path,
        weights=file.tensors(stored),
        args=_arguments(content),
        epoch=epoch if isinstance(epoch, int) else None,
        said=tuple(lines),
    )


def _made(kind: str) -> str:
    if kind.startswith(TENSOR_FUNCTIONS):
        return f"a tensor of unusual layout or size ({printable(kind.rpartition('.')[2])})"
    return printable(kind)


def _why_none(content: Any, foreign: tuple[str, ...]) -> str:
    keys = ""
    if isinstance(content, dict) and content:
        keys = f" under {listed(str(key) for key in content)}"
    refused = f"; refused to make objects of {listed(foreign)}" if foreign else ""
    return f"holds no tensors by name{keys}{refused}; expected a file of weights"


def _strip(
    entries: Mapping[str, Value], kind: Kind | None, path: Path
) -> tuple[dict[str, Value], tuple[str, ...]]:
    if odd := [name for name in entries if not name.isprintable()]:
        raise InputError(f"{path}: a weight called {ascii(odd[0])[:80]}; do not use this file")
    if kind is None:
        return dict(entries), ()
    try:
        return strip_wrappers(entries, kind)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _arguments(content: Any) -> dict[str, Any]:
    """Plain values among the options that a training loop kept beside the weights."""
    kept = content if isinstance(content, dict) else {}
    for key in _ARGUMENTS:
        part = kept.get(key)
        if isinstance(part, Made):
            part = part.items or (part.state[0] if isinstance(part.state, tuple) else part.state)
        if isinstance(part, dict) and part:
            return {
                name: value
                for name, value in part.items()
                if isinstance(name, str) and isinstance(value, int | float | str)
            }
    return {}
