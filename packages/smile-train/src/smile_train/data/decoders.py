"""Decoders of videos: PyAV's, and torchcodec's where it gives the same frames in less time."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from smile_motion.errors import InputError
from smile_motion.runtime.extras import require_extra
from smile_motion.video import VideoIndex, open_index, read_frames
from smile_motion.video.frames import ChooseCrop, FrameReader
from smile_motion.video.tar import Span, locate

from smile_train.config.run import Decoder, DecoderName

_LOGGER = logging.getLogger(__name__)
GAIN = 0.95
"""Share of PyAV's time that torchcodec may take to be chosen. Ours: nearer nothing is won."""
TRIAL_FILES = 4
"""Videos that are tried, spread over all of them."""
ROUNDS = 2
"""Times that each decoder reads a video; the shorter one counts."""
FEWEST_READS = 1000
"""Clips that are worth a trial: with the import of torchcodec it takes about two seconds of a core,
and where it is won a clip saves some milliseconds. Ours."""
TRIAL_S = 4.0
"""Seconds after which no further one is."""
_EXACT = ("yuv420p", "yuvj420p")
"""Pixel formats that both convert alike; of 10 bits, values were up to 80 of 255 apart."""
_NO_LIBRARIES = (
    "torchcodec is installed, but finds no shared FFmpeg libraries (such as libavcodec.so)"
)
_INSTALL = "install them (apt install ffmpeg, or conda install ffmpeg)"


def read_by_torchcodec(
    video: VideoIndex, indices: Sequence[int] | np.ndarray, *, crop: ChooseCrop | None = None
) -> np.ndarray:
    """Decode frames as `read_frames` does, by torchcodec where it gives the same ones.

    It is told the time of every frame, and what it returns must have the times asked for. PyAV
    reads what is not `VideoIndex.is_plain`, not 8 bits of 4:2:0, rotated, mirrored, or refused by
    torchcodec, and says so once per reason; packed videos and pictures have their own readers.

    Args:
        video: Index of the video.
        indices: (n,) frame numbers in any order, repeats allowed, each below len(video).
        crop: Chooses the part that is returned. All of it by default.

    Returns:
        (n, H, W, 3) uint8 RGB, in the order asked for.

    Raises:
        InputError: As by `read_frames`.
    """
    wanted = np.asarray(indices, np.int64)
    is_within = len(wanted) > 0 and wanted.min() >= 0 and wanted.max() < len(video)
    if not is_within or _has_own_reader(video):
        return read_frames(video, wanted, crop=crop)
    images, reason = _decode(video, wanted)
    if images is None:
        _say_other(video.path, reason)
        return read_frames(video, wanted, crop=crop)
    if crop is None:
        return images
    x, y, width, height = crop(*images.shape[1:3])
    return images[:, y : y + height, x : x + width]


def _has_own_reader(video: VideoIndex) -> bool:
    """Whether no decoder of video files reads it."""
    return video.packed is not None or video.pictures is not None


READERS: dict[DecoderName, FrameReader] = {"pyav": read_frames, "torchcodec": read_by_torchcodec}
"""Readers by the name of their decoder; all give the same frames."""


def reader_of(decoder: Decoder) -> FrameReader:
    """The reader of a decoder; of `auto`, which is not settled yet, PyAV's."""
    return READERS["pyav" if decoder == "auto" else decoder]


def _decode(video: VideoIndex, wanted: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Decode by torchcodec, or say why that does not give the frames of `read_frames`."""
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportPrivateImportUsage]

    span = locate(video.path)
    if not video.is_plain or span is None:
        return None, "it is a broadcast, or interlaced, or has no usable times"
    source: Any = span.file if span.file == video.path else _Member(span)
    try:
        decoder = VideoDecoder(
            source,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            device="cpu",
            custom_frame_mappings=_frame_times(video),
        )
        if decoder.metadata.rotation is not None:
            return None, "it is rotated or mirrored"
        if decoder.metadata.pixel_format not in _EXACT:
            return None, f"its pixels are {decoder.metadata.pixel_format}"
        found = decoder.get_frames_at(wanted.tolist())
    except (RuntimeError, ValueError, IndexError):
        return None, "torchcodec does not read it"
    finally:
        if isinstance(source, _Member):
            source.close()
    times = video.pts[wanted] * video.tick_s
    if np.abs(found.pts_seconds.numpy() - times).max() > video.tick_s / 2:
        return None, "torchcodec finds other frames"
    return found.data.numpy(), ""


def _frame_times(video: VideoIndex) -> str:
    """Times of a video's frames, in ticks, as torchcodec takes them; it need not look for them."""
    last = round(1 / (video.rate_hz * video.tick_s))
    lengths = np.diff(video.pts, append=video.pts[-1] + max(last, 1))
    keys = np.isin(video.pts, video.keyframes).astype(int)
    rows = zip(video.pts.tolist(), lengths.tolist(), keys.tolist(), strict=True)
    frames = (
        f'{{"pts":{time},"duration":{length},"key_frame":{key}}}' for time, length, key in rows
    )
    return f'{{"frames":[{",".join(frames)}]}}'


class _Member(io.RawIOBase):
    """A member of a tar, read in place."""

    def __init__(self, span: Span) -> None:
        self._file = span.file.open("rb")
        self._start, self._size, self._at = span.start, span.size, 0

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else max(0, min(size, left)))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()


@cache
def _told() -> set[str]:
    return set()


def _say_other(path: Path, reason: str) -> None:
    """Say that PyAV reads a video, once per process and reason."""
    if reason not in _told():
        _told().add(reason)
        _LOGGER.warning("%s: read by PyAV, since %s; so are others like it", path, reason)


def settle_decoder(
    asked: Decoder,
    files: Sequence[Path],
    *,
    frames: int,
    stride: int,
    begun: DecoderName | None = None,
    reads: int | None = None,
) -> tuple[DecoderName, str]:
    """Choose a decoder for videos, the same in all processes of a run.

    `auto` takes torchcodec where it is installed, gives PyAV's pixels to the bit for some clips of
    these videos, and takes at most `GAIN` of the time.

    Args:
        asked: The one asked for.
        files: The videos.
        frames: Frames of a clip that is tried.
        stride: Video frames from one to the next.
        begun: Decoder that the run began with, which `auto` keeps.
        reads: Clips that will be read; of fewer than `FEWEST_READS`, `auto` leaves them to PyAV
            without a trial. Unknown, and many, by default.

    Returns:
        The decoder, and what to say of it, once; empty where there was no choice.

    Raises:
        InputError: torchcodec is asked for and not installed, without FFmpeg's libraries, or
            without a video that it would read.
    """
    is_short = asked == "auto" and begun is None and reads is not None and reads < FEWEST_READS
    if asked == "pyav" or is_short:
        return "pyav", ""
    # Chosen by one process: clocks may tell others otherwise.
    found: list[Any] = [None]
    if PartialState().is_main_process:
        try:
            found = [_choose(asked, files, frames=frames, stride=stride, begun=begun)]
        except InputError as error:
            found = [error]
    broadcast_object_list(found)
    if isinstance(found[0], InputError):
        raise found[0]
    decoder, said = found[0]
    if decoder == "torchcodec":
        _require_torchcodec()
    return decoder, said


def _choose(
    asked: Decoder, files: Sequence[Path], *, frames: int, stride: int, begun: DecoderName | None
) -> tuple[DecoderName, str]:
    """Choose in one process; see `settle_decoder`."""
    if asked == "torchcodec":
        _require_torchcodec()
    if find_spec("torchcodec") is None:
        if begun == "torchcodec":
            return "pyav", "decoder pyav: torchcodec, which the run began with, is not installed"
        return "pyav", ""
    if asked == "auto" and begun == "pyav":
        return begun, "decoder pyav: the run began with it"
    if not has_libraries():
        return "pyav", f"decoder pyav: {_NO_LIBRARIES}; to try it, {_INSTALL}"
    if asked == "auto" and begun is not None:
        return begun, f"decoder {begun}: the run began with it"
    trial = try_decoders(files, frames=frames, stride=stride)
    if trial is None and asked == "torchcodec":
        raise InputError(
            "--decoder torchcodec: reads none of the videos that were tried: packed ones have a "
            "reader of their own, others it would leave to PyAV; leave --decoder out"
        )
    if trial is None:
        return "pyav", ""
    chosen: DecoderName = "torchcodec" if asked == "torchcodec" or trial.is_won else "pyav"
    return chosen, f"decoder {chosen}: {trial}"


def _require_torchcodec() -> None:
    """Raise InputError where torchcodec cannot be used in this process."""
    require_extra(
        "--decoder torchcodec", "torchcodec", extra="torchcodec", distribution="smile-train"
    )
    if not has_libraries():
        raise InputError(
            f"--decoder torchcodec: {_NO_LIBRARIES}; {_INSTALL}, or use --decoder pyav"
        )


def has_libraries() -> bool:
    """Whether the installed torchcodec finds FFmpeg's libraries."""
    try:
        import torchcodec
    except (ImportError, RuntimeError, OSError):
        return False
    return getattr(torchcodec, "ffmpeg_major_version", None) is not None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What clips of a user's videos took."""

    files: int
    """Videos tried."""
    pyav_ms: float
    """Processor time of a clip, milliseconds."""
    torchcodec_ms: float
    """The same by torchcodec."""
    difference: int
    """Largest difference between their pixels, of 255."""

    @property
    def is_won(self) -> bool:
        """Whether torchcodec is exact, and faster."""
        return self.difference == 0 and self.torchcodec_ms <= GAIN * self.pyav_ms

    def __str__(self) -> str:
        """Say it in a line."""
        off = f", pixels up to {self.difference} of 255 apart" if self.difference else ""
        return (
            f"a clip of your videos takes {self.torchcodec_ms:.0f} ms of a core by torchcodec, "
            f"{self.pyav_ms:.0f} by PyAV ({self.files} tried{off})"
        )


def try_decoders(files: Sequence[Path], *, frames: int, stride: int) -> Trial | None:
    """Read a clip of some videos by both decoders.

    Args:
        files: The videos; at most `TRIAL_FILES` of them are tried, for about `TRIAL_S` seconds.
        frames: Frames of a clip.
        stride: Video frames from one to the next; where a video is too short, fewer are read.

    Returns:
        None where torchcodec would read none of them.
    """
    begun = time.perf_counter()
    spent = dict.fromkeys(READERS, 0.0)
    tried = difference = 0
    for number in np.unique(np.linspace(0, len(files) - 1, TRIAL_FILES).astype(int)):
        if tried and time.perf_counter() - begun > TRIAL_S:
            break
        try:
            video = open_index(files[number])
            span = min(len(video), (frames - 1) * stride + 1)
            first = (len(video) - span) // 2
            numbers = np.arange(first, first + span, stride)
            if _has_own_reader(video) or _decode(video, numbers)[0] is None:
                continue
            images, least = {}, dict.fromkeys(READERS, np.inf)
            for _ in range(ROUNDS):
                for name, reader in READERS.items():
                    start = time.process_time()
                    images[name] = reader(video, numbers)
                    least[name] = min(least[name], time.process_time() - start)
        except InputError:
            continue  # It is said when the run comes to it.
        tried += 1
        for name, seconds in least.items():
            spent[name] += seconds
        apart = images["pyav"].astype(np.int16) - images["torchcodec"]
        difference = max(difference, int(np.abs(apart).max()))
    if not tried:
        return None
    return Trial(
        files=tried,
        pyav_ms=1e3 * spent["pyav"] / tried,
        torchcodec_ms=1e3 * spent["torchcodec"] / tried,
        difference=difference,
    )
