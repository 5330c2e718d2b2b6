"""A diffusion pipeline's folder: whether all of it is there, and how large its model is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from smile_motion.errors import InputError
from smile_motion.io.schema import read, read_record
from smile_motion.runtime.model_configs import ShardIndex

INDEX = "model_index.json"
DENOISERS = ("unet", "transformer")
"""Folders of the network that does most of the work."""
FULL_SIZE = 100_000_000
"""Parameters of a denoiser above which images take minutes each on a CPU."""
_TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
_EXTRACTORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, kw_only=True)
class _PipelineIndex:
    """What is read of `model_index.json` besides the parts, which are lists of two."""

    _class_name: Annotated[str, Len(1, 200)]


def require_parts(folder: Path, *, safety_checker: bool = True) -> dict[str, Any]:
    """Read a pipeline's index, and find every part that it names.

    Args:
        safety_checker: Whether that part will be used.

    Returns:
        The index.

    Raises:
        InputError: A part is missing; the message names the first.
    """
    path = folder / INDEX
    if not path.is_file():
        raise InputError(
            f"{folder}: no {INDEX}, so no diffusion model; give --model the folder that "
            f"save_pretrained or a download of the whole repository wrote"
        )
    index = read_record(path, _PipelineIndex, remedy="download or save the model again")
    if not any(_is_part(index.get(name)) for name in DENOISERS):
        raise InputError(
            f"{path}: names neither a unet nor a transformer, so it makes no images; "
            f"give --model a text-to-image model"
        )
    for name, value in index.items():
        if _is_part(value) and (safety_checker or name != "safety_checker"):
            _require_part(folder, name, value[1])
    return index


def weight_files(part: Path, variant: str | None = None) -> list[Path]:
    """Weights of one part as safetensors, in their order; of a variant such as `fp16` if given."""
    marked = re.compile(r"\.(fp16|bf16|non_ema)(-\d+-of-\d+)?$")
    found = []
    for path in sorted(part.glob("*.safetensors")):
        match = marked.search(path.stem)
        if (match.group(1) if match else None) == variant:
            found.append(path)
    return found


def only_variant(folder: Path) -> str | None:
    """`fp16` where the denoiser is there in that form only."""
    for name in DENOISERS:
        part = folder / name
        if part.is_dir() and not weight_files(part):
            return next((name for name in ("fp16", "bf16") if weight_files(part, name)), None)
    return None


def parameter_count(folder: Path) -> int:
    """Parameters of the denoiser, from the headers of its weights; nothing is loaded."""
    from safetensors import SafetensorError, safe_open

    variant, total = only_variant(folder), 0
    for name in DENOISERS:
        for path in weight_files(folder / name, variant):
            try:
                with safe_open(path, framework="np") as weights:
                    # A safetensors handle has keys(), but cannot be iterated.
                    names = weights.keys()
                    total += sum(math.prod(weights.get_slice(key).get_shape()) for key in names)
            except SafetensorError as error:
                raise InputError(
                    f"{path}: not a whole safetensors file ({error}); download it again"
                ) from error
    return total


def snapshot_commit(folder: Path) -> str | None:
    """Commit of a folder in the hub's cache (`snapshots/COMMIT`); None for any other folder."""
    found = re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return folder.name if found and folder.parent.name == "snapshots" else None


def model_name(folder: Path) -> str:
    """The folder's name, or `owner/name` of a folder in the hub's cache."""
    folder = folder.resolve()
    cached = folder.parent.parent.name.removeprefix("models--").split("--")
    return "/".join(cached) if snapshot_commit(folder) and len(cached) == 2 else folder.name


def _is_part(value: Any) -> bool:
    """Whether an entry of the index is `[library, class]`, both given."""
    return isinstance(value, list) and len(value) == 2 and None not in value


def _require_part(folder: Path, name: str, kind: str) -> None:
    part = folder / name
    if not part.is_dir():
        _lacking(folder, name, "its folder")
    if "tokenizer" in name:
        _require_any(folder, name, _TOKENIZERS)
    elif "scheduler" in name:
        _require_any(folder, name, ("scheduler_config.json",))
    elif kind.endswith(("Processor", "Extractor")):
        _require_any(folder, name, _EXTRACTORS)
    else:
        _require_any(folder, name, ("config.json",))
        if not list(part.glob("*.safetensors")):
            _lacking(folder, name, "a .safetensors file of weights")
        for index in part.glob("*.safetensors.index.json"):
            remedy = "download or save the model again"
            placed = read(index, ShardIndex, remedy=remedy, unknown="ignore").weight_map
            for shard in sorted(set(placed.values())):
                _require_any(folder, name, (shard,))


def _require_any(folder: Path, name: str, files: tuple[str, ...]) -> None:
    if not any((folder / name / file).is_file() for file in files):
        _lacking(folder, name, " or ".join(files))


def _lacking(folder: Path, name: str, what: str) -> None:
    raise InputError(
        f"{folder}: the model lacks its {name} ({what} is missing); download or save the whole "
        f"model again"
    )
