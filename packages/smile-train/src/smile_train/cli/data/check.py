"""Try every video of a list or folder, and write down those that are broken, with the reason."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from smile_motion.cli.app import EXIT_FAULTY, Outcome
from smile_motion.io.options import Workers
from smile_motion.runtime.devices import available_cores

EXAMPLES = ("smile-train data check VIDEOS --sound sound.txt",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train data check`."""

    videos: Annotated[Path, tyro.conf.Positional]
    """A list (`path label` lines), a folder, a tar or a video."""
    out: Path | None = None
    """File for the broken ones, a line each: path, tab, reason. Default: LIST.broken.txt."""
    sound: Path | None = None
    """File for a list of the others, with their labels, to train from."""
    every_frame: bool = False
    """Decode every frame; by default the first, the middle and the last."""
    workers: Workers | None = None
    """Processes. Default: one per core."""


def run(options: Options) -> Outcome:
    """Check and sum up; `EXIT_FAULTY` when something is broken."""
    from rich.console import Console
    from rich.progress import track
    from smile_motion.io.files import write_atomically
    from smile_motion.video import find_videos

    from smile_train.data.check import check_videos

    videos = find_videos(options.videos)
    workers = available_cores() if options.workers is None else options.workers
    console = Console(stderr=True)
    checked = check_videos(videos, every_frame=options.every_frame, workers=workers)
    found = list(
        track(checked, "checking", len(videos), console=console, disable=not console.is_terminal)
    )
    broken = [video for video in found if video.fault is not None]
    twice = [path for path, count in Counter(video.path for video in videos).items() if count > 1]
    sound = [video for video in found if video.fault is None]
    out = options.out or options.videos.with_name(f"{options.videos.name}.broken.txt")
    if broken:
        lines = (f"{video.path}\t{video.fault}\n" for video in broken)
        write_atomically(out, os.fsencode("".join(lines)))
    else:
        out.unlink(missing_ok=True)
    if options.sound is not None:
        labels = {video.path: video.label for video in videos}
        kept = (f"{v.path.absolute()} {labels[v.path] or ''}".rstrip() + "\n" for v in sound)
        write_atomically(options.sound, os.fsencode("".join(kept)))
    partly = [video for video in sound if video.lost]
    seconds = sum(video.frames / video.rate_hz for video in sound)
    sizes = Counter(f"{video.width} x {video.height}" for video in sound).most_common(3)
    facts = {
        "videos": len(found),
        "sound": len(sound),
        "hours": seconds / 3600,
        "lost_frames": {str(video.path): video.lost for video in partly},
        "broken": {str(video.path): video.fault for video in broken},
        "listed_twice": twice,
    }
    print(f"{len(sound)} of {len(found)} videos are sound: {seconds / 3600:.2f} hours")
    if sizes:
        print(f"most frequent sizes: {', '.join(f'{size} ({count})' for size, count in sizes)}")
    if partly:
        print(
            f"{len(partly)} begin or are joined within a group of pictures, such as "
            f"{partly[0].path}: frames that cannot be decoded are left out"
        )
    if twice:
        print(f"{len(twice)} videos are listed more than once, such as {twice[0]}")
    if broken:
        print(f"{len(broken)} are broken, see {out}; the first: {broken[0].fault}")
    return Outcome(facts, EXIT_FAULTY if broken else 0)
