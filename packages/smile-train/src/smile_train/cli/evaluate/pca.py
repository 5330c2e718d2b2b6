"""Color tokens by the first three principal components of their features, beside each video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from smile_motion.cli.app import Outcome

from smile_train.cli.runs import in_first_process
from smile_train.evaluation.figures.options import FigureOptions

if TYPE_CHECKING:
    import numpy as np

    from smile_train.evaluation.figures.clips import ShownClip

EXAMPLES = ("smile-train evaluate pca runs/first --videos VIDEOS --over all --out figures",)


@dataclass(frozen=True, kw_only=True)
class Options(FigureOptions):
    """Options of `smile_train evaluate pca`."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A run, a checkpoint, a published file or a hub id."""
    over: Literal["video", "all"] = "video"
    """Components of each video's own tokens, or of those of all videos: then a color means the
    same in all of them. Either way it means the same from frame to frame."""
    form: Literal["mp4", "webp"] = "mp4"
    """Videos, or animations for pages."""


@in_first_process
def run(options: Options) -> Outcome:
    """Encode, paint, and say where it is."""
    import json

    import torch
    from smile_motion.io.files import encode_json, write_atomically

    from smile_train.encoders.video_encoder import hash_encoder
    from smile_train.evaluation.figures.clips import count_videos
    from smile_train.evaluation.figures.gallery import Exhibit, Gallery
    from smile_train.evaluation.figures.pca import Components, paint_components

    encoder = options.open_encoder(options.checkpoint)
    device = next(encoder.parameters()).device

    def tokens_of(clip: ShownClip) -> np.ndarray:
        tokens, _ = encoder.features(torch.from_numpy(clip.frames)[None].to(device))
        return tokens[0].float().cpu().numpy()

    shared = None
    if options.over == "all":
        clips = options.read_clips(encoder, "components")
        shared = Components.fit([tokens_of(clip) for clip in clips])
    gallery, found = Gallery(folder=options.out, form=options.form), {}
    for clip in options.read_clips(encoder, "pictures"):
        own = tokens_of(clip)
        components = shared or Components.fit([own])
        shares = " ".join(f"{100 * share:.0f}" for share in components.explained)
        gallery.add(
            Exhibit(
                name=clip.name,
                frames=clip.frames,
                painted=paint_components(own, components, encoder.grid),
                rate_hz=clip.rate_hz,
                caption=f"{shares} % of variance",
            )
        )
        found[clip.name] = {
            "explained": components.explained.round(6).tolist(),
            "colours": components.colors(own).reshape(*encoder.grid.shape, -1).tolist(),
        }
    gallery.draw_strip(
        options.out / "pca.png",
        title="first three principal components of the tokens' features, as red, green, blue",
    )
    content = {
        "encoder": {"source": options.checkpoint, "sha256": hash_encoder(encoder)},
        "over": options.over,
        "grid": list(encoder.grid.shape),
        "videos": found,
    }
    text = json.dumps(content, ensure_ascii=False) + "\n"
    write_atomically(options.out / "pca.json", encode_json(text))
    print(f"{count_videos(gallery.count)} in {options.out}, a strip of them: pca.png")
    return Outcome({"out": options.out, "videos": gallery.count})
