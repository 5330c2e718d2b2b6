"""Show which classes one run gets right more often than another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from smile_motion.cli.app import Outcome
from smile_motion.io.options import Count

from smile_train.cli.runs import in_first_process

EXAMPLES = ("smile-train evaluate gains runs/scratch-ucf101 runs/first-ucf101 --out figures",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train evaluate gains`."""

    first: Annotated[Path, tyro.conf.Positional]
    """Folder of a fine-tuning or probe."""
    second: Annotated[Path, tyro.conf.Positional]
    """Folder of another, tested on the same samples; its gains over the first are shown."""
    out: Path
    """Folder for gains.png and gains.json."""
    count: Count = 15
    """Largest gains, and as many of the largest losses, that are drawn. The file lists all."""
    names: tuple[str, str] | None = None
    """What the runs are called in the figure. Default: the ends of their paths."""


@in_first_process
def run(options: Options) -> Outcome:
    """Compare, draw, and say what was found."""
    from smile_train.evaluation.figures.clips import short_names
    from smile_train.evaluation.figures.gains import (
        ClassScores,
        class_gains,
        draw_gains,
        sum_up,
        write_gains,
    )

    first, second = ClassScores.read(options.first), ClassScores.read(options.second)
    gains = class_gains(first, second)
    names = options.names or tuple(short_names([first.run, second.run]))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "gains.png"
    draw_gains(gains, path, first=names[0], second=names[1], score=first.score, count=options.count)
    write_gains(path.with_suffix(".json"), gains, first, second)
    total = sum_up(gains)
    print(
        f"{names[1]} over {names[0]}: {total['mean']:+.2f} points over {len(gains)} classes, "
        f"{total['gained']} gained, {total['lost']} lost"
    )
    for gain in gains[:3] + gains[3:][-3:]:
        print(f"  {gain.gain:+7.2f}  {gain.name} ({gain.first:.1f} to {gain.second:.1f})")
    print(path)
    return Outcome({"out": path, "classes": len(gains)} | total)
