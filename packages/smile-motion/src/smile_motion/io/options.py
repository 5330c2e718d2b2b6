"""Types of options: names to choose from, ranges of numbers, and dependences between options.

Ranges and dependences are checked for every command line, ranges also when options are made:

    stride: Annotated[Stride, OnlyWith(over_video, "with --background natural")] = 4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Gt, Le, Lt

from smile_motion.errors import OptionError

BaselineName = Literal[
    "static-circles",
    "moving-circles",
    "moving-shapes",
    "transforming-shapes",
    "accelerating-shapes",
    "accelerating-textures",
    "accelerating-crops",
    "pseudo-motion",
]
"""Generators of other papers: arXiv 2410.24213, 2409.06665."""
RecipeName = Literal["paper", "official", BaselineName]
PathName = Literal["gaussian", "linear", "bezier", "brownian", "harmonic", "bounce", "excursion"]
TransformName = Literal["both", "rotation", "scaling", "none"]
EffectName = Literal["motion-blur", "drop-shadow", "colour-drift", "depth-swaps", "appearance"]
BackgroundKind = Literal["natural", "frame", "places", "black", "noise", "pseudo-motion"]
CameraName = Literal["none", "pan", "pan-zoom", "pan-zoom-roll"]
AnimationName = Literal["ping-pong", "loop", "still"]
"""How an animated object runs through its poses: to and fro, over and over, or not at all."""
NoiseKind = Literal["uniform", "gaussian", "spectral"]
PointsOn = Literal["all", "objects", "background", "pixels"]
"""What points to follow are on: an object or the (still) background, each as likely; objects, or
the background, alone; or any pixel, so that what is large has more."""
MotionReading = Literal["present", "started"]
"""Points that a token has the motion of: those in it when its slice begins, or those that were at
its position in the first frame, wherever they are now (TrackMAE)."""

MOST_POSES = 64
"""Largest number of poses, pictures of one animated object. Ours."""
MOST = 10**9
"""Default upper limit of numbers."""
_LARGE = 1000
"""Upper limits from here on are left out of messages about values that are too small."""


@dataclass(frozen=True)
class Within(GroupedMetadata):
    """Metadata of a number: the range of valid values, also for `smile_motion.io.schema`.

    NaN is never valid.
    """

    low: float
    """Smallest valid value."""
    high: float = MOST
    """Largest valid value."""
    open_low: bool = False
    """Whether `low` itself is invalid."""
    open_high: bool = False
    """Whether `high` itself is invalid."""

    def __iter__(self) -> Iterator[BaseMetadata]:
        """Yield the limits as `annotated_types`."""
        yield Gt(self.low) if self.open_low else Ge(self.low)
        yield Lt(self.high) if self.open_high else Le(self.high)

    def problem(self, value: Any) -> str | None:
        """Return the remedy for an invalid value, such as `give 1 or more`; None if it is valid."""
        if not isinstance(value, int | float):
            return "give a number"
        low = self.low < value if self.open_low else self.low <= value
        high = value < self.high if self.open_high else value <= self.high
        if low and high:
            return None
        least = f"more than {self.low:g}" if self.open_low else f"{self.low:g}"
        if self.high >= _LARGE and not low and value == value:
            return f"give {least}" if self.open_low else f"give {least} or more"
        most = f"less than {self.high}" if self.open_high else f"{self.high}"
        return f"give {least} to {most}"


Count = Annotated[int, Within(1)]
Index = Annotated[int, Within(0)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
ObjectCount = Annotated[int, Within(0, 10_000)]
FrameCount = Annotated[int, Within(1, 10_000)]
PageCount = Annotated[int, Within(1, 64)]
Side = Annotated[int, Within(1, 8192)]
Tubelet = Annotated[int, Within(1, 64)]
Stride = Annotated[int, Within(1, 10_000)]
Batch = Annotated[int, Within(1, 1_000_000)]
Epochs = Annotated[int, Within(1, 1_000_000)]
Steps = Annotated[int, Within(1, 10_000)]
Views = Annotated[int, Within(1, 1000)]
Heads = Annotated[int, Within(1, 1024)]
Workers = Annotated[int, Within(0, 1024)]
Threads = Annotated[int, Within(1, 1024)]
Points = Annotated[int, Within(1, 100_000)]
Port = Annotated[int, Within(0, 65_535)]
Bits = Annotated[int, Within(0, 32)]
BitsOrAll = Annotated[int, Within(-1, 32)]
Cell = Annotated[int, Within(48, 512)]
Columns = Annotated[int, Within(1, 32)]
Share = Annotated[float, Within(0, 1)]
PositiveShare = Annotated[float, Within(0, 1, open_low=True)]
OpenShare = Annotated[float, Within(0, 1, open_high=True)]
MaskRatio = Annotated[float, Within(0, 1, open_low=True, open_high=True)]
MovingDecay = Annotated[float, Within(0, 1, open_low=True, open_high=True)]
Decay = Annotated[float, Within(0, 1, open_low=True)]
Positive = Annotated[float, Within(0, 1_000_000, open_low=True)]
NonNegative = Annotated[float, Within(0, 1_000_000)]
Magnitude = Annotated[float, Within(-1_000_000, 1_000_000)]
ClipScore = Annotated[float, Within(-100, 100)]
Poses = Annotated[int, Within(1, MOST_POSES)]
FrameRate = Annotated[float, Within(0, 240, open_low=True)]


Groups = Mapping[str, tuple[str, ...]]
"""Type of `GROUPS` of a dataclass of options: headings of its help, and the fields below each (of
nested options, the field that holds them). Fields without a heading come first."""


def require_within(options: Any) -> None:
    """Check the numbers in a dataclass of options, groups included, by their fields' ranges.

    Raises:
        OptionError: A number is out of range; the message names the option.
    """
    for name, limits in limits_of(type(options)):
        value = options
        for part in name:
            value = getattr(value, part)
        for one in value if isinstance(value, tuple | list) else (value,):
            if one is not None and (problem := limits.problem(one)) is not None:
                option = name[-1].rstrip("_").replace("_", "-")
                raise OptionError(f"--{option} is {one}; {problem}")


@lru_cache
def limits_of(options: type) -> tuple[tuple[tuple[str, ...], Within], ...]:
    """Return the path of attributes and the range of each field that declares a range."""
    hints = get_type_hints(options, include_extras=True)
    found: list[tuple[tuple[str, ...], Within]] = []
    for field in fields(options):
        kinds = tuple(_parts(hints[field.name]))
        found += [
            ((field.name,), kind) for kind in dict.fromkeys(kinds) if isinstance(kind, Within)
        ]
        for kind in kinds:
            if isinstance(kind, type) and is_dataclass(kind):
                found += [((field.name, *below), limits) for below, limits in limits_of(kind)]
    return tuple(found)


def _parts(hint: Any) -> Iterator[Any]:
    """Yield a type and all its parameters, metadata included."""
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


@dataclass(frozen=True)
class OnlyWith:
    """Metadata of an option, or a group of options, that has an effect only with others."""

    has_effect: Callable[[Any], bool]
    """Predicate on all options of the command: whether this one has an effect."""
    when: str
    """The condition as text, such as `with --strategy mixed`."""


def refuse_idle_options(options: Any, arguments: Sequence[str]) -> None:
    """Refuse options on the command line that have no effect; presets and defaults may have such.

    Args:
        options: The parsed options.
        arguments: Words of the command line.

    Raises:
        OptionError: An option has no effect with the others.
    """
    given = given_options(arguments)
    for name, conditions in conditions_of(type(options)):
        for condition in conditions:
            if name in given and not condition.has_effect(options):
                raise OptionError(
                    f"--{name} has an effect only {condition.when}; change that, or leave "
                    f"--{name} out"
                )


@dataclass(frozen=True)
class GivenOnce:
    """Metadata of an option that may not be given twice, since only the last value would count."""

    instead: str
    """Remedy, named in the error."""


@dataclass(frozen=True)
class Formerly:
    """Metadata of an option with a former name, which is accepted for one release."""

    name: str
    """The former name, with underscores."""


def former_names(options: type) -> dict[str, str]:
    """Return the current field name of every former one."""
    return {
        entry.name: name.replace("-", "_")
        for name, metadata in _metadata_of(options)
        for entry in metadata
        if isinstance(entry, Formerly)
    }


def rename_former_options(
    options: type, arguments: Sequence[str], on_former: Callable[[str, str], None]
) -> list[str]:
    """Return a command line with former option names replaced by current ones.

    Args:
        options: Dataclass of the options.
        arguments: Words of the command line.
        on_former: Callback with the former and the current name, such as `--recipe`, `--preset`.
    """
    renamed = []
    names = {_typed(old): _typed(new) for old, new in former_names(options).items()}
    for word in arguments:
        name, equals, value = word.partition("=")
        if (new := names.get(name.replace("_", "-"))) is not None:
            on_former(name, new)
            word = f"{new}{equals}{value}"
        renamed.append(word)
    return renamed


def spell_out_switches(options: type, arguments: Sequence[str]) -> list[str]:
    """Return a command line with `--flip` and `--no-flip` as `--flip True` and `--flip False`.

    That is how tyro reads options that are on, off or, left out, decided by the command. Other
    switches it knows itself.

    Args:
        options: Dataclass of the options.
        arguments: Words of the command line.
    """
    hints = get_type_hints(options)
    names = {_typed(name) for name, hint in hints.items() if hint == (bool | None)}
    off = {f"--no-{name[2:]}": name for name in names}
    spelled: list[str] = []
    for place, word in enumerate(arguments):
        name = word.replace("_", "-")
        if name in off:
            spelled += [off[name], "False"]
        elif name in names and arguments[place + 1 : place + 2] not in (["True"], ["False"]):
            spelled += [name, "True"]
        else:
            spelled.append(word)
    return spelled


def _typed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


ONE_FOLDER = GivenOnce("give a folder that holds both, or links to them")


@dataclass(frozen=True)
class Gathered:
    """Metadata of an option that takes several values, in a row or by repeating the option."""


Banks = Annotated[Path | tuple[Path, ...] | None, Gathered()]


def gather_repeated_options(options: type, arguments: Sequence[str]) -> list[str]:
    """Return a command line with all values of a `Gathered` option behind its first occurrence.

    Args:
        options: Dataclass of the options.
        arguments: Words of the command line.

    Raises:
        OptionError: An option is given without a value.
    """
    several = {
        name
        for name, metadata in _metadata_of(options)
        if any(isinstance(entry, Gathered) for entry in metadata)
    }
    gathered: dict[str, list[str]] = {}
    parts: list[list[str]] = [[]]
    into = parts[0]
    for word in arguments:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("-") or _is_number(word):
            into.append(word)
        elif word.startswith("--") and name in several:
            if name not in gathered:
                gathered[name] = [f"--{name}"]
                parts += [gathered[name], []]
            into = gathered[name]
            into += [value] if equals else []
        else:
            into = parts[-1]
            into.append(word)
    for option, *given in gathered.values():
        if not given:
            raise OptionError(f"{option}: no value is given; give one or more, or leave it out")
    return [word for part in parts for word in part]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def refuse_repeated_options(options: type, arguments: Sequence[str]) -> None:
    """Refuse `GivenOnce` options that occur twice.

    Args:
        options: Dataclass of the options.
        arguments: Words of the command line.

    Raises:
        OptionError: Such an option occurs twice.
    """
    given = Counter(_names(arguments))
    for name, metadata in _metadata_of(options):
        for entry in metadata:
            if isinstance(entry, GivenOnce) and given[name] > 1:
                raise OptionError(f"--{name} is given {given[name]} times; {entry.instead}")


def _names(arguments: Sequence[str]) -> list[str]:
    """Return the names of the options in a command line, in order, without leading dashes."""
    return [
        word[2:].partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")
    ]


def _metadata_of(options: type) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the option name and the metadata of every field of a dataclass."""
    hints = get_type_hints(options, include_extras=True)
    for field in fields(options):
        yield field.name.rstrip("_").replace("_", "-"), get_args(hints[field.name])[1:]


def given_options(arguments: Sequence[str]) -> frozenset[str]:
    """Return the names of the options in a command line, without dashes; `--no-x` counts as `x`."""
    names = set(_names(arguments))
    return frozenset(names | {name.removeprefix("no-") for name in names})


def conditions_of(
    options: type, outer: tuple[OnlyWith, ...] = ()
) -> Iterator[tuple[str, tuple[OnlyWith, ...]]]:
    """Yield every option name of a dataclass with its conditions.

    A field of a group of options (a nested dataclass) has the conditions of the group too.
    """
    hints = get_type_hints(options, include_extras=True)
    for field in fields(options):
        kind, *metadata = get_args(hints[field.name]) or (hints[field.name],)
        own = (*outer, *(entry for entry in metadata if isinstance(entry, OnlyWith)))
        if isinstance(kind, type) and is_dataclass(kind):
            yield from conditions_of(kind, own)
        else:
            yield field.name.rstrip("_").replace("_", "-"), own
