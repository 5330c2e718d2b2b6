"""The pipeline that makes candidates; its stages run concurrently in threads.

one thread         makes images, so that the diffusion model never waits
one thread         segments and scores them, on its own CUDA stream
several threads    cut out, encode and write; a line of the journal ends each candidate
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smile_motion.bank.builder.journal import Journal
from smile_motion.bank.candidates.cutout import Cutting
from smile_motion.bank.candidates.images import GeneratedImage, ImageSource
from smile_motion.bank.candidates.schedule import Batch, Count, Schedule
from smile_motion.bank.candidates.score import Scored, score_batch
from smile_motion.bank.candidates.store import StoredCandidate, store_candidate
from smile_motion.bank.candidates.types import Scorer, Segmenter
from smile_motion.runtime.devices import available_cores
from smile_motion.runtime.signals import SIGNALS, hold_signals

WAITING = 2
"""Largest number of batches that wait to be segmented."""
WRITING = 4
"""Largest number of batches that wait to be written."""
WATCH_S = 0.2
"""Interval of progress reports and of checks on the threads, seconds."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a run."""

    count: Count
    """Objects and candidates of the build so far."""
    made: int
    """Images made by this run."""
    scored: int
    """Images segmented and scored by this run."""
    written: int
    """Candidates finished by this run."""
    seconds: float
    """Seconds since the run began."""
    busy: dict[str, float]
    """Seconds that each stage worked: the source's, `scoring` and `writing`."""
    busy_share: float
    """Share of the time between the start of the source's first batch and the end of its last
    that the source worked."""


@dataclass(kw_only=True, eq=False)
class _Meter:
    """Measures the stages; their threads write under the lock."""

    began: float = field(default_factory=time.perf_counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy: dict[str, float] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None

    @contextmanager
    def stage(self, name: str, count: int, *, spanned: bool = False) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        end = time.perf_counter()
        with self.lock:
            self.busy[name] = self.busy.get(name, 0.0) + end - begin
            self.done[name] = self.done.get(name, 0) + count
            if spanned:
                self.first = begin if self.first is None else self.first
                self.last = end

    def progress(self, count: Count, source: str) -> Progress:
        with self.lock:
            span = (self.last or 0.0) - (self.first or 0.0)
            return Progress(
                count=count,
                made=self.done.get(source, 0),
                scored=self.done.get("scoring", 0),
                written=self.done.get("writing", 0),
                seconds=time.perf_counter() - self.began,
                busy=dict(self.busy),
                busy_share=self.busy.get(source, 0.0) / span if span else 0.0,
            )


class _Stopped(Exception):
    """Another stage failed, or the run was interrupted."""


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """Makes candidates until the schedule is finished; see `run`."""

    bank: Path
    """Folder of the bank; the caller holds its lock."""
    source: ImageSource
    """Makes the images."""
    segmenters: Sequence[Segmenter]
    """Each segments every image."""
    scorer: Scorer
    """Scores every mask."""
    cutting: Cutting
    """How objects are cut out."""
    schedule: Schedule
    """Which candidates to make."""
    journal: Journal
    """Where finished candidates are recorded."""
    writers: int = field(default_factory=lambda: min(8, available_cores()))
    """Number of threads that cut out and write."""

    def run(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> Progress:
        """Make every candidate of the schedule.

        An error in any stage, or an interruption, stops all stages; candidates that are finished
        stay in the journal.

        Args:
            on_progress: Called several times a second.

        Returns:
            The final progress.
        """
        self._meter = _Meter()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._made: queue.Queue[tuple[Batch, list[GeneratedImage]] | None] = queue.Queue(WAITING)
        self._room = threading.Semaphore(WRITING)
        stages = [
            threading.Thread(target=self._guarded, args=(stage,), name=stage.__name__, daemon=True)
            for stage in (self._make, self._assess)
        ]
        with deterministic_convolutions(), ThreadPoolExecutor(self.writers) as self._pool:
            for stage in stages:
                stage.start()
            try:
                while any(stage.is_alive() for stage in stages):
                    stages[-1].join(WATCH_S)
                    on_progress(self._progress())
            finally:
                if any(stage.is_alive() for stage in stages):
                    self._halt()
                for stage in stages:
                    stage.join()
        if self._errors:
            raise self._errors[0]
        progress = self._progress()
        on_progress(progress)
        return progress

    def _progress(self) -> Progress:
        with hold_signals(*SIGNALS):  # else an interrupt may keep the schedule locked
            return self._meter.progress(self.schedule.count(), self.source.stage)

    def _halt(self) -> None:
        with hold_signals(*SIGNALS):
            self._stop.set()
            self.schedule.stop()
            self.source.interrupt()

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except _Stopped:
            pass
        except BaseException as error:
            self._errors.append(error)
            self._halt()

    def _make(self) -> None:
        while (batch := self.schedule.take()) is not None:
            with self._meter.stage(self.source.stage, len(batch), spanned=True):
                made = self.source.make(batch)
            self._pass_on((batch, made))
        self._pass_on(None)

    def _pass_on(self, item: tuple[Batch, list[GeneratedImage]] | None) -> None:
        while not self._stop.is_set():
            try:
                return self._made.put(item, timeout=WATCH_S)
            except queue.Full:
                continue
        raise _Stopped

    def _receive(self) -> tuple[Batch, list[GeneratedImage]] | None:
        while not self._stop.is_set():
            try:
                return self._made.get(timeout=WATCH_S)
            except queue.Empty:
                continue
        raise _Stopped

    def _assess(self) -> None:
        with own_stream():
            while (item := self._receive()) is not None:
                batch, made = item
                with self._meter.stage("scoring", len(batch)):
                    scored = score_batch(batch, made, self.segmenters, self.scorer)
                self._write(batch, scored)

    def _write(self, batch: Batch, scored: Sequence[Scored]) -> None:
        """Hand the candidates of a batch that are not finished already to the writers."""
        missing = [
            one
            for attempt, one in zip(batch, scored, strict=True)
            if not self.schedule.has(attempt.category.folder, attempt.number)
        ]
        while not self._room.acquire(timeout=WATCH_S):
            if self._stop.is_set():
                raise _Stopped
        remaining = _Remaining(len(missing))
        for one in missing:
            self._pool.submit(self._guarded, lambda one=one: self._finish(one, remaining))

    def _finish(self, scored: Scored, remaining: _Remaining) -> None:
        with self._meter.stage("writing", 1):
            stored = store_candidate(
                self.bank, scored.candidate, scored.image, scored.masks, self.cutting
            )
            self.journal.append([stored.to_json()])
        if remaining.add(stored):
            self._room.release()
            self.schedule.put(remaining.stored)


class _Remaining:
    """Collects the candidates of a batch as they are finished, in any order."""

    def __init__(self, count: int) -> None:
        self.stored: list[StoredCandidate] = []
        self._count = count
        self._lock = threading.Lock()

    def add(self, stored: StoredCandidate) -> bool:
        """Add one; returns whether it was the last."""
        with self._lock:
            self.stored.append(stored)
            return len(self.stored) == self._count


def timings(progress: Progress, source: str) -> dict[str, Any]:
    """Durations of a run for the card; `source` is the name of the first stage."""
    return {
        "seconds": round(progress.seconds, 2),
        "device": _device_name(),
        "images_made": progress.made,
        "busy_seconds": {name: round(value, 2) for name, value in sorted(progress.busy.items())},
        f"{source}_busy_share": round(progress.busy_share, 4),
    }


@contextmanager
def deterministic_convolutions() -> Iterator[None]:
    """Restrict cuDNN to deterministic algorithms, in all threads, where torch is imported."""
    with ExitStack() as stack:
        if "torch" in sys.modules:
            import torch

            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
            )
        yield


@contextmanager
def own_stream() -> Iterator[None]:
    """Run this thread's CUDA work on its own stream, so that it does not wait for other threads."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        yield
        return
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        yield


def _device_name() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return "cpu"
