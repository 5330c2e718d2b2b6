"""Open a page on this machine that shows what an encoder makes of clips.

Attention of its last block, principal components and similarities of its features, on objects that
move or on your videos, and on request what it knows about motion. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from smile_motion.clips.options import BANK_FIELDS, BankOptions
from smile_motion.explore.options import PAGE_FIELDS, PageOptions
from smile_motion.io.options import ONE_FOLDER, Banks, Groups, Heads, Threads

EXAMPLES = (
    "smile-train explore runs/first --open",
    "smile-train explore runs/first --videos VIDEOS",
)


@dataclass(frozen=True, kw_only=True)
class Options(PageOptions, BankOptions):
    """Options of `smile_train explore`."""

    GROUPS: ClassVar[Groups] = {
        "what is shown": ("checkpoint", "videos", *BANK_FIELDS, "heads"),
        "the page": PAGE_FIELDS,
        "how fast": ("cpu_threads",),
    }

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A run, a checkpoint, a published file or a hub id."""
    bank: Banks = None
    """Object bank, or several as one, of the clips that are rendered. Default: the embedded one."""
    videos: Annotated[Path | None, ONE_FOLDER] = None
    """Video, folder or list (`path label` lines) to show."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    cpu_threads: Threads | None = None
    """Threads of an encoder on the CPU. Default: all cores that this process may use, or
    OMP_NUM_THREADS where you set it."""


def run(options: Options) -> None:
    """Serve the page until Ctrl-C."""
    from smile_motion.bank import embedded_bank
    from smile_motion.runtime.devices import choose_device
    from smile_motion.video import find_videos

    from smile_train.config.machine import use_cores
    from smile_train.encoders.video_encoder import load
    from smile_train.evaluation.figures.clips import short_names
    from smile_train.explore.page import encoder_routes
    from smile_train.explore.scene import SceneMaker

    if options.videos is not None:
        find_videos(options.videos)
    bank = options.open_bank(embedded_bank)
    use_cores(options.cpu_threads)
    encoder = load(options.checkpoint, heads=options.heads).to(choose_device("auto"))
    scenes = SceneMaker(encoder, bank, options.videos)
    (name,) = short_names([options.checkpoint])
    options.serve(lambda limits: encoder_routes(scenes, limits, name=name))
