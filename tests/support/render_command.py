"""`smile-motion render` as tests run it."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from smile_motion.__main__ import COMMANDS
from smile_motion.cli.app import run_app

from support import forked


def render(*arguments: str | int | Path) -> int:
    """Run the command in this process; returns its exit code."""
    return run_app("smile-motion", "", COMMANDS, ["render", *map(str, arguments)])


def start_render(
    *arguments: str | int | Path, environment: Mapping[str, str] | None = None
) -> forked.ForkedProgram:
    """Start the command in a process of its own."""
    return start("render", *arguments, environment=environment)


def start(
    *arguments: str | int | Path, environment: Mapping[str, str] | None = None
) -> forked.ForkedProgram:
    """Start any command in a process of its own."""
    return forked.start("smile_motion", arguments, environment=environment)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def index_lines(folder: Path) -> list[dict[str, Any]]:
    """What a collection's index says."""
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


def decode_video(data: bytes) -> np.ndarray:
    """All frames of a file's bytes, (T, H, W, 3) uint8 RGB."""
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
