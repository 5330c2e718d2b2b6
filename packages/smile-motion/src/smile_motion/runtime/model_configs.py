"""Checks of untrusted configurations of diffusers, transformers, open_clip and timm models.

These libraries trust the configurations in a folder: they set attributes, look up classes, import
modules and fetch other repositories as these say. Entries that lead to code or to other places are
refused before a library reads them, and so are sizes that the weights beside them cannot have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from smile_motion.errors import InputError
from smile_motion.io.schema import parse, read_record

LARGEST_CONFIG = 16 << 20
"""Largest configuration, bytes."""
MOST_CONFIGS = 200
"""Largest number of configurations; a pipeline has one or two per part."""
_REMEDY = "download or save the model again"
DEEPEST = 512
"""Largest number of layers of a stack."""
LARGEST_NUMBER = 1 << 21
"""Largest value of any other integer; vocabularies have 300,000 words."""
FREE_WEIGHTS = 64 << 20
"""Number of weights that are always allowed: half a second of work."""
_NAMES = ("config.json", "model_index.json", "_config.json", ".index.json")
"""Endings of the names of configurations; `tokenizer.json` and `vocab.json` are data."""
_TO_CODE = frozenset(
    {"auto_map", "trust_remote_code", "custom_pipeline", "custom_pipelines", "custom_load"}
    | {"quantization_config", "use_kernels", "kernel_config", "experts_implementation"}
    | {"hf_model_name", "cache_dir", "checkpoint_path", "pretrained_checkpoint"}
)
"""Entries that lead a library to code, or to files outside of the folder."""
_ATTENTION = frozenset({"attn_implementation", "_attn_implementation"})
_ATTENTIONS = (None, "eager", "sdpa")
_PRIVATE = frozenset(
    {"_class_name", "_diffusers_version", "_name_or_path", "_commit_hash", "_from_model_config"}
    | {"_attn_implementation_autoset", "_num_labels", "_valid_processor_keys", "_ignore_files"}
)
"""Harmless entries with a leading `_`; any other could set private attributes."""
_LIBRARIES = ("diffusers", "transformers")
"""Modules whose classes a pipeline's index may name; others would be imported."""
_ELSEWHERE = ("hf-hub:", "local-dir:", "http:", "https:")
LARGEST_SIDE = 8192
"""Largest side of a model's input images, pixels."""
_SIDES = ("image_size", "img_size", "input_size", "sample_size")
_DEPTHS = ("layers", "depth", "num_blocks")
_WIDTHS = ("hidden_size", "width", "d_model", "embed_dim", "n_embd", "channels", "hidden_dim")
_WORDS = ("vocab_size", "position_embeddings", "context_length")


def require_plain_configs(folder: Path) -> None:
    """Check all configurations in a folder of a model.

    Raises:
        InputError: One leads to code or to files elsewhere, or has sizes that its weights cannot
            have.
    """
    if (folder / "adapter_config.json").exists():
        raise InputError(
            f"{folder}: an adapter to another model, which it would fetch; save both as one model"
        )
    paths = [path for path in sorted(folder.rglob("*.json")) if path.name.endswith(_NAMES)]
    if len(paths) > MOST_CONFIGS:
        raise InputError(f"{folder}: {len(paths)} configurations; no model has so many")
    for path in paths:
        config = _read(path)
        if path.name.endswith(".index.json"):
            _require_own_shards(path, config)
            continue
        _require_plain(path, config)
        if path.name == "model_index.json":
            _require_known_libraries(path, config)
        elif path.name.endswith("config.json"):
            _require_possible(path, config)


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Index of weights in several files, as far as it is read."""

    weight_map: dict[str, Annotated[str, Len(1, 255)]]


def _read(path: Path) -> dict[str, Any]:
    return read_record(path, dict[str, Any], remedy=_REMEDY, largest=LARGEST_CONFIG)


def _entries(part: Any) -> Iterator[tuple[str, Any]]:
    """Yield all names and values, at any depth; entries of a list have the list's name."""
    left: list[tuple[str, Any]] = [("", part)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left.extend(value.items())
        elif isinstance(value, list):
            left.extend((name, entry) for entry in value)
        if name:
            yield name, value


def _require_plain(path: Path, config: dict[str, Any]) -> None:
    for name, value in _entries(config):
        if name in _ATTENTION:
            refused = value not in _ATTENTIONS if not isinstance(value, dict | list) else True
        elif name in _TO_CODE:
            refused = bool(value)
        elif name == "timm_model_name":
            refused = not isinstance(value, str) or value.startswith(_ELSEWHERE)
        else:
            refused = name.startswith("_") and name not in _PRIVATE
        if refused:
            raise InputError(
                f"{path}: {name!r:.60} is {value!r:.80}, which can lead to other code or another "
                f"model; take the entry out if you trust the rest"
            )


def _require_known_libraries(path: Path, index: dict[str, Any]) -> None:
    """Check a pipeline's parts, which are `[library, class]` or `[pipeline's package, class]`."""
    from importlib.util import find_spec

    if not str(index.get("_class_name", "")).isidentifier():
        raise InputError(f"{path}: names no pipeline; download or save the model again")
    for name, value in index.items():
        if not isinstance(value, list) or name.startswith("_") or value == [None, None]:
            continue
        if not (len(value) == 2 and all(isinstance(part, str) for part in value)):
            continue
        library, kind = value
        own = library.isidentifier() and find_spec(f"diffusers.pipelines.{library}") is not None
        if not kind.isidentifier() or not (library in _LIBRARIES or own):
            raise InputError(
                f"{path}: its {name} is {kind} of {library}; expected a class of "
                f"{' or '.join(_LIBRARIES)}: give another model"
            )


def _require_own_shards(path: Path, index: dict[str, Any]) -> None:
    read = parse(index, ShardIndex, source=str(path), remedy=_REMEDY, unknown="ignore")
    if not all(Path(name).name == name for name in read.weight_map.values()):
        raise InputError(f"{path}: names a file outside of its folder; do not use this model")


def _require_possible(path: Path, config: dict[str, Any]) -> None:
    """Compare the largest sizes with the bytes of the weights beside a configuration."""
    if path.name.startswith("tokenizer"):
        return
    layers, width, words, side, patch = 1, 1, 1, 1, LARGEST_SIDE
    for name, value in _entries(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or (isinstance(value, int) and abs(value) > LARGEST_NUMBER):
            raise InputError(f"{path}: {name} is {value!r:.40}, at most {LARGEST_NUMBER} is read")
        if name.endswith(_DEPTHS):
            layers = max(layers, int(value))
        elif name.endswith(_WIDTHS):
            width = max(width, int(value))
        elif name.endswith(_WORDS):
            words = max(words, int(value))
        elif name.endswith(_SIDES):
            side = max(side, int(value))
        elif name.endswith("patch_size"):
            patch = max(1, min(patch, int(value)))
    if layers > DEEPEST or side > LARGEST_SIDE:
        raise InputError(
            f"{path}: {layers} layers, images of {side} px; at most {DEEPEST} and {LARGEST_SIDE}"
        )
    held = sum(
        file.stat().st_size
        for file in path.parent.iterdir()
        if file.suffix in (".safetensors", ".bin", ".pt")
    )
    asked = width * max(layers * width, words, (side // patch) ** 2)
    if asked > 4 * held + FREE_WEIGHTS:
        raise InputError(
            f"{path}: sizes of at least {asked} weights, beside files of {held} bytes; download or "
            f"save the model again"
        )
