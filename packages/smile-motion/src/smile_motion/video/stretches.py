"""Decoded stretches of video that are used more than once."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from smile_motion.video.frames import read_frames
from smile_motion.video.index import VideoIndex

KEPT_BYTES = 1 << 30
"""Of decoded frames that a process keeps at most: 190 clips of 16 frames of 456 x 256 px."""


@dataclass(eq=False)
class DecodedStretches:
    """Stretches that this process has decoded, each kept until it was used as often as it will be.

    What is read does not depend on what is kept. It pickles without the frames.
    """

    uses: int
    """How often each stretch is used."""
    most_bytes: int = KEPT_BYTES
    """Of frames; the oldest are let go where there are more, and decoded again if need be."""
    decoded: int = field(default=0, init=False)
    """Stretches decoded so far."""
    _kept: OrderedDict[tuple[str, bytes], tuple[np.ndarray, int]] = field(
        default_factory=OrderedDict, init=False, repr=False
    )
    _bytes: int = field(default=0, init=False, repr=False)
    _told: bool = field(default=False, init=False, repr=False)

    def __reduce__(self) -> tuple[type[DecodedStretches], tuple[int, int]]:
        """Frames stay where they were decoded."""
        return type(self), (self.uses, self.most_bytes)

    def read(self, video: VideoIndex, numbers: np.ndarray) -> np.ndarray:
        """Decode frames, or find them decoded; see `read_frames`.

        Returns:
            (n, H, W, 3) uint8 RGB, to be read only.
        """
        key = str(video.path), numbers.tobytes()
        images, left = self._kept.pop(key, (None, self.uses))
        if images is None:
            images = read_frames(video, numbers)
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
                print(
                    f"decoded videos take more than {self.most_bytes >> 20} MiB in a process: some "
                    f"are decoded again; pack them (smile_train data pack), which makes them "
                    f"smaller, or lower --batch",
                    file=sys.stderr,
                )
