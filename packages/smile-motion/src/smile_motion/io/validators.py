"""Validators of schemas: pydantic's, built from declared types, strictly.

pydantic is imported when a validator is first needed.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Len

from smile_motion.errors import InputError
from smile_motion.io.components import Kinds, field_types

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema

Unknown = Literal["refuse", "keep", "ignore"]
"""Treatment of fields that a schema does not name."""


@dataclass(frozen=True)
class Form:
    """Metadata that builds pydantic's validator of a schema."""

    schema: Any
    makes: Literal["component", "instance", "values"]
    """A dataclass with a `kind` in its JSON; a dataclass without; or the JSON values unchanged."""
    unknown: Unknown

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return _exact_literals(self._of(self.schema, handler))

    def _of(self, hint: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the validator of a type, with dataclasses in it read by this form."""
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
        """Return the validator of a list, tuple or dict of dataclasses; None for other types."""
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
        """Return the validator of a dataclass; with a name, its JSON has a `kind`."""
        from pydantic_core import PydanticCustomError, core_schema

        entries = {
            field.name: core_schema.typed_dict_field(
                self._of(field_types(kind)[field.name], handler),
                required=_is_required(field),
                validation_alias=field.name.removesuffix("_"),
            )
            for field in fields(kind)
        }
        if name:
            entries["kind"] = core_schema.typed_dict_field(core_schema.literal_schema([name]))
        behavior: Any = {"refuse": "forbid", "keep": "allow", "ignore": "ignore"}[self.unknown]
        values = core_schema.typed_dict_schema(
            entries,
            extra_behavior=behavior,
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
        """Return the validator, which is built once."""
        return _adapter(self)


@cache
def _adapter(form: Form) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(Annotated[Any, form], config=ConfigDict(strict=True, allow_inf_nan=False))


def _exact_literals(schema: Any) -> Any:
    """Make integer literals refuse booleans: in Python `True == 1`."""
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
    """Whether a type is a dataclass or contains one."""
    if isinstance(hint, type) and is_dataclass(hint):
        return True
    parts = get_args(hint)
    if get_origin(hint) is Annotated and any(isinstance(part, Kinds) for part in parts):
        return True
    return get_origin(hint) is not Literal and any(map(_has_dataclasses, parts))


def _dataclasses(hint: Any) -> tuple[dict[str, type], bool, bool]:
    """Find the dataclasses that a type is a union of.

    Returns:
        Dataclasses by name, empty for other types; whether the type includes None; and whether
        `Kinds` names the dataclasses.
    """
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
