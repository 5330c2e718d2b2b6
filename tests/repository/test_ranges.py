"""Every number on both command lines says which values make sense, and no other is taken."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import smile_motion.__main__
import smile_train.__main__
from smile_motion.cli.app import EXIT_INPUT, Command, run_app
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.io.options import Within, limits_of
from smile_train.config.pretrain import PretrainConfig

COMMANDS = {
    "smile-motion": smile_motion.__main__.COMMANDS,
    "smile_train": smile_train.__main__.COMMANDS,
}
VALUES = ("-1", "0", "nan", "inf", "-inf", str(10**12))
ZERO = {
    *(
        "seed",
        "workers",
        "objects",
        "port",
        "max_distance",
        "min_area",
        "max_area",
        "min_raw",
        "probe_motion_every",
        "probe_linear_every",
        "visible_weight",
    ),
    *("min_score", "margin", "guidance", "shard_index", "picture_every", "token", "mixed_share"),
    *("trajectory_visible", "coverage_threshold", "decoder_mask_ratio", "min_lr", "weight_decay"),
    *("warmup_epochs", "betas", "drop_path", "head_dropout", "head_scale", "label_smoothing"),
    *("mixup", "cutmix", "erasing", "motion_share"),
}
"""Options of which 0 makes sense: no workers, no objects, a free port, no such loss."""
NEGATIVE = {"max_distance", "min_raw", "min_score"}
"""Options of which -1 does: all objects are kept, thresholds of models' own values."""
HUGE = {"seed"}


def commands() -> Iterator[tuple[str, Command]]:
    for program, entries in COMMANDS.items():
        for command in entries:
            yield program, command


def parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from parts(part)


def numeric_fields(options: type, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Fields that hold numbers, whatever they declare."""
    from dataclasses import fields, is_dataclass

    hints = get_type_hints(options)
    for field in fields(options):
        hint = hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            yield from numeric_fields(hint, (*prefix, field.name))
        elif set(parts(hint)) & {int, float}:
            yield (*prefix, field.name)


@pytest.mark.parametrize(("program", "command"), list(commands()))
def test_every_number_declares_its_limits(program: str, command: Command) -> None:
    options = command.load().Options
    limits = dict(limits_of(options))
    assert set(limits) == set(numeric_fields(options))
    for path, within in limits.items():
        name = path[-1]
        for value in map(float, VALUES):
            sound = within.problem(value) is None
            if value == 0:
                expected = name in ZERO and not (name == "workers" and within.low == 1)
            elif value == -1:
                expected = name in NEGATIVE and within.low < 0
            else:
                expected = math.isfinite(value) and value > 0 and name in HUGE
            assert sound == expected, (command.name, name, value)


def sample_words(program: str, command: Command) -> list[str]:
    """The words that a command cannot do without."""
    positional = {
        "bank push": ["F", "a/b"], "bank pull": ["a/b"], "data list": ["folder", "F"],
        "data pack": ["F"], "evaluate gains": ["A", "B"], "completion": ["bash"],
        "evaluate severe": ["F"],
    }  # fmt: skip
    words = positional.get(command.name, [])
    if (program, command.name) == ("smile_train", "explore"):
        return ["F"]
    if command.name == "bank build":
        return ["--out", "F"]
    if not words and command.name.split()[0] in ("bank", "finetune", "probe", "export", "evaluate"):
        words = ["F"]
    words = words or (["F"] if command.name == "data check" else [])
    needed = command.load().Options.__dataclass_fields__
    for name in ("out", "videos"):
        field = needed.get(name)
        if field is not None and field.default is field.default_factory and name not in ("",):
            words = words if command.name.startswith("data ") and name == "videos" else [
                *words, f"--{name}", "F"
            ]  # fmt: skip
    return words


@pytest.mark.slow
@pytest.mark.parametrize(("program", "command"), list(commands()))
def test_senseless_numbers_are_one_line(
    program: str,
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the whole command line, a value that each option refuses; none is so far as to run.

    Which one of them differs from option to option: all are judged by what the test above asks.
    """
    monkeypatch.chdir(tmp_path)
    needed = sample_words(program, command)
    for number, (path, within) in enumerate(limits_of(command.load().Options)):
        option = "--" + path[-1].rstrip("_").replace("_", "-")
        refused = [value for value in VALUES if within.problem(float(value)) is not None]
        value = refused[number % len(refused)]
        given = [value] * (3 if option == "--token" else 2 if option == "--betas" else 1)
        argv = [*command.name.split(), *needed, option, *given]
        try:
            code = run_app(program, "", COMMANDS[program], argv)
        except SystemExit as error:  # the parser's own, of words that are no numbers
            assert error.code == 2, argv  # noqa: PT017
            assert "error" in capsys.readouterr().err, argv
            continue
        said = capsys.readouterr().err
        assert code == EXIT_INPUT, argv
        *before, line = said.splitlines()
        assert f"{option} is " in line, (argv, said)
        assert all(one.startswith("preset: ") for one in before), (argv, said)
        assert not list(tmp_path.iterdir()), argv


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stride": 0}, "--stride is 0; give 1 or more"),
        ({"tubelet": 99}, "--tubelet is 99; give 1 to 64"),
        ({"tubelet": 3}, "--tubelet is 3, which does not divide --frames 16"),
        ({"seed": -1}, "--seed is -1; give 0 or more"),
        ({"frames": 10_000, "size": 8192}, "pixels; clips of at most"),
        ({"mask_ratio": 1.5}, "--mask-ratio is 1.5; give more than 0 to less than 1"),
        ({"base_lr": math.nan}, "--base-lr is nan; give more than 0"),
        ({"betas": (0.9, 1.0)}, "--betas is 1.0; give 0 to less than 1"),
        ({"workers": "many"}, "--workers is many; give a number"),
        ({"samples": 0}, "--samples is 0; give 1 or more"),
    ],
)
def test_constructors_refuse_the_same(given: dict[str, Any], said: str) -> None:
    kind = ClipOptions if set(given) <= set(ClipOptions.__dataclass_fields__) else PretrainConfig
    with pytest.raises(InputError) as refused:
        kind(**given)
    assert said in str(refused.value)


def test_limits_let_no_nan_through() -> None:
    for within in (Within(0), Within(0, 1), Within(0, 1, open_low=True), Within(0, open_high=True)):
        assert within.problem(math.nan) is not None
    assert Within(0, 1).problem(1) is None
    assert Within(0, 1, open_high=True).problem(1) is not None
