"""Untrusted JSON, read by a declared schema.

A schema is a frozen dataclass, or another type such as `dict[str, str]`: its fields' types are
what their values must be, strictly (a bool is no number, 2.5 is no count), lists stand for tuples,
bounds are metadata of `Annotated` (`annotated_types`), and a field without a default is required.
A field `def_` stands for `def`, a keyword of Python. pydantic does the checking; it is imported
when something is first read.

Example:

    recipe = parse_component(data, MotionRecipe, source="recipe.json")
    card = read_record(folder / "bank.json", BankCard, remedy="build the bank again")
    results = read(folder / "results.json", Results, remedy="evaluate again")
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from smile_motion.errors import InputError, shortened
from smile_motion.io.files import parse_json
from smile_motion.io.validators import Form, Unknown

if TYPE_CHECKING:
    from pydantic_core import ValidationError

LARGEST_BYTES = 1 << 30
"""Larger files of JSON lines are refused."""
LARGEST_DOCUMENT = 1 << 26
"""Bytes of the largest file that holds one JSON value, unless its reader says otherwise."""
Schema = TypeVar("Schema")


def parse_component(data: Any, schema: type[Schema], source: str) -> Schema:
    """Make a component of JSON values written by `component_to_json`.

    Args:
        data: JSON values.
        schema: Dataclass of the component.
        source: Source of the values named in errors, such as a path.

    Raises:
        InputError: A kind or a field is unknown, or a value is refused.
    """
    return _validated(data, Form(schema, "component", "refuse"), source, "")


def parse(
    data: Any, schema: type[Schema], *, source: str, remedy: str = "", unknown: Unknown = "refuse"
) -> Schema:
    """Make a dataclass of JSON values.

    Args:
        data: JSON values.
        schema: The dataclass.
        source: Source of the values named in errors, such as a path.
        remedy: Remedy for a refused value, named in errors.
        unknown: Treatment of fields that the schema does not name.

    Raises:
        InputError: A value is refused; the message names the first and its place.
    """
    return _validated(data, Form(schema, "instance", unknown), source, remedy)


def parse_text(
    text: str | bytes, schema: Any, *, source: str, remedy: str, unknown: Unknown = "refuse"
) -> Any:
    """Make a value of a schema from JSON text; other arguments are those of `parse`."""
    return _validated_text(text, Form(schema, "instance", unknown), source, remedy)


def read(
    path: Path,
    schema: type[Schema],
    *,
    remedy: str,
    unknown: Unknown = "refuse",
    largest: int = LARGEST_DOCUMENT,
) -> Schema:
    """Make a value of a schema from a JSON file.

    Args:
        path: Path of the file.
        schema: Dataclass, or another type.
        remedy: Remedy for a refused value, named in errors.
        unknown: Treatment of fields that the schema does not name.
        largest: Largest size of the file, bytes.

    Raises:
        InputError: A value is refused; the message names the first.
        FileNotFoundError: The file does not exist.
    """
    data = read_bounded(path, remedy=remedy, largest=largest)
    return parse_text(data, schema, source=str(path), remedy=remedy, unknown=unknown)


def parse_record(
    data: Any, schema: Any, *, source: str, remedy: str = "", unknown: Unknown = "keep"
) -> dict[str, Any]:
    """Check JSON values by a schema and return them unchanged; arguments are those of `parse`."""
    return _validated(data, Form(schema, "values", unknown), source, remedy)


def read_record(
    path: Path,
    schema: Any,
    *,
    remedy: str,
    unknown: Unknown = "keep",
    largest: int = LARGEST_DOCUMENT,
) -> dict[str, Any]:
    """Check a JSON file by a schema and return its values unchanged; arguments are those of `read`.

    Raises:
        InputError: A value is refused; the message names the first.
        FileNotFoundError: The file does not exist.
    """
    data = read_bounded(path, remedy=remedy, largest=largest)
    form = Form(schema, "values", unknown)
    return _validated_text(data, form, str(path), remedy)


def read_records(
    path: Path,
    schema: Any,
    *,
    remedy: str,
    unknown: Unknown = "keep",
    largest: int = LARGEST_BYTES,
) -> list[dict[str, Any]]:
    """Check a file of JSON lines by the schema of a line and return the values of all lines.

    Other arguments are those of `read`.

    Raises:
        InputError: A line is refused; the message names the first.
        FileNotFoundError: The file does not exist.
    """
    form = Form(schema, "values", unknown)
    data = read_bounded(path, remedy=remedy, largest=largest)
    return [
        _validated_text(line, form, f"{path}:{number}", remedy)
        for number, line in enumerate(data.splitlines(), start=1)
    ]


def parse_line(
    data: str | bytes, schema: Any, *, source: str, remedy: str, unknown: Unknown = "keep"
) -> dict[str, Any]:
    """Check one line of JSON by a schema and return its values; arguments are those of `parse`."""
    return _validated_text(data, Form(schema, "values", unknown), source, remedy)


def read_bounded(path: Path, *, remedy: str, largest: int) -> bytes:
    """Read a file of bounded size, without a UTF-8 byte-order mark.

    Args:
        path: Path of the file.
        remedy: Remedy for a file that is too large, named in errors.
        largest: Largest size, bytes.

    Raises:
        InputError: The file is larger.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise InputError(f"{path}: of more than {largest} bytes, which none has; {remedy}")
    return data.removeprefix(b"\xef\xbb\xbf")


def _validated(data: Any, form: Form, source: str, remedy: str) -> Any:
    # File names that are not UTF-8 hold what JSON cannot: values are returned as they are.
    how = "replace" if form.makes == "values" else "strict"
    try:
        text = json.dumps(data, ensure_ascii=False).encode("utf-8", how)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{source}: not JSON values ({shortened(str(error), 100)})") from error
    found = _validated_text(text, form, source, remedy)
    return data if form.makes == "values" else found


def _validated_text(text: str | bytes, form: Form, source: str, remedy: str) -> Any:
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
    except InputError:
        raise
    except ValueError as error:  # What Python cannot decode, such as numbers of 5000 digits.
        rest = f"; {remedy}" if remedy else ""
        raise InputError(f"{source}: not JSON ({shortened(str(error), 100)}){rest}") from error


def _explained(error: ValidationError, text: str | bytes, source: str, remedy: str) -> str:
    """Describe the first refused value in one line: place, finding, expectation, remedy."""
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


def require_same(
    found: Mapping[str, Any], wanted: Mapping[str, Any], out: Path, *, what: str
) -> None:
    """Check that a folder was written with the wanted settings.

    Args:
        found: Settings that the folder records.
        wanted: Settings of this run, JSON values.
        out: The folder.
        what: What it contains, such as `a bank`.

    Raises:
        InputError: Settings differ; the message names each.
    """
    differing = [
        f"{name} {shortened(repr(found.get(name)), 300)} there, "
        f"{shortened(repr(wanted[name]), 300)} asked for"
        for name in wanted
        if found.get(name) != wanted[name]
    ]
    if differing:
        raise InputError(
            f"{out}: holds {what} made otherwise ({'; '.join(differing)}); choose another --out"
        )


def _place(location: tuple[int | str, ...], data: Any, *, missing: bool) -> str:
    """Return the path of a value, such as `objects[3].scale`, without pydantic's own parts."""
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
