"""Show where an encoder looks: its last block's attention, moving beside each video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from smile_motion.cli.app import Outcome
from smile_motion.io.options import Index

from smile_train.cli.runs import in_first_process
from smile_train.evaluation.figures.options import FigureOptions

EXAMPLES = ("smile-train evaluate attention runs/first --videos VIDEOS --limit 4 --out figures",)


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """Options of `smile_train evaluate attention`."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A run, a checkpoint, a published file or a hub id."""
    token: tuple[Index, Index, Index] | None = None
    """Slice, row and column of the token whose attention is shown. Default: the mean query."""
    form: Literal["mp4", "webp"] = "mp4"
    """Videos, or animations for pages."""


@in_first_process
def run(options: Options) -> Outcome:
    """Encode, paint, and say where it is."""
    import json

    import torch
    from smile_motion.io.files import encode_json, write_atomically

    from smile_train.encoders.video_encoder import hash_encoder
    from smile_train.evaluation.figures.attention import (
        Query,
        attention_map,
        describe_map,
        paint_attention,
        shown_range,
    )
    from smile_train.evaluation.figures.clips import count_videos
    from smile_train.evaluation.figures.gallery import Exhibit, Gallery

    encoder = options.open_encoder(options.checkpoint)
    device = next(encoder.parameters()).device
    grid, query = encoder.grid, Query()
    if options.token is not None:
        query = Query(slice=options.token[0], row=options.token[1], column=options.token[2])
    gallery, maps = Gallery(folder=options.out, form=options.form), {}
    for clip in options.read_clips(encoder, "attention"):
        weights = attention_map(encoder, torch.from_numpy(clip.frames).to(device), query)
        maps[clip.name] = describe_map(weights)
        low, high = (weights.size * value for value in shown_range(weights))
        gallery.add(
            Exhibit(
                name=clip.name,
                frames=clip.frames,
                painted=paint_attention(clip.frames, weights, grid, query),
                rate_hz=clip.rate_hz,
                caption=f"{low:.2f} to {high:.2f} x even",
            )
        )
    whose = "the mean query" if options.token is None else f"token {options.token}"
    gallery.draw_strip(
        options.out / "attention.png",
        title=f"attention of {whose}, last block, mean over heads; dark to bright as multiples of "
        "even attention",
    )
    content = {
        "encoder": {"source": options.checkpoint, "sha256": hash_encoder(encoder)},
        "query": "mean" if options.token is None else list(options.token),
        "grid": list(grid.shape),
        "videos": maps,
    }
    text = json.dumps(content, ensure_ascii=False) + "\n"
    write_atomically(options.out / "attention.json", encode_json(text))
    print(f"{count_videos(gallery.count)} in {options.out}, a strip of them: attention.png")
    return Outcome({"out": options.out, "videos": gallery.count})
