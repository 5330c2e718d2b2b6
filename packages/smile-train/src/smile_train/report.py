"""What a run says while it goes: progress, log, TensorBoard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_EVERY_S = 15.0
"""Seconds between lines where the output is no terminal."""


class Report:
    """Counts samples and waiting, and writes records where people and programs look for them."""

    def __init__(self, out: Path, steps: int, *, quiet: bool = False) -> None:
        self.out, self.steps, self.quiet = out, steps, quiet
        self.history: list[dict[str, float]] = []
        self.samples = self.broken = 0
        self.last_broken = ""
        self._reported: set[str] = set()
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[line]}"),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._progress.add_task("step", total=steps, line="")
        self._since, self._since_samples, self._waited = time.perf_counter(), 0, 0.0
        self._said = 0.0
        self._board: Any = None

    def __enter__(self) -> Report:
        """Start the display."""
        if not self.quiet:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.out / "tensorboard"))
        self._progress.start()
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """End the display and close the files."""
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def say(self, line: str) -> None:
        """Print a line above the progress."""
        if not self.quiet:
            self._console.print(line, highlight=False, soft_wrap=True)

    def count(self, samples: int, waited_s: float, broken: list[str]) -> None:
        """Add samples, the seconds they were waited for, and the files that could not be used."""
        self.samples += samples
        self._since_samples += samples
        self._waited += waited_s
        self.broken += len(broken)
        for line in broken:
            self.last_broken = line
            if line not in self._reported:
                self._reported.add(line)
                self.say(f"broken file, replaced ({len(self._reported)} so far): {line}")

    def advance(self, step: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step)

    def record(self, step: int, *, loss: float, lr: float, grad_norm: float) -> None:
        """Write what is known at a step to log.jsonl, TensorBoard and the screen."""
        now = time.perf_counter()
        elapsed = max(now - self._since, 1e-9)
        entry = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "grad_norm": grad_norm,
            "clips_per_s": self._since_samples / elapsed,
            "data_wait": self._waited / elapsed,
            "broken": self.broken,
        }
        self._since, self._since_samples, self._waited = now, 0, 0.0
        self.history.append(entry)
        if self.quiet:
            return
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        for name, value in entry.items():
            if name != "step":
                self._board.add_scalar(name, value, step)
        line = (
            f"loss {loss:.4f}  {entry['clips_per_s']:.1f} clips/s  "
            f"data wait {entry['data_wait']:.0%}"
        )
        self._progress.update(self._task, line=line)
        if not self._live and (now - self._said > PLAIN_EVERY_S or step == self.steps):
            self._said = now
            self.say(f"step {step}/{self.steps}  {line}")

    def restore(self, step: int) -> None:
        """Take up the log of an earlier run up to a step; what came after it is dropped."""
        path = self.out / "log.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if entry["step"] > step:
                break
            kept.append(entry)
        self.history = kept
        if not self.quiet:
            path.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")
