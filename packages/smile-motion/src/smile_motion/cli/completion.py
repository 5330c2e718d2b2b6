"""Print a script that completes the commands and options of a program in a shell.

bash: smile-motion completion bash > ~/.local/share/bash-completion/completions/smile-motion
"""

from __future__ import annotations

import contextlib
import io
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Literal

import tyro

from smile_motion.cli.app import Command

Shell = Literal["bash", "zsh", "fish"]


def completion_script(program: str, commands: Sequence[Command], shell: Shell) -> str:
    """Make a script that completes commands, options and choices without starting the program."""
    tree: dict[str, Any] = {}
    for command in commands:
        *families, last = command.name.split()
        node = tree
        for family in families:
            node = node.setdefault(family, {})
        node[last] = command
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        tyro.cli(
            _choice(tree),
            prog=program,
            args=["--tyro-print-completion", shell],
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )
    return script.getvalue()


def _choice(tree: dict[str, Any]) -> Any:
    """Union type of the options of all commands, with tyro's subcommand names."""
    members = []
    for name, entry in tree.items():
        if isinstance(entry, dict):
            chosen = tyro.conf.subcommand(name)
            members.append(Annotated[_choice(entry), chosen])
        else:
            chosen = tyro.conf.subcommand(name, description=entry.summary)
            members.append(Annotated[entry.load().Options, chosen])
    return reduce(operator.or_, members)


EXAMPLES = (
    "smile-motion completion bash > ~/.local/share/bash-completion/completions/smile-motion",
    "smile-train completion zsh > ~/.zfunc/_smile-train",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion completion` and `smile-train completion`."""

    shell: Annotated[Shell, tyro.conf.Positional]
    """Shell that the script is for."""


def run(options: Options, program: str, commands: Sequence[Command]) -> None:
    """Print the completion script of a program."""
    print(completion_script(program, commands, options.shell), end="")
