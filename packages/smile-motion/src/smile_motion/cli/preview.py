"""Write one self-contained HTML page that shows clips, their trajectories and their tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

from smile_motion.cli.app import Outcome
from smile_motion.clips.options import OVER_FILES, ClipOptions
from smile_motion.errors import InputError, UnusableFile
from smile_motion.io.options import Groups, PageCount

_SCENERY = {
    "natural": "natural video",
    "frame": "one frame of a video",
    "places": "photographs",
    "black": "black",
    "noise": "noise",
    "pseudo-motion": "photographs in motion",
}

EXAMPLES = (
    "smile-motion preview --background noise --out preview.html",
    "smile-motion preview --videos VIDEOS --effects motion-blur --n 8",
)


@dataclass(frozen=True, kw_only=True)
class Options(ClipOptions):
    """Options of `smile-motion preview`."""

    GROUPS: ClassVar[Groups] = {
        "where to": ("out", "n"),
        **ClipOptions.GROUPS,
        "where from": (*ClipOptions.GROUPS["where from"], "allow_broken"),
    }

    out: Path = Path("preview.html")
    """The page."""
    n: PageCount = 4
    """Clips on it, at most 64."""
    allow_broken: Annotated[bool, OVER_FILES] = False
    """Put another file behind a clip whose own cannot be used, and say so."""


def run(options: Options) -> Outcome:
    """Render the clips and write the page."""
    from smile_motion.io.files import write_atomically
    from smile_motion.preview import write_page
    from smile_motion.runtime.progress import progress_bar
    from smile_motion.tokens import TokenGrid

    if options.out.is_dir():
        raise InputError(f"{options.out}: is a folder; give --out a file name such as preview.html")
    maker = replace(options.make_maker(), allow_broken=options.allow_broken)
    tubelet = options.tubelet if options.frames % options.tubelet == 0 else 1
    height, width = options.frame_size
    grid = None
    if height % options.patch or width % options.patch:
        print(f"no tokens are drawn: {width} x {height} px are no multiple of {options.patch}")
    else:
        grid = TokenGrid(
            frames=options.frames, height=height, width=width, tubelet=tubelet, patch=options.patch
        )
    clips = []
    with progress_bar() as on_progress:
        for index in range(options.n):
            try:
                clips.append(maker.make(index))
            except UnusableFile as error:
                raise InputError(
                    f"{error}; or put others in the place of such files with --allow-broken"
                ) from error
            on_progress("rendering", index + 1, options.n)
    camera = " under a moving camera" if maker.recipe.camera is not None else ""
    title = (
        f"Moving objects on {_SCENERY[options.background_kind]}{camera}, "
        f"recipe {options.recipe}, seed {options.seed}"
    )
    write_atomically(options.out, write_page(clips, grid, title=title).encode())
    for index, clip in enumerate(clips):
        for fault in clip.origin.get("broken", ()):
            print(f"clip {index}: another file is behind it than its own: {fault}")
    print(f"{options.out}: {options.n} clips; open it in a browser")
    return Outcome({"out": options.out, "clips": options.n})
