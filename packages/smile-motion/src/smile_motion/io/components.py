"""Components: dataclasses that a user chooses, such as a path; their JSON, kinds and bounds.

The JSON of a component names its class as `kind`, and so does that of every dataclass in it. A
field whose type is a union takes these classes alone; where the type is a protocol,
`Annotated[CentrePath, Kinds(...)]` names them. `schema.parse_component` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

from smile_motion.errors import InputError


class Kinds:
    """Metadata of a field: the classes that its JSON may name as `kind`."""

    def __init__(self, *classes: type, **named: type) -> None:
        """Take classes of which `kind` is the name, and others by other names."""
        self.classes = {kind.__name__: kind for kind in classes} | named


def component_to_json(component: Any) -> dict[str, Any]:
    """Convert a dataclass to JSON values, nested dataclasses included."""
    values: dict[str, Any] = {"kind": type(component).__name__}
    for field in fields(component):
        value = getattr(component, field.name)
        values[field.name] = component_to_json(value) if is_dataclass(value) else _listed(value)
    return values


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def require_bounds(component: Any, place: str = "") -> None:
    """Check that all numbers in a dataclass are finite and within the bounds of their fields.

    Args:
        component: The dataclass; nested ones are checked too.
        place: Path of the dataclass that precedes field names in errors.

    Raises:
        InputError: A number is not; the message names its field.
    """
    for field in fields(component):
        value, where = getattr(component, field.name), f"{place}.{field.name}".lstrip(".")
        for number, bounds in _numbers(value, field_types(type(component)).get(field.name), ()):
            if is_dataclass(number):
                require_bounds(number, where)
            elif isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{where} is {number}; give a finite number")
            else:
                _require_within(number, bounds, where)


def _numbers(value: Any, hint: Any, bounds: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield the numbers and dataclasses in a field, each with the metadata of its type."""
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
def field_types(schema: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields, with their metadata."""
    return get_type_hints(schema, include_extras=True)
