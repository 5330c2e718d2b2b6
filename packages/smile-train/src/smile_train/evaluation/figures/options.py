"""What the commands that draw features of videos have in common. Importable without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from smile_motion.io.options import Count, Groups, Heads, Stride, Threads

from smile_train.config.run import DecoderOptions

if TYPE_CHECKING:
    from smile_train.encoders.video_encoder import VideoEncoder
    from smile_train.evaluation.figures.clips import ClipSource, ShownClip


@dataclass(frozen=True, kw_only=True)
class FigureOptions(DecoderOptions):
    """Videos, how clips are taken of them, and where the figure goes."""

    GROUPS: ClassVar[Groups] = {
        "what is shown, and where to": (
            *("checkpoint", "checkpoints", "videos", "out"),
            *("names", "token", "over", "form", "heads"),
        ),
        "which clips": ("limit", "stride", "sampling"),
        "how fast": ("decoder", "workers", "cpu_threads"),
    }

    videos: Path
    """A video, a folder, a tar or a list (`path label` lines). One clip of each is shown."""
    out: Path
    """Folder for what is made."""
    limit: Count | None = None
    """Most videos, the first ones. Default: all."""
    stride: Stride = 4
    """Video frames from one clip frame to the next, where sampling is dense. Paper: 4 on K400."""
    sampling: Literal["dense", "uniform"] = "dense"
    """The middle of the video, or one frame of each of its equal parts."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    workers: Threads = 2
    """Threads that decode videos."""
    cpu_threads: Threads | None = None
    """Threads of an encoder on the CPU. Default: all cores that this process may use, or
    OMP_NUM_THREADS where you set it."""

    @property
    def source(self) -> ClipSource:
        """The clips."""
        from smile_train.evaluation.figures.clips import ClipSource

        return ClipSource(
            videos=self.videos,
            limit=self.limit,
            stride=self.stride,
            sampling=self.sampling,
            decoder=self.decoder,
        )

    def open_encoder(self, checkpoint: str) -> VideoEncoder:
        """Open an encoder on the fastest device that is there.

        Raises:
            InputError: There is none at that place.
        """
        from smile_motion.runtime.devices import choose_device

        from smile_train.config.machine import use_cores
        from smile_train.encoders.video_encoder import load

        use_cores(self.cpu_threads)
        return load(checkpoint, heads=self.heads).to(choose_device("auto"))

    def read_clips(self, encoder: VideoEncoder, what: str) -> Iterator[ShownClip]:
        """Clips as an encoder takes them, with a progress bar that says `what` is done with them.

        Raises:
            InputError: There are none, or one cannot be read.
        """
        from smile_motion.runtime.progress import progress_bar

        total = len(self.source.paths())
        with progress_bar() as on_progress:
            for done, clip in enumerate(self.source.read(encoder.grid, workers=self.workers)):
                on_progress(what, done, total)
                yield clip
            on_progress(what, total, total)
