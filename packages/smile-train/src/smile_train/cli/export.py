"""Turn a checkpoint into a folder that transformers reads, or into the published format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train export`."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A checkpoint's folder, a run's folder (its newest one), or a published .pth file."""
    out: Path
    """Folder for `transformers`, file for `official`."""
    to: Literal["transformers", "official"] = "transformers"
    """`transformers.VideoMAEModel` with its image processor, or the published checkpoint format."""
    heads: int | None = None
    """Attention heads of a published checkpoint, where they are not the width over 64."""


def run(options: Options) -> None:
    """Export and say where the result is."""
    from smile_train.interop.checkpoints import open_checkpoint
    from smile_train.interop.official import save_official
    from smile_train.interop.transformers import export_transformers

    model, source = open_checkpoint(options.checkpoint, heads=options.heads)
    if options.to == "transformers":
        export_transformers(model, options.out)
        print(f"{options.out}: {source} for VideoMAEModel.from_pretrained({str(options.out)!r})")
    else:
        save_official(options.out, model, args={"model": "smile"}, epoch=0)
        print(f"{options.out}: {source} in the published format")
