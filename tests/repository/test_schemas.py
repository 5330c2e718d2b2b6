"""Every JSON that is read has a schema, and every schema refuses in one line what it does not say.

Documents are changed at every place that their schema declares: another type, nothing, a field that
nobody knows, a number beyond its bounds. What is to be refused follows from the declared types.
"""

import ast
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from annotated_types import Ge, GroupedMetadata, Gt, Le, Len, Lt
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.io.schema import read, read_record
from smile_motion.motion.recipe import MotionRecipe
from smile_train.cli import pretrain
from smile_train.training.metrics_logger import MetricsLogger
from support.documents import DOCUMENTS, Document

PROBES: tuple[Any, ...] = (None, True, 7, 2.5, "text", [{"no": 1}], {"no": [1]})
GONE = object()
Change = tuple[tuple[str | int, ...], Any]
"""A place, and what is put there; `GONE` takes it away."""


def _kinds(hint: Any) -> set[type]:
    """Python's types of the JSON that a declared type admits; empty: any."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        parts = [_kinds(part) for part in get_args(hint)]
        return set[type]().union(*parts) if all(parts) else set()
    if get_origin(hint) is Literal:
        return {type(value) for value in get_args(hint)}
    made = get_origin(hint) or hint
    if made is Any:
        return set()
    if made is float:
        return {int, float}
    if made in (list, tuple):
        return {list}
    if made is dict or (isinstance(made, type) and is_dataclass(made)):
        return {dict}
    return {str if made is Path else made}


def _metadata(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        if len(parts) == 1:
            yield from _metadata(parts[0])
    if get_origin(hint) is Annotated:
        for bound in get_args(hint)[1:]:
            yield from bound if isinstance(bound, GroupedMetadata) else [bound]


def _beyond(hint: Any, value: Any) -> Iterator[Any]:
    """Values that are just out of a type's bounds."""
    limit: Any
    for bound in _metadata(hint):
        match bound:
            case Ge(limit):
                yield limit - 1
            case Gt(limit):
                yield limit
            case Le(limit):
                yield limit + 1
            case Lt(limit):
                yield limit
            case Len(least, most):
                if least > 0:
                    yield value[: least - 1] if isinstance(value, str | list) else {}
                if most is not None and isinstance(value, str | list) and most < 1 << 16:
                    yield (value[:1] or "x") * (most + 1)


def _inner(hint: Any, value: Any) -> Any:
    """The part of a type that a value is of, without bounds."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            kinds = _kinds(part)
            if type(value) in kinds and value is not None:
                return _inner(part, value)
    return hint


def changes(hint: Any, value: Any, place: tuple[str | int, ...], closed: bool) -> Iterator[Change]:
    """Every change of a document, below a place, that its declared type does not admit."""
    kinds = _kinds(hint)
    if kinds:
        yield from ((place, probe) for probe in PROBES if type(probe) not in kinds)
    yield from ((place, other) for other in _beyond(hint, value))
    if get_origin(hint) is Literal:
        yield place, 99 if kinds == {int} else "none of them"
    hint = _inner(hint, value)
    made, parts = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        for field in fields(hint):
            name = field.name.removesuffix("_")
            if field.default is MISSING and field.default_factory is MISSING:
                yield (*place, name), GONE
            if name in value:
                yield from changes(hints[field.name], value[name], (*place, name), closed)
        if closed:
            yield (*place, "unheard_of"), 1
    elif made is dict:
        for name, entry in value.items():
            yield from changes(parts[1], entry, (*place, name), closed)
    elif made is list or (made is tuple and ... in parts):
        for number, entry in enumerate(value[:2]):
            yield from changes(parts[0], entry, (*place, number), closed)
    elif made is tuple:
        yield place, value[:-1]
        for number, (part, entry) in enumerate(zip(parts, value, strict=True)):
            yield from changes(part, entry, (*place, number), closed)


def changed(sound: Any, change: Change) -> Any:
    place, value = change
    if not place:
        return value
    document = json.loads(json.dumps(sound))
    part = document
    for step in place[:-1]:
        part = part[step]
    if value is GONE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return document


def refusal(path: Path, document: Document, content: Any) -> str | None:
    """What is said of a file, as an instance and as values; None where it is read."""
    path.write_text(json.dumps(content), encoding="utf-8")
    said = set()
    for reader in (read, read_record):
        try:
            reader(path, document.schema, remedy="make it anew", unknown=document.unknown)
            said.add(None)
        except InputError as error:
            said.add(str(error))
    assert len(said) == 1, said
    return said.pop()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_refuses_in_one_line_what_it_does_not_declare(name: str, tmp_path: Path) -> None:
    document, path = DOCUMENTS[name], tmp_path / "document.json"
    read(path_of(path, document.sound), document.schema, remedy="", unknown=document.unknown)
    found = list(changes(document.schema, document.sound, (), document.unknown == "refuse"))
    assert len(found) >= 5
    for change in found:
        said = refusal(path, document, changed(document.sound, change))
        assert said is not None, f"{change} is accepted"
        assert "\n" not in said
        assert said.startswith(str(path))
        assert said.endswith("; make it anew")
        place = [str(step) for step in change[0] if isinstance(step, str)]
        assert all(step in said for step in place), (change, said)
        assert len(said) < len(str(path)) + 400


def path_of(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


PACKAGES = Path(__file__).parents[2] / "packages"
READERS = {
    "read", "read_record", "read_records", "parse", "parse_text", "parse_line", "parse_record",
    "read_json", "read_journal", "read_log", "take_fields",
}  # fmt: skip
"""Functions whose second argument is a schema, or whose first is, beside data."""
WALKED_ELSEWHERE = {"MotionRecipe", "Origin"}
"""Components: below, and in tests of backgrounds."""
DECODERS = {
    "schema.py": "the one reader",
    "validators.py": "its validators",
    "files.py": "the decoder that it uses",
    "settings.py": "options of a run, which its schema then checks as it does those in YAML",
}
"""Modules that decode JSON from outside without a schema, and why."""


@cache
def _calls() -> list[tuple[Path, ast.Call, str]]:
    found = []
    for path in sorted(PACKAGES.glob("*/src/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found.append((path, node, ast.unparse(node.func)))
    return found


def test_no_module_decodes_json_beside_the_schemas() -> None:
    found = {
        path.name: f"{call.lineno}: {ast.unparse(call)[:80]}"
        for path, call, name in _calls()
        if (
            name in ("json.loads", "json.load", "parse_json", "TypeAdapter", "files.parse_json")
            and path.name not in DECODERS
            # Values of this process made plain, as they will be when they are read again.
            and not (call.args and "dump" in ast.unparse(call.args[0]))
        )
    }
    assert not found


def test_every_schema_is_walked_over() -> None:
    walked = set()
    for document in DOCUMENTS.values():
        inner = document.schema
        while get_args(inner):
            inner = get_args(inner)[-1]
        walked.add(getattr(inner, "__name__", ""))
    used = {
        argument.id
        for path, call, name in _calls()
        if name.rpartition(".")[2] in READERS and path.name != "schema.py"
        for argument in (leaf for part in call.args for leaf in ast.walk(part))
        if isinstance(argument, ast.Name) and argument.id.lstrip("_")[:1].isupper()
        and not argument.id.isupper()
    } - {"Annotated", "Any", "Path"}  # fmt: skip
    assert len(used) > 25
    assert used - walked - WALKED_ELSEWHERE == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"motion_blur": 7}, "motion_blur is 7; expected an object"),
        ({"motion_blur": True}, "motion_blur is True; expected an object"),
        ({"objects": 2.5}, "objects is 2.5; expected a valid integer"),
        ({"objects": True}, "objects is True; expected a valid integer"),
        ({"objects": 256}, "objects is 256"),
        ({"path": {"kind": "KeyframeValues"}}, "path is of kind KeyframeValues; expected one of"),
        ({"path": {"range_px": 3}}, "path names no kind"),
        ({"transform": {"kind": "GaussianPath"}}, "transform is of kind GaussianPath"),
        ({"size": []}, "size is []; expected an object"),
        ({"whole_pixels": 1}, "whole_pixels is 1; expected a valid boolean"),
        ({"speed": 1}, "speed is an unknown field"),
    ],
)
def test_recipes_refuse_values_of_another_kind(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.json"
    sound = MotionRecipe.paper().to_json()
    read_recipe(path_of(path, sound))
    with pytest.raises(InputError) as caught:
        read_recipe(path_of(path, sound | change))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def read_recipe(path: Path) -> MotionRecipe:
    return ClipOptions(recipe_file=path).make_recipe()


def test_numbers_are_not_true_or_false_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    numbers = 0
    for document in DOCUMENTS.values():
        if "format" not in document.sound and "version" not in document.sound:
            continue
        name = "format" if "format" in document.sound else "version"
        if type(document.sound[name]) is int:
            said = refusal(path, document, document.sound | {name: True})
            assert said == f"{path}: {name} is True; expected a valid integer; make it anew"
            numbers += 1
    assert numbers >= 5


@pytest.mark.parametrize("torn", [b'{"ste', b'{"step": -1}\n', b'{"step": true}\n', b"7\n"])
def test_a_log_ends_before_its_first_damaged_line(torn: bytes, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1, "loss": NaN}\n{"step": 2}\n' + torn)
    taken = MetricsLogger(tmp_path, 9, views=1, batch=1, epoch=1, processes=1)
    taken.restore(9)
    assert [entry["step"] for entry in taken.history] == [1, 2]
    assert len(log.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("torn", [b'{"step": 4, "dir', b'{"step": 4, "direction_accuracy": "?"}\n'])
def test_a_training_ends_by_what_its_whole_measures_say(torn: bytes, tmp_path: Path) -> None:
    assert pretrain._motion_line(tmp_path) == ""
    measures = tmp_path / "measures.jsonl"
    asked = (
        b'{"step": 2, "direction_accuracy": 63.4, "direction_accuracy_untrained": 14, '
        b'"growth_accuracy": 78, "growth_accuracy_untrained": 54}\n'
    )
    measures.write_bytes(b'{"step": 1, "direction_accuracy": 20.5}\n' + torn)
    assert pretrain._motion_line(tmp_path) == ""
    measures.write_bytes(asked + b'{"step": 3, "loss": NaN}\n' + torn)
    assert "direction of travel: 63 % (untrained 14 %," in pretrain._motion_line(tmp_path)
