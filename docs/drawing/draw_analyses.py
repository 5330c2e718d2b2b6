"""Draw the pictures of docs/analyses.md: two encoders on real videos played in four manners.

uv run python docs/drawing/draw_analyses.py --videos DIR --first RUN --second RUN \\
    --out DIR --work DIR                                # needs Debian's chromium
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from browser import open_browser
from PIL import Image
from smile_motion.cli.app import run_app
from smile_motion.video import find_videos, index_video, read_frames, write_video
from smile_train.__main__ import COMMANDS
from smile_train.evaluation.figures.clips import cut_middle

TRAIN, TEST = 10, 16
MANNERS = {
    "played": np.arange(16),
    "reversed": np.arange(16)[::-1],
    "still": np.full(16, 8),
    "back and forth": np.abs(np.arange(16) % 8 - 4) * 2,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw from, and where to."""

    videos: Path
    """Videos of a few seconds."""
    first: str
    """A run whose clips are of 16 x 64 x 64."""
    second: str
    """Another, compared with it."""
    out: Path
    """Folder of the pictures."""
    work: Path
    """Folder for all else: what the commands write, and the report of it, which names it."""
    names: tuple[str, str] = ("untrained", "trained")
    """What the runs are called."""


def write_classes(videos: Path, root: Path) -> None:
    """A class for every video and manner; test clips are of later moments."""
    for video in find_videos(videos):
        index = index_video(video.path)
        starts = np.linspace(0, len(index) - 17, TRAIN + TEST).astype(int)
        for number, start in enumerate(starts):
            split = "train" if number < TRAIN else "validation"
            images = cut_middle(read_frames(index, start + np.arange(16)), (64, 64))
            for manner, order in MANNERS.items():
                folder = root / split / f"{video.path.stem}, {manner}"
                folder.mkdir(parents=True, exist_ok=True)
                write_video(folder / f"{number:02d}.mp4", images[order], rate_hz=16)


def call(*words: object) -> None:
    """Run a command, as typed."""
    code = run_app("smile_train", "", COMMANDS, [str(word) for word in words])
    if code:
        raise SystemExit(code)


def shrink(source: Path, target: Path, width: int) -> None:
    """Keep a picture small enough for a repository."""
    with Image.open(source) as picture:
        height = round(picture.height * width / picture.width)
        small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    small.save(target, "WEBP", quality=82, method=6)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")


def photograph(page: Path, picture: Path) -> None:
    """Take the end of a report: Table 7, Figure 4, and what is in no table."""
    with open_browser() as browser:
        shown = browser.new_page(viewport={"width": 960, "height": 800})
        shown.goto(page.resolve().as_uri())
        top = shown.locator("h2", has_text="Table 7").bounding_box()
        height = shown.evaluate("document.documentElement.scrollHeight")
        assert top is not None
        area = {"x": 0, "y": top["y"] - 10, "width": 960, "height": height - top["y"] + 10}
        shown.screenshot(path=picture, full_page=True, clip=area)


def main(options: Options) -> None:
    """Evaluate, draw, shrink."""
    options.out.mkdir(parents=True, exist_ok=True)
    work = options.work
    shared = ("--videos", options.videos, "--stride", 2)
    both = (options.first, options.second, "--names", *options.names)
    call("evaluate", "similarity", *both, *shared, "--out", work / "similarity")
    shown = (options.second, *shared, "--limit", 2)
    call("evaluate", "attention", *shown, "--token", 3, 4, 4, "--out", work / "attention")
    call("evaluate", "pca", *shown, "--over", "all", "--out", work / "pca")
    write_classes(options.videos, work / "manners")
    for name, run in zip(options.names, (options.first, options.second), strict=True):
        call("probe", "knn", run, "--data", work / "manners", "--out", work / name,
             "--stride", 1, "--cache", work / "cache", "--precision", "fp32")  # fmt: skip
    pair = [work / name for name in options.names]
    call("evaluate", "gains", *pair, "--out", work / "gains")
    for name, width in (("similarity", 640), ("attention", 860), ("pca", 860), ("gains", 860)):
        shrink(work / name / f"{name}.png", options.out / f"{name}.webp", width)
    own = f"--row={work / 'similarity'}=own:tiny"
    call("evaluate", "report", *pair, work / "similarity", "--out", work / "report", own)
    photograph(work / "report/report.html", work / "report.png")
    shrink(work / "report.png", options.out / "report.webp", 760)
    shrink(pair[1] / "confusion.png", options.out / "confusion.webp", 640)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
