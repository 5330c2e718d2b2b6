"""Order of the samples of a run: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from smile_motion.errors import InputError
from smile_motion.seeding import Stream, keyed_generator

ATTEMPTS = 20
"""Files tried in place of a broken one before giving up."""


@dataclass(frozen=True, kw_only=True)
class SampleOrder:
    """Turns the n-th sample of a run into an epoch and an index; each epoch is shuffled anew.

    With several clips a video, the same place of as many steps in a row has the same video:

    step       0            1            2            3            4      3 clips a video, batch 4
    video      a b c d      a b c d      a b c d      e f g h      e f g h
    epoch      0 0 0 0      1 1 1 1      2 2 2 2      0 0 0 0      1 1 1 1
    """

    length: int
    """Videos; samples in an epoch."""
    seed: int
    """Seed of the shuffling."""
    clips_per_video: int = 1
    """Clips that share a decoded stretch of video."""
    batch: int = 1
    """Samples in a step, where clips share videos."""

    def locate(self, number: int) -> tuple[int, int]:
        """Epoch and index of sample `number`, counted from the start of the run.

        Clips that share a stretch of video have one index, and epochs of their own.
        """
        step, place = divmod(number, self.batch)
        block, use = divmod(step, self.clips_per_video)
        passed, place = divmod(block * self.batch + place, self.length)
        index = int(_shuffled(self.length, self.seed, passed)[place])
        return passed * self.clips_per_video + use, index

    def behind(self, epoch: int) -> int:
        """The epoch whose stretch of video lies behind a clip of another."""
        return epoch - epoch % self.clips_per_video


def make_or_replace(order: SampleOrder, number: int, make: Callable[[int, int], None]) -> list[str]:
    """Make a sample, or in place of one whose file is broken another.

    Args:
        order: Order of the samples; the replacement depends on its seed and the number alone.
        number: Counted from the start of the run.
        make: Makes the sample of an epoch and an index; raises InputError for a broken file.

    Returns:
        What is wrong with each file that could not be used.

    Raises:
        InputError: `ATTEMPTS` files in a row are broken.
    """
    epoch, index = order.locate(number)
    behind = order.behind(epoch)
    broken: list[str] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            rng = keyed_generator(
                order.seed, Stream.REPLACEMENT, epoch=behind, index=index, part=attempt
            )
            index = int(rng.integers(order.length))
        try:
            make(epoch, index)
        except InputError as error:
            broken.append(str(error))
        else:
            return broken
    raise InputError(f"{ATTEMPTS} files in a row cannot be used, the last: {broken[-1]}")


@dataclass(frozen=True, kw_only=True)
class MicroBatches:
    """Sample numbers of one process, a list for each part of each step.

    step s, batch 8, 2 processes, 2 parts:   8s+0 8s+1 | 8s+2 8s+3 | 8s+4 8s+5 | 8s+6 8s+7
                                             part 0             | part 1
                                             process 0 process 1  process 0  process 1
    """

    first_step: int
    """Step to begin with: 0, or where a run is continued."""
    steps: int
    """Step to end before."""
    batch: int
    """Samples in a step, over all processes and parts."""
    parts: int = 1
    """Parts of a step, for accumulation."""
    process: int = 0
    """This process."""
    processes: int = 1
    """All processes."""

    @property
    def share(self) -> int:
        """Samples in a list."""
        return self.batch // (self.parts * self.processes)

    def __len__(self) -> int:
        """Count the lists."""
        return (self.steps - self.first_step) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the lists in order."""
        share = self.share
        for step in range(self.first_step, self.steps):
            for part in range(self.parts):
                start = step * self.batch + (part * self.processes + self.process) * share
                yield list(range(start, start + share))


@lru_cache(maxsize=2)
def _shuffled(length: int, seed: int, epoch: int) -> np.ndarray:
    return keyed_generator(seed, Stream.ORDER, epoch=epoch).permutation(length)
