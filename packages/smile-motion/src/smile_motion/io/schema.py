"""JSON that others wrote, read by a declared schema; and the JSON of components, which has a kind.

A schema is a frozen dataclass, or another type such as `dict[str, str]`: its fields' types are
what their values must be, strictly (a bool is no number, 2.5 is no count), lists stand for tuples,
bounds are metadata of `Annotated` (`annotated_types`), and a field without a default must be
there. A field `def_` stands for `def`, which Python keeps for itself. pydantic does
the checking; it is imported when something is first read.

A component is a dataclass that a user chooses, such as a path. Its JSON names its class as `kind`,
and so does that of every dataclass in it. A field whose type is a union takes these classes alone;
where the type is a protocol, `Annotated[CentrePath, Kinds(...)]` names them.

Example::

    recipe = parse_component(data, MotionRecipe, source="recipe.json")
    card = read_record(folder / "bank.json", BankCard, remedy="build the bank again")
    results = read(folder / "results.json", Results, remedy="evaluate again")
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Interval, Le, Len, Lt

from smile_motion.errors import InputError, shortened
from smile_motion.io.files import parse_json

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema, ValidationError

LARGEST_BYTES = 1 << 30
"""Larger files of JSON lines are refused."""
LARGEST_DOCUMENT = 1 << 26
"""Bytes of the largest file that holds one JSON value, unless its reader says otherwise."""
Unknown = Literal["refuse", "keep", "ignore"]
"""What happens to fields that a schema does not name."""
Schema = TypeVar("Schema")


class Kinds:
    """Metadata of a field: the classes that its JSON may name as `kind`."""

    def __init__(self, *classes: type, **named: type) -> None:
        """Take classes of which `kind` is the name, and others by other names."""
        self.classes = {kind.__name__: kind for kind in classes} | named


def component_to_json(component: Any) -> dict[str, Any]:
    """Every field of a dataclass as JSON values, nested dataclasses too."""
    values: dict[str, Any] = {"kind": type(component).__name__}
    for field in fields(component):
        value = getattr(component, field.name)
        if is_dataclass(value):
            values[field.name] = component_to_json(value)
        else:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def parse_component(data: Any, schema: type[Schema], source: str) -> Schema:
    """Read what `component_to_json` wrote.

    source  named in errors, such as the file the values came from.
    Raises InputError when a kind or a field is unknown, or a value is refused.
    """
    return _validated(data, _Form(schema, "component", "refuse"), source, "")


def parse(
    data: Any, schema: type[Schema], *, source: str, remedy: str = "", unknown: Unknown = "refuse"
) -> Schema:
    """Make a dataclass of JSON values.

    source  named in errors, such as the file the values came from.
    remedy  what to do about a value that is refused.
    Raises InputError naming the first value that is refused, and its place.
    """
    return _validated(data, _Form(schema, "instance", unknown), source, remedy)


def parse_text(
    text: str | bytes, schema: Any, *, source: str, remedy: str, unknown: Unknown = "refuse"
) -> Any:
    """Make a dataclass, or what else a schema says, of JSON text; arguments as of `parse`."""
    return _validated_text(text, _Form(schema, "instance", unknown), source, remedy)


def read(
    path: Path,
    schema: type[Schema],
    *,
    remedy: str,
    unknown: Unknown = "refuse",
    largest: int = LARGEST_DOCUMENT,
) -> Schema:
    """Make a dataclass, or what else a schema says, of a file of JSON.

    largest  bytes of the largest file that is read.
    Raises InputError naming the first value that is refused; FileNotFoundError without a file.
    """
    data = read_bounded(path, remedy=remedy, largest=largest)
    return parse_text(data, schema, source=str(path), remedy=remedy, unknown=unknown)


def parse_record(
    data: Any, schema: Any, *, source: str, remedy: str = "", unknown: Unknown = "keep"
) -> dict[str, Any]:
    """Check JSON values by a schema and return them as they are; arguments as of `parse`."""
    return _validated(data, _Form(schema, "values", unknown), source, remedy)


def read_record(
    path: Path,
    schema: Any,
    *,
    remedy: str,
    unknown: Unknown = "keep",
    largest: int = LARGEST_DOCUMENT,
) -> dict[str, Any]:
    """Check a file of JSON by a schema and return its values as they are.

    largest  bytes of the largest file that is read.
    Raises InputError naming the first value that is refused; FileNotFoundError without a file.
    """
    data = read_bounded(path, remedy=remedy, largest=largest)
    form = _Form(schema, "values", unknown)
    return _validated_text(data, form, str(path), remedy)


def read_records(
    path: Path,
    schema: Any,
    *,
    remedy: str,
    unknown: Unknown = "keep",
    largest: int = LARGEST_BYTES,
) -> list[dict[str, Any]]:
    """Check a file of JSON lines by the schema of a line and return the lines' values.

    Raises InputError naming the first line that is refused; FileNotFoundError without a file.
    """
    form = _Form(schema, "values", unknown)
    data = read_bounded(path, remedy=remedy, largest=largest)
    return [
        _validated_text(line, form, f"{path}:{number}", remedy)
        for number, line in enumerate(data.splitlines(), start=1)
    ]


def parse_line(
    data: str | bytes, schema: Any, *, source: str, remedy: str, unknown: Unknown = "keep"
) -> dict[str, Any]:
    """Check one line of JSON by its schema and return its values."""
    return _validated_text(data, _Form(schema, "values", unknown), source, remedy)


def read_bounded(path: Path, *, remedy: str, largest: int) -> bytes:
    """Read a file that is not larger than it can be.

    Raises InputError when it is; OSError where it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise InputError(f"{path}: of more than {largest} bytes, which none has; {remedy}")
    return data.removeprefix(b"\xef\xbb\xbf")


def require_bounds(component: Any, place: str = "") -> None:
    """Raise InputError naming the field when a number within a dataclass is not finite, or beyond
    the bounds that its field declares."""
    for field in fields(component):
        value, where = getattr(component, field.name), f"{place}.{field.name}".lstrip(".")
        for number, bounds in _numbers(value, _hints(type(component)).get(field.name), ()):
            if is_dataclass(number):
                require_bounds(number, where)
            elif isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{where} is {number}; give a finite number")
            else:
                _require_within(number, bounds, where)


def _numbers(value: Any, hint: Any, bounds: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """Numbers and dataclasses in a field, each with the metadata of its type."""
    if get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
        bounds = tuple(metadata)
    if isinstance(value, tuple):
        inner = [part for part in get_args(hint) if part is not ...]
        for place, part in enumerate(value):
            yield from _numbers(part, inner[min(place, len(inner) - 1)] if inner else Any, ())
    elif (isinstance(value, int | float) and not isinstance(value, bool)) or is_dataclass(value):
        yield value, bounds


def _require_within(number: float, bounds: tuple[Any, ...], place: str) -> None:
    for bound in (part for group in bounds for part in _simple(group)):
        match bound:
            case Ge(limit) if number < limit:  # type: ignore[operator]
                raise InputError(f"{place} is {number}; give {limit} or more")
            case Gt(limit) if number <= limit:  # type: ignore[operator]
                raise InputError(f"{place} is {number}; give more than {limit}")
            case Le(limit) if number > limit:  # type: ignore[operator]
                raise InputError(f"{place} is {number}; give {limit} or less")
            case Lt(limit) if number >= limit:  # type: ignore[operator]
                raise InputError(f"{place} is {number}; give less than {limit}")
            case _:
                pass


def _simple(bound: Any) -> list[Any]:
    return list(bound) if isinstance(bound, Interval) else [bound]


@cache
def _hints(schema: type) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


@dataclass(frozen=True)
class _Form:
    """How pydantic is to read a schema: metadata that builds the validator of one."""

    schema: Any
    makes: Literal["component", "instance", "values"]
    """A dataclass of JSON that names its kind; one without; or the values as they are."""
    unknown: Unknown

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return _exact_literals(self._of(self.schema, handler))

    def _of(self, hint: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The validator of a type, dataclasses in it read as this form says."""
        from pydantic_core import core_schema

        kinds, optional, declared = _dataclasses(hint)
        if not kinds:
            return self._list(hint, handler) or handler.generate_schema(hint)
        form = replace(self, makes="component") if declared and self.makes == "instance" else self
        if declared or self.makes == "component":
            made = core_schema.tagged_union_schema(
                {name: form._entries(kind, handler, name) for name, kind in kinds.items()}, "kind"
            )
        else:
            made = self._entries(next(iter(kinds.values())), handler)
        return core_schema.nullable_schema(made) if optional else made

    def _list(self, hint: Any, handler: GetCoreSchemaHandler) -> CoreSchema | None:
        """The validator of a list, a tuple of any length, or an object of dataclasses by name."""
        from pydantic_core import core_schema

        length, whole = Len(), hint
        if get_origin(hint) is Annotated:
            hint, *metadata = get_args(hint)
            for bound in metadata:
                if isinstance(bound, Len):
                    length = bound
        bounds: Any = {"min_length": length.min_length, "max_length": length.max_length}
        match get_origin(hint), get_args(hint):
            case made, (entry, *rest) if made is list or (made is tuple and rest == [...]):
                if not _has_dataclasses(entry):
                    return None
                inner = self._of(entry, handler)
                if made is list:
                    return core_schema.list_schema(inner, fail_fast=True, **bounds)
                return core_schema.tuple_schema(
                    [inner], variadic_item_index=0, fail_fast=True, **bounds
                )
            case made, (name, entry) if made is dict and _has_dataclasses(entry):
                return core_schema.dict_schema(
                    handler.generate_schema(name), self._of(entry, handler), **bounds
                )
            case _ if _has_dataclasses(hint):
                raise TypeError(f"no validator of {whole}, which has dataclasses in it")
            case _:
                return None

    def _entries(self, kind: type, handler: GetCoreSchemaHandler, name: str = "") -> CoreSchema:
        """The validator of a dataclass; where it has a name, its JSON has a `kind`."""
        from pydantic_core import PydanticCustomError, core_schema

        entries = {
            field.name: core_schema.typed_dict_field(
                self._of(_hints(kind)[field.name], handler),
                required=_is_required(field),
                validation_alias=field.name.removesuffix("_"),
            )
            for field in fields(kind)
        }
        if name:
            entries["kind"] = core_schema.typed_dict_field(core_schema.literal_schema([name]))
        behaviour: Any = {"refuse": "forbid", "keep": "allow", "ignore": "ignore"}[self.unknown]
        values = core_schema.typed_dict_schema(
            entries,
            extra_behavior=behaviour,
            config=core_schema.CoreConfig(strict=True, allow_inf_nan=False),
        )
        if self.makes == "values":
            return values

        def make(found: dict[str, Any]) -> Any:
            found.pop("kind", None)
            try:
                return kind(**found)
            except InputError as error:
                raise PydanticCustomError("refused", "{says}", {"says": str(error)}) from error

        return core_schema.no_info_after_validator_function(make, values)

    def adapter(self) -> TypeAdapter[Any]:
        """The validator."""
        return _adapter(self)


@cache
def _adapter(form: _Form) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(Annotated[Any, form], config=ConfigDict(strict=True, allow_inf_nan=False))


def _exact_literals(schema: Any) -> Any:
    """A validator whose numbers are numbers: to Python, `true` is the literal 1."""
    from pydantic_core import core_schema

    if isinstance(schema, list):
        return [_exact_literals(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "literal" and any(type(one) is int for one in schema["expected"]):
        numbers = [one for one in schema["expected"] if type(one) is int]
        exact = core_schema.chain_schema(
            [core_schema.int_schema(strict=True), core_schema.literal_schema(numbers)]
        )
        if others := [one for one in schema["expected"] if type(one) is not int]:
            return core_schema.union_schema([exact, core_schema.literal_schema(others)])
        return exact
    return {name: _exact_literals(part) for name, part in schema.items()}


def _has_dataclasses(hint: Any) -> bool:
    """Whether a type is a dataclass, or has one in it."""
    if isinstance(hint, type) and is_dataclass(hint):
        return True
    parts = get_args(hint)
    if get_origin(hint) is Annotated and any(isinstance(part, Kinds) for part in parts):
        return True
    return get_origin(hint) is not Literal and any(map(_has_dataclasses, parts))


def _dataclasses(hint: Any) -> tuple[dict[str, type], bool, bool]:
    """The dataclasses that a type is one of, by name, none where it is something else; whether it
    may be None, too; and whether `Kinds` names them."""
    kinds: dict[str, type] = {}
    if get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
        for declared in metadata:
            if isinstance(declared, Kinds):
                kinds = declared.classes
    parts = list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]
    optional = type(None) in parts
    if kinds:
        return kinds, optional, True
    found = [part for part in parts if isinstance(part, type) and is_dataclass(part)]
    if len(found) + optional != len(parts):
        return {}, optional, False
    return {kind.__name__: kind for kind in found}, optional, False


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _validated(data: Any, form: _Form, source: str, remedy: str) -> Any:
    # File names that are not UTF-8 hold what JSON cannot: values are returned as they are.
    how = "replace" if form.makes == "values" else "strict"
    try:
        text = json.dumps(data, ensure_ascii=False).encode("utf-8", how)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{source}: not JSON values ({shortened(str(error), 100)})") from error
    found = _validated_text(text, form, source, remedy)
    return data if form.makes == "values" else found


def _validated_text(text: str | bytes, form: _Form, source: str, remedy: str) -> Any:
    from pydantic_core import ValidationError

    try:
        try:
            found = form.adapter().validate_json(text)
        except ValidationError as error:
            if "surrogate in hex escape" in str(error.errors()[0]["msg"]):
                return _validated(parse_json(text), form, source, remedy)
            raise InputError(_explained(error, text, source, remedy)) from None
        # Values are written again: with their order, and whole numbers as they were.
        return parse_json(text) if form.makes == "values" else found
    except ValueError as error:  # What Python cannot decode, such as numbers of 5000 digits.
        rest = f"; {remedy}" if remedy else ""
        raise InputError(f"{source}: not JSON ({shortened(str(error), 100)}){rest}") from error


def _explained(error: ValidationError, text: str | bytes, source: str, remedy: str) -> str:
    """One line on the first value that was refused: where, what was found, what was expected."""
    first = error.errors(include_url=False)[0]
    kind, says = first["type"], str(first["msg"])
    rest = f"; {remedy}" if remedy else ""
    if kind == "json_invalid":
        return f"{source}: not JSON ({says.removeprefix('Invalid JSON: ')}){rest}"
    place = _place(first["loc"], parse_json(text), missing=kind == "missing")
    where = f"{source}: {place}" if place else source
    found = _shown(first["input"])
    match kind:
        case "refused":
            return f"{where}: {says}{rest}"
        case "missing":
            return f"{where} is missing{rest}"
        case "extra_forbidden":
            return f"{where} is an unknown field{rest}"
        case "union_tag_not_found":
            return f"{where} names no kind: {found}{rest}"
        case "union_tag_invalid":
            context = first.get("ctx", {})
            expected = str(context.get("expected_tags", "")).replace("'", "")
            tag = shortened(str(context.get("tag")), 60)
            return f"{where} is of kind {tag}; expected one of {expected}{rest}"
        case _:
            expected = re.sub(r"^\w+ should (be|have) ", "expected ", says, count=1)
            expected = expected.replace(" after validation", "").replace("dictionary", "object")
            return f"{where} is {found}; {expected}{rest}"


def _place(location: tuple[int | str, ...], data: Any, *, missing: bool) -> str:
    """Where a value lies, such as `objects[3].scale`; what pydantic adds of its own left out."""
    place, value = "", data
    for number, part in enumerate(location):
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            place, value = f"{place}[{part}]", value[part]
        elif isinstance(value, Mapping) and part in value:
            place, value = f"{place}.{part}", value[part]
        elif missing and number == len(location) - 1:
            place = f"{place}.{part}"
    return shortened(place.lstrip("."), 120)


def _shown(value: Any) -> str:
    import reprlib

    printer = reprlib.Repr()
    printer.maxstring = printer.maxother = 60
    return shortened(printer.repr(value), 80)
