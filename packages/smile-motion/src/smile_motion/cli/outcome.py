"""What a command hands back when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXIT_FAULTY = 1
"""Exit code of a command that looked for faults and found some."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command, besides the lines that it printed for people."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What `--json` prints, instead of the lines; paths and the like are printed as text."""
    exit_code: int = 0
    """0, or `EXIT_FAULTY`."""
