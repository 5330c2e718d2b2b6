"""Pickles as descriptions: what a pickle would make is recorded, and nothing is called.

A checkpoint is a pickle beside the bytes of its tensors. Python's unpickler calls what a pickle
names; this one reads the same operations and keeps a record for each object: `StoredTensor` for
tensors, dict and list for themselves, `Made` for everything else, whatever it is.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch

MOST_OPERATIONS = 5_000_000
"""A checkpoint of ViT-g with its optimizer has a hundred thousand."""
NAME_LENGTH = 100
"""Characters of a name in a message."""


class PickleError(ValueError):
    """The bytes are not a pickle that can be read."""


@dataclass(frozen=True)
class Global:
    """A class or function that a pickle names."""

    name: str
    """With its module."""


@dataclass(eq=False)
class Made:
    """What a pickle would make of a class or function that is not read here."""

    kind: str
    """The class's or function's name."""
    arguments: Any = ()
    """What it would be called with."""
    state: Any = None
    """What its attributes would be set to."""
    items: dict[Any, Any] = field(default_factory=dict)
    """Entries of the object, where it would be a dictionary."""


@dataclass(frozen=True, eq=False)
class Storage:
    """Bytes of a checkpoint that tensors are views of."""

    key: str
    """Name of the storage in the file."""
    dtype: torch.dtype
    """Type of the values."""
    count: int
    """Number of values."""
    first: int = 0
    """Value of the stored bytes that is its first; files before PyTorch 1.6 store views so."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that lies in a checkpoint."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    """Value of the storage that is its first."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Description:
    """What a pickle would make."""

    content: Any
    """Plain values, dicts, lists, tuples, `StoredTensor` and `Made`."""
    foreign: tuple[str, ...]
    """Classes and functions that are only recorded, besides the commonest."""
    storages: tuple[Storage, ...]
    """All that it refers to."""


def read_pickle(stream: BinaryIO) -> Description:
    """Read one pickle; the stream is then behind it.

    Raises:
        PickleError: It is none, or of more operations than any checkpoint has.
    """
    machine = _Machine()
    try:
        operations = pickletools.genops(stream)
        for operation, argument, _ in operations:
            machine.spend(1)
            machine.do(operation.name, argument)
        return Description(machine.stack.pop(), tuple(machine.foreign), tuple(machine.storages))
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PickleError(f"a pickle that breaks off or is damaged ({error})") from error


def printable(name: str) -> str:
    """A stranger's name, for a message: in one line, of bounded length."""
    short = name if len(name) <= NAME_LENGTH else f"{name[:NAME_LENGTH]}…"
    return short if short.isprintable() else ascii(short)


_MARK = object()
_NOTHING = frozenset({"PROTO", "FRAME", "STOP", "MEMOIZE", "NEXT_BUFFER", "READONLY_BUFFER"})
_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"}
    | {"BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
"""Operations whose argument is the value."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})


class _Machine:
    """A pickle's stack and memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.foreign: dict[str, None] = {}
        self.storages: list[Storage] = []
        self.spent = 0

    def spend(self, operations: int) -> None:
        """Count operations, and raise PickleError where there are too many."""
        self.spent += operations
        if self.spent > MOST_OPERATIONS:
            raise PickleError(f"a pickle of more than {MOST_OPERATIONS} operations")

    def do(self, name: str, argument: Any) -> None:
        """Carry out one operation."""
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EXTENSIONS:
            stack.append(Global(f"extension {argument}"))
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name not in _NOTHING:
            action = getattr(self, f"_{name.lower()}", None)
            if action is None:
                raise PickleError(f"operation {name}")
            action(argument)

    def _put(self, number: Any) -> None:
        self.memo[int(number)] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, number: Any) -> None:
        self.stack.append(self.memo[int(number)])

    _binget = _long_binget = _get

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._above()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _above(self) -> list[Any]:
        """Take what is above the last mark, and the mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise PickleError("no mark")
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    _empty_set = _empty_list

    def _list(self, _: Any) -> None:
        self.stack.append(self._above())

    _frozenset = _list

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._above()))

    def _tuple1(self, _: Any) -> None:
        self._take_tuple(1)

    def _tuple2(self, _: Any) -> None:
        self._take_tuple(2)

    def _tuple3(self, _: Any) -> None:
        self._take_tuple(3)

    def _take_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise PickleError("too short a stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _dict(self, _: Any) -> None:
        parts = self._above()
        self.stack.append({})
        self._set(parts)

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._above())

    _additems = _appends

    def _extend(self, parts: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(parts)

    def _setitem(self, _: Any) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def _setitems(self, _: Any) -> None:
        self._set(self._above())

    def _set(self, parts: list[Any]) -> None:
        """Set entries; keys are plain: nested ones can take for ever to be hashed."""
        target = self.stack[-1]
        entries = target.items if isinstance(target, Made) else target
        if isinstance(entries, dict):
            for key, value in zip(parts[::2], parts[1::2], strict=True):
                if key is None or isinstance(key, str | int | float | bytes):
                    entries[key] = value
                else:
                    self.foreign["an entry under a key that is not plain"] = None

    def _global(self, argument: str) -> None:
        self.stack.append(Global(argument.replace(" ", ".", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Global(f"{module:s}.{name:s}"))

    def _inst(self, argument: str) -> None:
        self.stack.append(self._make(Global(argument.replace(" ", ".", 1)), tuple(self._above())))

    def _obj(self, _: Any) -> None:
        kind, *arguments = self._above()
        self.stack.append(self._make(kind, tuple(arguments)))

    def _reduce(self, _: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.stack.append(self._make(kind, arguments))

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._reduce(None)

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def _binpersid(self, _: Any) -> None:
        found = _storage(self.stack.pop())
        if isinstance(found, Storage):
            self.storages.append(found)
        self.stack.append(found)

    def _make(self, kind: Any, arguments: Any) -> Any:
        name = kind.name if isinstance(kind, Global) else type(kind).__name__
        arguments = arguments if isinstance(arguments, tuple) else ()
        if name in _DICTIONARIES:
            self.stack.append({})
            pairs = arguments[-1] if arguments and isinstance(arguments[-1], list) else []
            self.spend(len(pairs))
            for pair in pairs:
                if isinstance(pair, list | tuple) and len(pair) == 2:
                    self._set(list(pair))
            return self.stack.pop()
        made = _tensor(name, arguments)
        if made is None:
            made = Made(name, arguments)
            if name not in _PLAIN:
                self.foreign[name] = None
        return made


_DICTIONARIES = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
)
_PLAIN = frozenset(
    {"builtins.set", "builtins.frozenset", "builtins.complex", "builtins.bytearray"}
    | {"_codecs.encode", "torch.Size", "torch.device", "argparse.Namespace"}
)
"""Recorded, and not worth a word."""
_STORED = {
    f"{kind}Storage": dtype
    for kind, dtype in {
        "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
        "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
        "Char": torch.int8, "Byte": torch.uint8, "Untyped": torch.uint8, "Bool": torch.bool,
        "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
    }.items()
}  # fmt: skip
"""Types of values by the storage classes' names."""
_DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


def _storage(identity: Any) -> Storage | Made:
    """What a pickle's reference to bytes outside of it means."""
    if isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage":
        kind, key, _, count = identity[1:5]
        view = identity[5] if len(identity) == 6 else None
        dtype = _STORED.get(kind.name.rpartition(".")[2]) if isinstance(kind, Global) else None
        if dtype is not None and isinstance(key, str) and _is_count(count):
            if view is None:
                return Storage(key, dtype, count)
            _, first, size = view
            if _is_count(first) and _is_count(size) and first + size <= count:
                return Storage(key, dtype, size, first)
    return Made("a reference to something else than a tensor's bytes")


def _tensor(name: str, arguments: tuple[Any, ...]) -> StoredTensor | None:
    """The tensor that one of torch's functions makes again, if it is one that is read."""
    match name.removeprefix("torch._utils."), arguments:
        case "_rebuild_tensor", (Storage() as storage, offset, shape, stride):
            return _view(storage, storage.dtype, offset, shape, stride)
        case "_rebuild_tensor_v2", (Storage() as storage, offset, shape, stride, *_):
            return _view(storage, storage.dtype, offset, shape, stride)
        case "_rebuild_tensor_v3", (Storage() as storage, offset, shape, stride, _, _, kind, *_):
            dtype = _DTYPES.get(kind.name) if isinstance(kind, Global) else None
            return _view(storage, dtype, offset, shape, stride)
        case (
            (
                "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
                | "_rebuild_device_tensor_from_cpu_tensor"
                | "torch.nn.parameter.Parameter"
            ),
            (StoredTensor() as data, *_),
        ):
            return data
        case "torch._tensor._rebuild_from_type_v2", (Global(inner), _, tuple() as own, *_):
            return _tensor(inner, own) if inner.startswith("torch._utils.") else None
    return None


def _view(
    storage: Storage, dtype: Any, offset: Any, shape: Any, stride: Any
) -> StoredTensor | None:
    """A tensor that lies within its storage, whose values it names once at most."""
    sound = (
        isinstance(dtype, torch.dtype)
        and isinstance(shape, tuple)
        and isinstance(stride, tuple)
        and len(shape) == len(stride) <= 64
        and all(map(_is_count, (offset, *shape, *stride)))
    )
    if not sound:
        return None
    tensor = StoredTensor(storage, dtype, offset, shape, stride)
    end = offset + 1 + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    held = storage.count * storage.dtype.itemsize
    inside = 0 in shape or end * dtype.itemsize <= held
    return tensor if inside and tensor.nbytes <= held else None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
