"""Progress, log and loss curve of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, full_disk_named, write_atomically
from smile_motion.io.schema import parse_line

PLAIN_EVERY_S = 15.0
"""Seconds between lines where the output is no terminal."""
MEASURES = "measures.jsonl"
"""What is measured now and then; in a run's folder."""
FORETELL_S = 3.0
"""Seconds of training after which a run says how long it will take. Ours."""


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """What is read of a line of `log.jsonl` and of `measures.jsonl`: the figures have any name."""

    step: Annotated[int, Ge(0)]


def read_log(path: Path, schema: type) -> list[dict[str, Any]]:
    """Entries of a log, none without a file; they end before the first line that is damaged, such
    as one that a kill cut off.

    Args:
        path: `log.jsonl` or `measures.jsonl`.
        schema: of a line, with a `step`.
    """
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entries.append(parse_line(line, schema, source=str(path), remedy=""))
        except InputError:
            break
    return entries


def spoken_time(seconds: float) -> str:
    """A duration for people: `40 s`, `2 min 50 s`, `5 h 10 min`, `3 d 4 h`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        tens = round(whole / 10) * 10
        return f"{tens // 60} min" + (f" {tens % 60} s" if tens % 60 else "")
    minutes = round(whole / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(minutes / 60)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")


class MetricsLogger:
    """Counts samples and waiting, and writes records where people and programs look for them."""

    def __init__(
        self,
        out: Path,
        steps: int,
        *,
        views: int = 1,
        batch: int = 1,
        epoch: int = 1,
        processes: int = 1,
        track: Callable[[dict[str, float], int], None] = lambda values, step: None,
        quiet: bool = False,
    ) -> None:
        """Prepare the display.

        Args:
            views: Masks that each clip is learned under.
            batch: Clips in a step, over all processes.
            epoch: Clips in an epoch.
            processes: Processes of the run, each with as many clips in a step as this one.
            track: Callback of a tracker, with values and step.
            quiet: Write and show nothing: another process does.
        """
        self.out, self.steps, self.quiet = out, steps, quiet
        self.views, self.batch, self.epoch, self.processes = views, batch, epoch, processes
        self._track = track
        self.history: list[dict[str, float]] = []
        self.measures: dict[int, dict[str, float]] = {}
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
        self._first: tuple[int, float] | None = None
        self._foretold = False

    def __enter__(self) -> MetricsLogger:
        """Start the display."""
        self._progress.start()
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """End the display."""
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the progress."""
        if not self.quiet:
            with suppress(OSError):  # The run outlives its terminal, and who reads its lines.
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
        """Move the bar, and say early on how long the run will take."""
        self._progress.update(self._task, completed=step)
        now = time.perf_counter()
        if self._first is None:
            # Timed from the end of a first step: workers start in it, and pages are taken.
            self._first = step, now
        elif not self._foretold and now - self._first[1] >= FORETELL_S and step < self.steps:
            self._foretold = True
            rate = self.batch * (step - self._first[0]) / (now - self._first[1])
            left = spoken_time(self._left_s(step, now))
            self.say(f"about {left} to go: {self.steps - step} steps at {rate:.1f} clips/s")

    def _left_s(self, step: int, now: float) -> float:
        """Seconds that the steps to come take, at the mean speed of those since the first."""
        assert self._first is not None
        first, begun = self._first
        return (self.steps - step) * (now - begun) / max(1, step - first)

    def record(self, step: int, **values: float) -> None:
        """Write what is known at a step to log.jsonl, the tracker and the screen.

        Args:
            **values: `loss`, `lr`, `grad_norm` and whatever else is measured. Added are rates over
                all processes since the last record, and what has been seen since the run began:
                clips, views (clips times masks), epochs, and effective epochs (counted in views).
        """
        now = time.perf_counter()
        elapsed = max(now - self._since, 1e-9)
        rate = self.processes * self._since_samples / elapsed
        clips = step * self.batch
        entry = {
            "step": step,
            **values,
            "clips_per_s": rate,
            "views_per_s": rate * self.views,
            "data_wait": self._waited / elapsed,
            "clips": clips,
            "views": clips * self.views,
            "epochs": clips / self.epoch,
            "effective_epochs": clips * self.views / self.epoch,
            "broken": self.broken,
        }
        self._since, self._since_samples, self._waited = now, 0, 0.0
        self.history.append(entry)
        if self.quiet:
            return
        self._append("log.jsonl", entry)
        self._track({name: value for name, value in entry.items() if name != "step"}, step)
        line = f"loss {values['loss']:.4f}  {rate:.1f} clips/s  data wait {entry['data_wait']:.0%}"
        if "utilization" in values:
            line += f"  utilization {values['utilization']:.0%}"
        self._progress.update(self._task, line=line)
        if not self._live and (now - self._said > PLAIN_EVERY_S or step == self.steps):
            self._said = now
            left = ""
            if step < self.steps and self._first is not None and step > self._first[0]:
                left = f"  {spoken_time(self._left_s(step, now))} to go"
            self.say(f"step {step}/{self.steps}  {line}{left}")

    def measure(self, step: int, values: dict[str, float]) -> None:
        """Write what is measured now and then to measures.jsonl and the tracker."""
        if self.quiet:
            return
        self._append(MEASURES, {"step": step, **values})
        self.measures.setdefault(step, {}).update(values)
        self._track(values, step)

    def _append(self, name: str, entry: dict[str, Any]) -> None:
        path = self.out / name
        with full_disk_named(path), path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")

    def restore(self, step: int) -> None:
        """Take up the log of an earlier run up to a step; what came after it is dropped."""
        for name in ("log.jsonl", MEASURES):
            path = self.out / name
            if not path.is_file():
                continue
            kept = list(takewhile(lambda entry: entry["step"] <= step, read_log(path, LogEntry)))
            if name == "log.jsonl":
                self.history = kept
            else:
                self.measures = {}
                for entry in kept:
                    self.measures.setdefault(entry["step"], {}).update(entry)
            if not self.quiet:
                write_atomically(path, dump_lines(kept))
