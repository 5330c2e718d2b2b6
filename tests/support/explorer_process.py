"""The explorer as a user starts it, in a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import forked


@dataclass(frozen=True)
class Explorer:
    """A running explorer."""

    address: str
    """Of its page, such as http://127.0.0.1:40001/."""
    folder: Path
    """Its own temporary folder, which it lacks where uploads are kept elsewhere."""
    process: forked.ForkedProgram
    """Its process."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rstrip("/").rpartition(":")[2])


@contextmanager
def explorer(
    temporary: Path, *arguments: object, package: str = "smile_motion"
) -> Iterator[Explorer]:
    """Start a package's explorer on a free port; end it, by its id, afterwards."""
    words = ["explore", "--port", "0", *arguments]
    process = forked.start(package, words, environment={"TMPDIR": str(temporary)})
    try:
        process.wait_for(lambda: "\n" in process.said()[0])
        line = process.said()[0]
        assert line.startswith("http://127.0.0.1:"), line
        (folder,) = [*temporary.glob("smile-motion-explore-*"), temporary][:1]
        yield Explorer(line.split()[0], folder, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
