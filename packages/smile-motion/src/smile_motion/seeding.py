"""Keyed random generators: the same key gives the same numbers on any worker, in any order."""

import threading
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Purpose of a generator; streams of one seed never overlap. The numbers never change."""

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
    """Choosing the replacement of a broken sample."""
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
        seed: Seed of the run, 0 to 2**64 - 1.
        stream: Purpose of the generator.
        epoch: Pass over the data, 0 to 2**64 - 1.
        index: Number of the sample, 0 to 2**64 - 1.
        part: Number within the sample, 0 to 2**32 - 1, such as that of a mask or an attempt.

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

    The generator is valid until the same thread asks for another one of the same stream, so draw
    from it at once and do not keep it. Arguments are those of `keyed_generator`.
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
