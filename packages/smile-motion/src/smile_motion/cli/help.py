"""What `--help` prints: a command's options under headings, and examples that run.

tyro reads the arguments; it cannot group the fields of one dataclass, put `-h` last or end with
examples, so this page is laid out here, from the same declarations.
"""

from __future__ import annotations

import ast
import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

INDENT = 6
"""Columns in front of what an option does."""
WIDEST = 100
"""Columns that lines are filled to, at most."""
EVERY_COMMAND = (
    ("--json", "Print the outcome for machines."),
    ("--debug", "Show tracebacks of errors."),
    ("-h, --help", "Show this page and exit."),
)
"""What every command takes besides its own options."""
LISTED = 32
"""Letters of choices that stand behind an option; longer lists stand in its text."""
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


@dataclass(frozen=True)
class Shown:
    """An option as the page shows it."""

    name: str
    """Field of the options."""
    invocation: str
    """How it is typed, such as `--size INT`."""
    text: str
    """What it does, and its default where the text does not say it."""
    positional: bool
    required: bool


def help_page(
    usage: str, module: Any, default: Any | None = None, *, width: int | None = None
) -> str:
    """The page of one command.

    Args:
        usage: The program and the command, as typed.
        module: What a `Command` loads: its docstring, its `Options`, whose `GROUPS` say which
            options stand under which heading, and its `EXAMPLES`.
        default: The options that are changed by what is given, where they are not those of the
            class: a preset.
        width: Columns. Default: those of the terminal, up to `WIDEST`.
    """
    width = width or max(40, min(WIDEST, shutil.get_terminal_size().columns))
    groups = grouped_options(module.Options, default)
    positional = " ".join(
        option.invocation for _, options in groups for option in options if option.positional
    )
    blocks = [f"usage: {' '.join(filter(None, (usage, positional, '[OPTIONS]')))}"]
    paragraphs = inspect.cleandoc(module.__doc__ or "").split("\n\n")
    blocks += [textwrap.fill(paragraph, width) for paragraph in paragraphs if paragraph]
    for heading, options in groups:
        lines = [f"{heading}:"]
        for option in options:
            lines += _lines(option.invocation, option.text, width)
        blocks.append("\n".join(lines))
    common = [line for entry in EVERY_COMMAND for line in _lines(*entry, width, beside=True)]
    blocks.append("\n".join(["every command:", *common]))
    if examples := getattr(module, "EXAMPLES", ()):
        blocks.append("\n".join(["examples:", *(f"  {line}" for line in examples)]))
    return "\n\n".join(blocks) + "\n"


def grouped_options(kind: type, default: Any | None = None) -> list[tuple[str, list[Shown]]]:
    """The options of a dataclass by heading, in the order of its `GROUPS`.

    A group of options, which is a dataclass too, is named by its field, and stands there with all
    it has. What is required, and `--out`, comes first of those that no heading claims.
    """
    shown = {option.name: option for option in _options(kind, default)}
    groups: Mapping[str, Sequence[str]] = getattr(kind, "GROUPS", {})
    headed = [
        (heading, [option for name in names for option in _named(shown, name)])
        for heading, names in groups.items()
    ]
    claimed = {option.name for _, options in headed for option in options}
    others = [option for name, option in shown.items() if name not in claimed]
    others.sort(key=lambda option: not (option.required or option.name == "out"))
    return [(heading, options) for heading, options in [("options", others), *headed] if options]


def _named(shown: Mapping[str, Shown], name: str) -> list[Shown]:
    """The option of a field, or those of the group that it holds."""
    if name in shown:
        return [shown[name]]
    return [option for path, option in shown.items() if path.startswith(f"{name}.")]


def _options(kind: type, default: Any | None, prefix: str = "") -> Iterator[Shown]:
    hints = get_type_hints(kind, include_extras=True)
    texts = field_texts(kind)
    for field in fields(kind):
        hint, *metadata = _unwrap(hints[field.name])
        own = field.default_factory() if field.default_factory is not MISSING else field.default
        value = own if default is None else getattr(default, field.name)
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _options(hint, value, f"{prefix}{field.name}.")
            continue
        positional = _marked(metadata, "Positional")
        # A positional option with an empty default is asked for by the command itself.
        required = value is MISSING or (positional and not Path(str(value)).name)
        repeatable = _marked(metadata, "UseAppendAction")
        preset = default is not None and value != own
        text = texts.get(field.name, "")
        yield Shown(
            name=f"{prefix}{field.name}",
            invocation=_invocation(field.name, hint, value, positional, repeatable),
            text=" ".join(
                filter(None, (text, _choices(hint, text), _hint(text, value, required, preset)))
            ),
            positional=positional,
            required=required,
        )


@lru_cache
def field_texts(kind: type) -> dict[str, str]:
    """The docstrings behind a dataclass's fields, inherited ones included, as one line each."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if not is_dataclass(one):
            continue
        for definition in _syntax(one.__module__).body:
            if isinstance(definition, ast.ClassDef) and definition.name == one.__name__:
                for field, text in pairwise(definition.body):
                    if (
                        isinstance(field, ast.AnnAssign)
                        and isinstance(field.target, ast.Name)
                        and isinstance(text, ast.Expr)
                        and isinstance(text.value, ast.Constant)
                    ):
                        texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


@lru_cache
def _syntax(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))


def _unwrap(hint: Any) -> tuple[Any, ...]:
    """A type without `Annotated` and None, followed by the metadata of all levels."""
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        kind, *more = _unwrap(inner)
        return kind, *more, *metadata
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        if len(parts) == 1:
            return _unwrap(parts[0])
        # One value or several, such as --bank: several says both.
        return (next((part for part in parts if get_origin(part) is tuple), parts[0]),)
    return (hint,)


def _marked(metadata: Sequence[Any], marker: str) -> bool:
    """Whether one of tyro's markers is declared; who declares one has imported tyro."""
    conf = sys.modules.get("tyro.conf")
    return conf is not None and any(entry is getattr(conf, marker) for entry in metadata)


def _invocation(name: str, hint: Any, value: Any, positional: bool, repeatable: bool) -> str:
    option = name.rstrip("_").replace("_", "-")
    several = get_origin(hint) is tuple
    if positional:
        return f"{(option[:-1] if several else option).upper()}{' ...' if several else ''}"
    if hint is bool:
        return f"--{option}" if value is False else f"--{option}, --no-{option}"
    return f"--{option} {_metavar(hint, repeatable)}"


def _metavar(hint: Any, repeatable: bool = False) -> str:
    if get_origin(hint) is tuple:
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        words = [_metavar(_unwrap(part)[0]) for part in parts]
        return " ".join(words) + (" ..." if Ellipsis in get_args(hint) and not repeatable else "")
    if get_origin(hint) is Literal:
        listed = "|".join(map(str, get_args(hint)))
        return listed if len(listed) <= LISTED else "NAME"
    return _METAVARS.get(hint, "VALUE")


def _choices(hint: Any, text: str) -> str:
    """The words that an option takes, unless its text names all of them."""
    if get_origin(hint) is tuple:
        hint = _unwrap(get_args(hint)[0])[0]
    if get_origin(hint) is not Literal or _metavar(hint) != "NAME":
        return ""
    choices = [str(choice) for choice in get_args(hint)]
    if all(f"`{choice}`" in text for choice in choices):
        return ""
    return f"One of: {', '.join(choices)}."


def _hint(text: str, value: Any, required: bool, preset: bool) -> str:
    """What holds when the option is left out, in brackets."""
    if required:
        return "(required)"
    if value is None or value == () or (value is False and not preset):
        return ""
    if isinstance(value, bool):
        return f"({'preset' if preset else 'default'}: {'on' if value else 'off'})"
    if preset:
        return f"(preset: {_word(value)})"
    if "Default:" in text:
        return ""
    return f"(default: {'this folder' if value == Path() else _word(value)})"


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _lines(invocation: str, text: str, width: int, *, beside: bool = False) -> list[str]:
    if beside:
        return [f"  {invocation:<14}{text}"]
    pad = " " * INDENT
    body = textwrap.wrap(
        text, width, initial_indent=pad, subsequent_indent=pad, break_on_hyphens=False
    )
    return [f"  {invocation}", *body]
