"""Run a command line: find the command, parse its options, report errors in one line."""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import io
import json
import os
import select
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from smile_motion.errors import InputError, printable
from smile_motion.io.options import (
    gather_repeated_options,
    refuse_idle_options,
    refuse_repeated_options,
    rename_former_options,
    require_within,
    spell_out_switches,
)
from smile_motion.runtime.partition import is_first_process

EXIT_FAULTY = 1
"""Exit code of a command that checks something and found faults."""


@dataclass(frozen=True)
class Outcome:
    """Result of a command, besides the lines that it printed."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What `--json` prints instead of the lines; values such as paths are printed as text."""
    exit_code: int = 0
    """0, or `EXIT_FAULTY`."""


COMPLETION = "smile_motion.cli.completion"
"""Module of the command that needs the program's other commands."""
EXIT_INPUT = 2
"""Exit code after an error in the input."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C."""
EXIT_UNREAD = 141
"""Exit code when the reader of a pipe is gone, as after `head`: that of SIGPIPE in shells."""


_REMEDIES = {
    errno.EACCES: "choose a place that you may read and write",
    errno.EPERM: "choose a place that you may read and write",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some of your quota and run the same command again",
    errno.EFBIG: "raise the limit on the size of files and run the same command again",
    errno.ENOTDIR: "a file is in the way, choose another place",
    errno.EEXIST: "choose another place",
}
"""Remedies for errors of the operating system."""


@dataclass(frozen=True)
class Command:
    """A command of a program.

    Its module defines `Options`, a dataclass that tyro parses the arguments into, and
    `run(options) -> Outcome | None`, which prints lines for people and returns the same facts.
    """

    name: str
    """Name as typed, one or two words."""
    summary: str
    """Line of the overview."""
    module: str
    """Module with `Options` and `run`, or `module:Class` where it has several commands; imported
    only when the command is called. It may also define `defaults(arguments) -> Options`, the
    options that the arguments then change; `EXAMPLES`, command lines at the end of its help;
    `MAKES`, what `--out` will contain; and `WRITES_BESIDE`, true where `--out` may be a folder that
    is read."""

    def load(self) -> Any:
        """Import the module or class that `module` names."""
        module, _, name = self.module.partition(":")
        loaded = importlib.import_module(module)
        return getattr(loaded, name) if name else loaded


def run_app(
    program: str,
    description: str,
    commands: Sequence[Command],
    argv: Sequence[str],
    *,
    default: str | None = None,
) -> int:
    """Run one command line and return its exit code.

    Args:
        program: Name of the program.
        description: What it does, for the overview.
        commands: Its commands.
        argv: Arguments without the program's name; `--debug` shows tracebacks of errors, `--json`
            prints the facts of the outcome as JSON.
        default: Name of the command that runs where the arguments are empty or start with an
            option.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that are not UTF-8
    try:
        try:
            return _run(program, description, commands, argv, default)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        # The buffered rest is discarded, so that flushing it cannot fail when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNREAD


def end(program: str, code: int) -> NoReturn:
    """End this process as `sys.exit` does, but without taking what was imported apart.

    Of PyTorch, with all that comes with it, that takes a second. Threads are waited for, and what
    is registered to be done at the end is done. Profilers, debuggers and programs that run this one
    in their own process go on after it: they have it end as ever.
    """
    if _is_watched() or not _is_alone(program):
        sys.exit(code)
    try:
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _is_alone(program: str) -> bool:
    """Whether Python was started for this program, by `-m` or by its script."""
    began = len(sys.orig_argv) - len(sys.argv[1:])
    if began < 2 or sys.orig_argv[began:] != sys.argv[1:]:
        return False
    *_, before, last = sys.orig_argv[:began]
    return (before, last) == ("-m", program.replace("-", "_")) or Path(last).name == program


def _is_watched() -> bool:
    """Whether a profiler or a debugger looks on."""
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    tools = () if monitoring is None else map(monitoring.get_tool, range(6))
    return sys.gettrace() is not None or sys.getprofile() is not None or any(tools)


def _run(
    program: str,
    description: str,
    commands: Sequence[Command],
    argv: Sequence[str],
    default: str | None,
) -> int:
    words = [word for word in argv if word not in ("--debug", "--json")]
    debug = "--debug" in argv
    if words[:1] == ["--version"]:
        print(_version_line(program))
        return 0
    command, rest = _find(commands, words)
    if command is None:
        wants_overview = bool(words) and words[0] in ("-h", "--help")
        if default is not None and not wants_overview and (not words or words[0].startswith("-")):
            command = next(entry for entry in commands if entry.name == default)
        else:
            return _overview(program, description, commands, words, wants_overview, default)
    try:
        arguments = [_at_home(word) for word in (rest if rest is not None else words)]
        return _call(program, commands, command, arguments, as_json="--json" in argv)
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            raise
        if debug:
            traceback.print_exc()
        print(f"{program} {command.name}: {_one_line(error)}", file=sys.stderr)
        return EXIT_INPUT
    except KeyboardInterrupt:
        print(f"{program} {command.name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def option(arguments: Sequence[str], name: str) -> str | None:
    """Value of the option `name` in a command line, None where it is not given."""
    for place, word in enumerate(arguments):
        if word == name and place + 1 < len(arguments):
            return arguments[place + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _at_home(word: str) -> str:
    """Expand a `~` that the shell did not, after an equals sign or in quotes."""
    option, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{os.path.expanduser(value) if value[:2] in ('~', '~/') else value}"  # noqa: PTH111


def _find(
    commands: Sequence[Command], words: Sequence[str]
) -> tuple[Command | None, list[str] | None]:
    for command in sorted(commands, key=lambda entry: -len(entry.name.split())):
        name = command.name.split()
        if list(words[: len(name)]) == name:
            return command, list(words[len(name) :])
    return None, None


def _call(
    program: str,
    commands: Sequence[Command],
    command: Command,
    arguments: list[str],
    *,
    as_json: bool,
) -> int:
    module = command.load()
    usage = f"{program} {command.name}"
    if "-h" in arguments or "--help" in arguments:
        from smile_motion.cli.help import help_page

        default = module.defaults(arguments) if hasattr(module, "defaults") else None
        print(help_page(usage, module, default), end="")
        return 0
    options = read_options(usage, module, arguments)
    _check_output(module, options)
    lines = contextlib.redirect_stdout(io.StringIO()) if as_json else contextlib.nullcontext()
    with lines:
        if module.__name__ == COMPLETION:
            outcome = module.run(options, program.replace("_", "-"), commands)
        else:
            outcome = module.run(options)
    outcome = outcome or Outcome()
    if as_json and outcome.facts:
        print(json.dumps(outcome.facts, indent=2, ensure_ascii=False, default=str))
    return outcome.exit_code


def read_options(usage: str, module: Any, arguments: list[str]) -> Any:
    """Parse and check the options of a command, without opening files.

    Args:
        usage: The program and the command, as typed.
        module: Module or class of the command; see `Command.load`.
        arguments: Arguments after the name of the command.

    Raises:
        InputError: An option is out of range, has no effect, or is given twice.
        SystemExit: tyro refused an argument and printed why.
    """
    arguments = rename_former_options(module.Options, arguments, _warn_of_former)
    arguments = spell_out_switches(module.Options, arguments)
    arguments = gather_repeated_options(module.Options, arguments)
    given = {"default": module.defaults(arguments)} if hasattr(module, "defaults") else {}
    options = _parse(module.Options, args=arguments, prog=usage, **given)
    refuse_repeated_options(module.Options, arguments)
    require_within(options)
    refuse_idle_options(options, arguments)
    return options


def _parse(kind: type, **settings: Any) -> Any:
    """Call `tyro.cli`; where a field's check refuses its value, raise that InputError.

    tyro prints the message of a ValueError in a box and exits; what it prints is held back.
    """
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options, ended = tyro.cli(kind, **settings), None
    except SystemExit as error:
        options, ended = None, error
    cause: BaseException | None = ended
    while cause is not None:
        if isinstance(cause, InputError):
            raise cause
        cause = cause.__context__
    print(said.getvalue(), end="", file=sys.stderr)
    if ended is not None:
        raise ended
    return options


def _warn_of_former(old: str, new: str) -> None:
    if is_first_process():
        print(f"{old} is now called {new}; the next release knows no {old}", file=sys.stderr)


def _check_output(module: Any, options: Any) -> None:
    """Refuse an output that is among the inputs, or among files of another kind."""
    out = getattr(options, "out", None)
    if isinstance(out, Path):
        from smile_motion.io.output_folders import paths_among, require_output

        inputs = () if getattr(module, "WRITES_BESIDE", False) else paths_among(options)
        require_output(out, inputs=inputs, makes=getattr(module, "MAKES", None))


def _overview(
    program: str,
    description: str,
    commands: Sequence[Command],
    words: Sequence[str],
    asked: bool,
    default: str | None,
) -> int:
    # The first word of several commands, such as `bank`, lists those commands.
    family = [command for command in commands if command.name.split()[:1] == list(words[:1])]
    asked = asked or (bool(family) and list(words[1:]) in (["-h"], ["--help"]))
    stream = sys.stdout if asked or not words else sys.stderr
    if words and not asked:
        name = " ".join(words[: 2 if family else 1])
        print(f"{program}: there is no command {name!r}; the commands are:", file=stream)
    else:
        print(f"{description}\n\nusage: {program} COMMAND [OPTIONS]\n", file=stream)
    width = max(len(command.name) for command in family or commands)
    for command in family or commands:
        note = " (the default)" if command.name == default else ""
        print(f"  {command.name:<{width}}  {command.summary}{note}", file=stream)
    print(f"\n{program} COMMAND --help lists a command's options.", file=stream)
    print(f"{program} --version prints the version.", file=stream)
    return 0 if asked else EXIT_INPUT


def _version_line(program: str) -> str:
    """Name and installed version of a program's distribution."""
    from importlib.metadata import version

    distribution = program.replace("_", "-")
    return f"{distribution} {version(distribution)}"


def _reader_has_left() -> bool:
    """Whether standard output is a pipe without reader; workers have pipes of their own."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        remedy = _REMEDIES.get(error.errno or 0, "check the path")
        return printable(f"{error.filename}: {error.strerror}; {remedy}")
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return f"{error.strerror}; {_REMEDIES[error.errno]}"
    return " ".join(str(error).split()) or type(error).__name__
