"""`smile-motion render` as tests run it."""

import subprocess
import sys
from pathlib import Path

from smile_motion.__main__ import COMMANDS
from smile_motion.cli.app import run_app


def render(*arguments: str | int | Path) -> int:
    """Run the command in this process; returns its exit code."""
    return run_app("smile-motion", "", COMMANDS, ["render", *map(str, arguments)])


def start_render(
    *arguments: str | int | Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    return start("render", *arguments, environment=environment)


def start(
    *arguments: str | int | Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start any command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "smile_motion", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
