"""Cache of decoded stretches of video that are used more than once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from smile_motion.video.frames import FrameReader, read_frames
from smile_motion.video.index import VideoIndex

_LOGGER = logging.getLogger(__name__)
KEPT_BYTES = 1 << 30
"""Largest size of the cache of a process, bytes: 190 clips of 16 frames of 456 x 256 px."""


@dataclass(eq=False)
class DecodedStretches:
    """Stretches decoded by this process, each cached until it has been read `uses` times.

    Results do not depend on the cache. It pickles without the frames.
    """

    uses: int
    """Number of times that each stretch is read."""
    most_bytes: int = KEPT_BYTES
    """Largest size of the cache, bytes; beyond it the oldest stretches are decoded again."""
    reader: FrameReader = read_frames
    """Decodes them."""
    decoded: int = field(default=0, init=False)
    """Number of stretches decoded so far."""
    _kept: OrderedDict[tuple[str, bytes], tuple[np.ndarray, int]] = field(
        default_factory=OrderedDict, init=False, repr=False
    )
    _bytes: int = field(default=0, init=False, repr=False)
    _told: bool = field(default=False, init=False, repr=False)

    def __reduce__(self) -> tuple[type[DecodedStretches], tuple[int, int, FrameReader]]:
        """Pickle without the cached frames."""
        return type(self), (self.uses, self.most_bytes, self.reader)

    def read(self, video: VideoIndex, numbers: np.ndarray) -> np.ndarray:
        """Read frames from the cache, or decode them; see `read_frames`.

        Args:
            video: Index of the video.
            numbers: (n,) int64 frame numbers.

        Returns:
            (n, H, W, 3) uint8 RGB, read-only.

        Raises:
            InputError: A frame cannot be decoded.
        """
        key = str(video.path), numbers.tobytes()
        images, left = self._kept.pop(key, (None, self.uses))
        if images is None:
            images = self.reader(video, numbers)
            images.flags.writeable = False
            self.decoded += 1
        else:
            self._bytes -= images.nbytes
        if left > 1:
            self._kept[key] = images, left - 1
            self._bytes += images.nbytes
            self._let_go()
        return images

    def _let_go(self) -> None:
        while self._bytes > self.most_bytes:
            _, (images, _) = self._kept.popitem(last=False)
            self._bytes -= images.nbytes
            if not self._told:
                self._told = True
                _LOGGER.warning(
                    "decoded videos take more than %d MiB in a process: some are decoded again; "
                    "pack them (`data pack`), which makes them smaller, or lower --batch",
                    self.most_bytes >> 20,
                )
