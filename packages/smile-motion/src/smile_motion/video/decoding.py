"""Decoding: the frames of an opened video in order, and their pixels as players show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


def decoded_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode from where the container stands, in the order of showing.

    Packets before the first keyframe that a decoder refuses are passed over: streams that begin
    within a group of pictures have them. Later ones mean damage, and raise what PyAV raises.
    """
    from av.error import InvalidDataError

    begun = False
    for packet in container.demux(stream):
        begun |= packet.is_keyframe
        try:
            frames = packet.decode()
        except InvalidDataError:
            if begun:
                raise
            continue
        yield from frames  # type: ignore[misc]  # a video stream's


def upright(frame: VideoFrame) -> np.ndarray:
    """RGB pixels, turned and mirrored as the file says that they are to be shown.

    returns (H, W, 3) uint8
    """
    pixels = frame.to_ndarray(format="rgb24")
    side_data = frame.side_data.get("DISPLAYMATRIX")
    return pixels if side_data is None else oriented(pixels, np.frombuffer(side_data, "=i4"))


def oriented(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a display matrix: one of the eight turns and flips, whichever is nearest.

    pixels  (H, W, 3).
    matrix  (9,) of a container's 3 x 3 fixed-point numbers: a stored place (x, y) is shown at
            (m0 x + m3 y, m1 x + m4 y), but for an offset.
    """
    across, turned_across, turned_down, down = (int(matrix[at]) for at in (0, 3, 1, 4))
    if abs(across) + abs(down) < abs(turned_across) + abs(turned_down):
        pixels = pixels.swapaxes(0, 1)
        across, down = turned_across, turned_down
    if down < 0:
        pixels = pixels[::-1]
    if across < 0:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
