"""Inspect the folder of a diffusers pipeline: completeness, weights, size and origin."""

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
"""Folders of the denoising network."""
FULL_SIZE = 100_000_000
"""Parameters of a denoiser above which an image takes minutes on a CPU."""
_TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
_EXTRACTORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, kw_only=True)
class _PipelineIndex:
    """Fields of `model_index.json` besides the parts, which are lists of two."""

    _class_name: Annotated[str, Len(1, 200)]


def require_parts(folder: Path, *, safety_checker: bool = True) -> dict[str, Any]:
    """Read a pipeline's index and check that every part that it names is complete.

    Args:
        folder: Folder of the pipeline.
        safety_checker: Whether the safety checker will be used.

    Returns:
        The index, `model_index.json`.

    Raises:
        InputError: A part is missing.
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
    """Safetensors files of one part, sorted; only those of a variant such as `fp16` where given."""
    marked = re.compile(r"\.(fp16|bf16|non_ema)(-\d+-of-\d+)?$")
    found = []
    for path in sorted(part.glob("*.safetensors")):
        match = marked.search(path.stem)
        if (match.group(1) if match else None) == variant:
            found.append(path)
    return found


def only_variant(folder: Path) -> str | None:
    """The variant, `fp16` or `bf16`, where the denoiser has no other weights; None otherwise."""
    for name in DENOISERS:
        part = folder / name
        if part.is_dir() and not weight_files(part):
            return next((name for name in ("fp16", "bf16") if weight_files(part, name)), None)
    return None


def parameter_count(folder: Path) -> int:
    """Number of parameters of the denoiser, from the headers of its weights.

    Raises:
        InputError: A file is not a complete safetensors file.
    """
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
    """Name of a model: `owner/name` of a folder in the hub's cache, else the folder's name."""
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
