"""The names and defaults of all options, frozen: a change of one is a change for every user.

After a change that is meant, `python tests/repository/test_command_line.py` writes the file anew.
"""

import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import smile_motion.__main__
import smile_train.__main__
from smile_motion.cli.app import Command

FROZEN = Path(__file__).with_name("command_line.json")
COMMANDS = {
    f"{program} {command.name}": command
    for program, commands in (
        ("smile-motion", smile_motion.__main__.COMMANDS),
        ("smile-train", smile_train.__main__.COMMANDS),
    )
    for command in commands
}


def options_of(command: Command) -> dict[str, Any]:
    """Every option of a command by its name, with its default and its choices."""
    module = command.load()
    made = module.defaults(["--help"]) if hasattr(module, "defaults") else None
    return dict(_options(module.Options, made))


def _options(kind: type, made: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint = hints[field.name]
        value = field.default if made is None else getattr(made, field.name)
        if made is None and field.default_factory is not MISSING:
            value = field.default_factory()
        if isinstance(hint, type) and is_dataclass(hint):
            found += _options(hint, None if value is MISSING else value)
            continue
        name = field.name.rstrip("_").replace("_", "-")
        entry: dict[str, Any] = {"default": _json(value)} if value is not MISSING else {}
        if choices := sorted(map(str, _choices(hint))):
            entry["choices"] = choices
        found.append((name, entry))
    return found


def _choices(hint: Any) -> set[Any]:
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return {choice for part in get_args(hint) for choice in _choices(part)}


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_options_that_it_had(name: str) -> None:
    assert options_of(COMMANDS[name]) == json.loads(FROZEN.read_text())[name]


def test_the_commands_are_those_that_there_were() -> None:
    assert list(json.loads(FROZEN.read_text())) == list(COMMANDS)


if __name__ == "__main__":
    found = {name: options_of(command) for name, command in COMMANDS.items()}
    FROZEN.write_text(json.dumps(found, indent=1) + "\n")
