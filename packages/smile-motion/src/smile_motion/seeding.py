"""Keyed random generators: the same key gives the same numbers on any worker, in any order."""

import threading
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a generator is for; streams of one seed never overlap. The numbers are a format."""

    OBJECT = 1
    """Making objects for a bank."""
    MOTION = 2
    """Drawing motion plans."""
    BACKGROUND = 3
    """Choosing, cropping and drawing backgrounds."""
    MASK = 4
    """Drawing token masks."""
    ORDER = 5
    """Shuffling samples within an epoch."""
    REPLACEMENT = 6
    """Choosing what stands in for a broken sample."""
    AUGMENT = 7
    """Augmenting samples beyond the crop that belongs to the background."""
    POINTS = 8
    """Choosing points to follow."""
    MIX = 9
    """Mixing samples of a batch with each other."""


def keyed_generator(
    seed: int, stream: Stream, *, epoch: int = 0, index: int = 0, part: int = 0
) -> np.random.Generator:
    """Open the generator that belongs to a key.

    Args:
        seed, epoch, index: Non-negative, below 2**64: the run, the pass over the data, the sample.
        part: A number below 2**32 within the sample, such as the mask's or the attempt's.

    Returns:
        A Philox generator: the key selects a counter range of its own, so that every (seed, stream,
        epoch, index, part) is an independent stream of 2**64 blocks.
    """
    key = np.array([seed, (int(stream) << 32) | part], dtype=np.uint64)
    counter = np.array([0, 0, index, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def reused_generator(
    seed: int, stream: Stream, *, epoch: int = 0, index: int = 0, part: int = 0
) -> np.random.Generator:
    """Lend the generator that `keyed_generator` would open, at a tenth of the cost.

    It is this thread's until the thread asks for another of the same stream: draw what you need,
    and do not keep it.
    """
    lent = _lent.__dict__
    generator = lent.get(stream.name)
    if generator is None:
        generator = lent[stream.name] = keyed_generator(seed, stream)
    generator.bit_generator.state = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([0, 0, index, epoch], dtype=np.uint64),
            "key": np.array([seed, (int(stream) << 32) | part], dtype=np.uint64),
        },
        "buffer": _EMPTY,
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    return generator


_lent = threading.local()
_EMPTY = np.zeros(4, np.uint64)
