"""Compare each frame's mean feature with the first frame's: curve and matrix (Figure 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from smile_motion.cli.app import Outcome

from smile_train.cli.runs import in_first_process, name_checkpoints
from smile_train.evaluation.figures.options import FigureOptions

EXAMPLES = ("smile-train evaluate similarity runs/first runs/second --videos VIDEOS --out figures",)


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """Options of `smile_train evaluate similarity`."""

    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Runs, checkpoints, published files or hub ids; a curve for each."""
    names: tuple[str, ...] = ()
    """What they are called in the figure. Default: the ends of their paths."""


@in_first_process
def run(options: Options) -> Outcome:
    """Measure, draw, and print what changed how much."""
    import hashlib
    import json
    import os
    from dataclasses import asdict

    from smile_motion.errors import InputError

    from smile_train.encoders.video_encoder import hash_encoder
    from smile_train.evaluation.figures.clips import count_videos
    from smile_train.evaluation.figures.similarity import (
        draw_similarity,
        measure_similarity,
        write_similarity,
    )
    from smile_train.evaluation.results import Results

    checkpoints = options.checkpoints
    if not checkpoints:
        raise InputError("no checkpoint; give one or more before --videos")
    names = name_checkpoints(options.names, checkpoints)
    videos = [str(path) for path in options.source.paths()]
    listing = hashlib.sha256(os.fsencode("\n".join(videos))).hexdigest()
    found, origins = [], []
    for name, checkpoint in zip(names, checkpoints, strict=True):
        encoder = options.open_encoder(checkpoint)
        entry = measure_similarity(encoder, options.read_clips(encoder, name), name=name)
        found.append(entry)
        origins.append({"source": checkpoint, "sha256": hash_encoder(encoder)})
        Results(
            protocol="similarity",
            dataset=options.videos.stem,
            split="all",
            samples=len(entry.matrices),
            metrics=entry.metrics,
            main_metric="last",
            checkpoint=origins[-1],
            pretraining=encoder.pretraining,
            dataset_sha256={"videos": listing},
            config=json.loads(json.dumps(asdict(options), default=str)),
            ours=("videos: which ones the paper shows is not known",),
        ).write(options.out / name)
        print(
            f"{name}: {entry.metrics['second']:.3f} at the second frame, "
            f"{entry.metrics['last']:.3f} at the last, over {count_videos(len(entry.matrices))}"
        )
    draw_similarity(found, options.out / "similarity.png")
    write_similarity(options.out / "similarity.json", found, origins, videos)
    print(options.out / "similarity.png")
    return Outcome({"out": options.out} | {entry.name: entry.metrics for entry in found})
