"""Options that have an effect only beside others; where they have none they are refused.

Declared beside the field, and checked once for every command line::

    noise: Annotated[NoiseKind, OnlyWith(over_noise, "with --background noise")] = "uniform"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from smile_motion.errors import InputError


@dataclass(frozen=True)
class OnlyWith:
    """Metadata of an option, or of a group of options, that others can make idle."""

    has_effect: Callable[[Any], bool]
    """Of all options of the command: whether this one changes anything."""
    when: str
    """The same in words of a command line, such as `with --strategy mixed`."""


def refuse_idle_options(options: Any, arguments: Sequence[str]) -> None:
    """Raise InputError for an option that the arguments give and that has no effect.

    What presets and defaults set may be idle: what is given decides over them.
    """
    given = given_options(arguments)
    for name, conditions in conditions_of(type(options)):
        for condition in conditions:
            if name in given and not condition.has_effect(options):
                raise InputError(
                    f"--{name} has an effect only {condition.when}; change that, or leave "
                    f"--{name} out"
                )


def given_options(arguments: Sequence[str]) -> frozenset[str]:
    """Names of the options in a command line, without dashes in front; `--no-x` gives `x` too."""
    names = {
        word[2:].partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")
    }
    return frozenset(names | {name.removeprefix("no-") for name in names})


def conditions_of(
    options: type, outer: tuple[OnlyWith, ...] = ()
) -> Iterator[tuple[str, tuple[OnlyWith, ...]]]:
    """Every option of a dataclass by its name on the command line, with what it needs.

    Fields of a group, which is a dataclass too, need also what the group needs.
    """
    hints = get_type_hints(options, include_extras=True)
    for field in fields(options):
        kind, *metadata = get_args(hints[field.name]) or (hints[field.name],)
        own = (*outer, *(entry for entry in metadata if isinstance(entry, OnlyWith)))
        if isinstance(kind, type) and is_dataclass(kind):
            yield from conditions_of(kind, own)
        else:
            yield field.name.rstrip("_").replace("_", "-"), own
