"""The JSON form of configurations made of frozen dataclasses, each naming its `kind`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from smile_motion.errors import InputError


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


def component_from_json(data: Any, kinds: Mapping[str, type], source: str) -> Any:
    """Read what `component_to_json` wrote.

    kinds   the dataclasses that may occur, by name.
    source  named in errors, such as the file the values came from.
    Raises InputError when a kind or a field is unknown, or a value is refused.
    """
    if not isinstance(data, dict) or data.get("kind") not in kinds:
        raise InputError(
            f"{source}: {data!r} names no component; `kind` is one of {', '.join(kinds)}"
        )
    kind = kinds[data["kind"]]
    nested = {field.name for field in fields(kind) if _holds_component(field.default_factory)}
    arguments = {}
    for name, value in data.items():
        if isinstance(value, dict):
            arguments[name] = component_from_json(value, kinds, source)
        elif name in nested:
            raise InputError(f"{source}: {data['kind']}: {name} is {value!r}, not a component")
        elif name != "kind":
            arguments[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**arguments)
    except TypeError as error:
        raise InputError(f"{source}: {data['kind']}: {error}") from error


def require_finite(component: Any, name: str = "") -> None:
    """Raise InputError naming the field when a number within a dataclass is NaN or infinite."""
    if is_dataclass(component):
        for field in fields(component):
            require_finite(getattr(component, field.name), f"{name}.{field.name}".lstrip("."))
    elif isinstance(component, tuple):
        for value in component:
            require_finite(value, name)
    elif isinstance(component, float) and not math.isfinite(component):
        raise InputError(f"{name} is {component}; give a finite number")


def _holds_component(default_factory: Any) -> bool:
    return isinstance(default_factory, type) and is_dataclass(default_factory)
