"""Print a script that completes the commands and options of smile-motion in a shell.

bash: smile-motion completion bash > ~/.local/share/bash-completion/completions/smile-motion
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from smile_motion.cli.completing import Shell, completion_script


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion completion`."""

    shell: Annotated[Shell, tyro.conf.Positional]
    """What the script is for."""


def run(options: Options) -> None:
    """Print it."""
    from smile_motion.__main__ import COMMANDS

    print(completion_script("smile-motion", COMMANDS, options.shell), end="")
