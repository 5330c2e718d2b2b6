"""Print a script that completes the commands and options of smile-train in a shell.

bash: smile-train completion bash > ~/.local/share/bash-completion/completions/smile-train
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from smile_motion.cli.completion import Shell, completion_script


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-train completion`."""

    shell: Annotated[Shell, tyro.conf.Positional]
    """What the script is for."""


def run(options: Options) -> None:
    """Print it."""
    from smile_train.__main__ import COMMANDS

    print(completion_script("smile-train", COMMANDS, options.shell), end="")
