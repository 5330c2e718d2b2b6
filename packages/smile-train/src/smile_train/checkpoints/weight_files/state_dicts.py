"""Which of a checkpoint's dictionaries holds the weights, and what names are without wrappers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from smile_train.checkpoints.weight_files.pickles import Made, StoredTensor, printable

Value = TypeVar("Value")

WRAPPERS = frozenset(
    {"module", "model", "_orig_mod", "_forward_module"}
    | {"_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
"""What DDP, trainers, torch.compile, DeepSpeed, FSDP and checkpointing put into names; no model
that is read here has a part of such a name."""
MODEL_KEYS = ("model", "module", "state_dict", "model_state_dict", "net", "network", "weights")
"""Where training loops keep a model, best first."""
TENSOR_FUNCTIONS = "torch._utils._rebuild"
"""How names of what makes tensors again begin."""
_AVERAGES = ("ema", "teacher", "target", "momentum", "average", "shadow", "swa")
"""Parts of names of second models, which are taken where there is no other."""
_COUNTER = "n_averaged"
"""Counter of torch's AveragedModel."""
_DEPTH = 4
"""Dictionaries in dictionaries that are looked into."""
_LISTED = 4
"""Names in a line."""


@dataclass(frozen=True)
class Kind:
    """How a model is found among names of weights."""

    signs: tuple[str, ...]
    """Names that end so are in every such model."""
    prefixes: tuple[str, ...] = ()
    """Parts of the model itself that may come before."""


ENCODERS = Kind(("patch_embed.proj.weight", "patch_embed.proj.1.weight"), ("encoder", "trunk"))
CLIP = Kind(("visual.conv1.weight",))
VICLIP = Kind(("vision_encoder.conv1.weight",))
TRANSFORMERS = Kind(("embeddings.patch_embeddings.projection.weight",), ("videomae",))


@dataclass(frozen=True)
class Found:
    """A dictionary of weights in a checkpoint."""

    place: str
    """Keys that lead to it; empty for the file itself."""
    entries: Mapping[str, Any]
    """Entries by name: tensors and other values."""


def find_state_dicts(content: Any) -> list[Found]:
    """Every dictionary with tensors in it, and every module, the likeliest first."""
    found = list(_walk(content, (), set()))
    return sorted(found, key=lambda one: _rank(one.place))


def _rank(place: str) -> tuple[int, ...]:
    if not place:  # Beside entries that hold models, tensors of the file's own are of no model.
        return 1, 1
    last = place.rpartition(".")[2]
    if is_average(place):
        return 2, 0
    return (0, MODEL_KEYS.index(last)) if last in MODEL_KEYS else (1, 0)


def is_average(name: str) -> bool:
    """Whether a name is that of a second model, such as an average of the weights."""
    parts = name.lower().replace(".", "_").split("_")
    return any(part in _AVERAGES for part in parts)


def _walk(part: Any, place: tuple[str, ...], seen: set[int]) -> Iterator[Found]:
    entries = part
    if isinstance(part, Made):
        if module := dict(flatten_module(part)):
            yield Found(".".join(place), module)
            return
        entries = part.items or part.state
    if not isinstance(entries, dict) or id(entries) in seen:
        return
    seen.add(id(entries))
    if any(map(_is_tensor, entries.values())):
        yield Found(".".join(place), {str(name): value for name, value in entries.items()})
    if len(place) < _DEPTH:
        for name, value in entries.items():
            if isinstance(name, str):
                yield from _walk(value, (*place, name), seen)


def _is_tensor(value: Any) -> bool:
    """Whether something is a tensor, be it of a kind that is not read."""
    return isinstance(value, StoredTensor) or (
        isinstance(value, Made) and value.kind.startswith(TENSOR_FUNCTIONS)
    )


def flatten_module(module: Made) -> Iterator[tuple[str, StoredTensor]]:
    """Names and tensors of a pickled `torch.nn.Module`, or of TorchScript's; each part once."""
    left, seen = [("", module)], set()
    while left:
        prefix, part = left.pop()
        if not isinstance(part.state, dict) or id(part) in seen:
            continue
        seen.add(id(part))
        if part.kind.startswith("__torch__."):
            kinds: list[Any] = [part.state]
        else:
            kinds = [part.state.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
        for entries in kinds:
            for name, value in entries.items() if isinstance(entries, dict) else ():
                if isinstance(value, StoredTensor):
                    yield f"{prefix}{name}", value
                elif isinstance(value, Made):
                    left.append((f"{prefix}{name}.", value))


def strip_wrappers(
    entries: Mapping[str, Value], kind: Kind
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The entries of one model, under names without wrappers.

    Returns:
        The entries; all of them, with no more than wrappers taken off, where no model of the kind
        is among them; and a line for each thing that was left out.

    Raises:
        ValueError: Two models of the kind are equally good, or names become alike.
    """
    roots = sorted({root for name in entries for root in _roots(name, kind)})
    own = [root for root in roots if not is_average(root)] or roots
    if len(own) > 1:
        raise ValueError(
            f"several models in it ({listed(root or 'the first level' for root in own)}); keep the "
            f"entries of one"
        )
    root = own[0] if own else ""
    inside = {
        name: entry
        for name, entry in entries.items()
        if name.startswith(root)
        and not any(name.startswith(r) for r in roots if len(r) > len(root))
    }
    said = []
    if outside := [name for name in entries if name not in inside and name != _COUNTER]:
        said.append(
            f"took the model under {root!r}; left out {len(outside)} other entries "
            f"({listed(dict.fromkeys(name.partition('.')[0] for name in outside))})"
        )
    found: dict[str, Value] = {}
    for name, entry in inside.items():
        short = ".".join(p for p in name[len(root) :].split(".") if p not in WRAPPERS)
        if short in found:
            raise ValueError(f"two weights called {printable(short)!r} without wrappers")
        found[short] = entry
    found.pop(_COUNTER, None)
    return found, tuple(said)


def _roots(name: str, kind: Kind) -> Iterator[str]:
    """What comes before a model, where a name is one of its signs."""
    plain = [part for part in name.split(".") if part not in WRAPPERS]
    for sign in kind.signs:
        wanted = sign.split(".")
        if plain[-len(wanted) :] != wanted:
            continue
        # Take the sign off, and the wrappers in it, then the model's own part before it.
        parts = name.split(".")
        for part in reversed(wanted):
            while parts.pop() != part:
                pass
        before = list(parts)
        while before and before[-1] in WRAPPERS:
            before.pop()
        if before and before[-1] in kind.prefixes:
            parts = before[:-1]
        yield "".join(f"{part}." for part in parts)


def has_model(entries: Mapping[str, Any], kind: Kind | None) -> bool:
    """Whether a model of a kind is among entries."""
    return kind is None or any(True for name in entries for _ in _roots(name, kind))


def listed(names: Collection[str] | Iterable[str]) -> str:
    """Some names, for a message."""
    names = list(names)
    first = ", ".join(printable(name) for name in names[:_LISTED])
    return first + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
