"""Options of `bank build` and `bank filter`: candidates, models, and processes that share work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from smile_motion.errors import InputError
from smile_motion.io.options import (
    Batch,
    BitsOrAll,
    ClipScore,
    Count,
    Formerly,
    Index,
    Magnitude,
    NonNegative,
    OnlyWith,
    Share,
    Side,
    Steps,
    Threads,
)
from smile_motion.runtime.devices import available_cores

if TYPE_CHECKING:
    from smile_motion.bank.candidates.types import Scorer, Segmenter, Thresholds


_MADE = OnlyWith(
    lambda options: options.source in ("stable-diffusion", "auto"),
    "with --source stable-diffusion",
)


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Which candidates become objects."""

    segmenter: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Finds objects: a path to an ONNX model (U2Net, ISNet, BiRefNet), `clipseg`, `clipseg=FOLDER`,
    or `full` for images with alpha; NAME= before it names it. Give several; each image takes the
    mask that scores best. Default: the preset's."""
    scorer: str | None = None
    """CLIP that scores masks: an open_clip name or folder. Default: ViT-L-14."""
    scorer_pretrained: str | None = None
    """Tag of its weights, for a name. Default: openai."""
    min_score: ClipScore | None = None
    """CLIP score that is always enough. Default: 21."""
    margin: NonNegative | None = None
    """How far below the best of its category a score may be, where that is lower. Default: 1."""
    min_area: Share | None = None
    """Least share of the image that an object takes. Default: 0.05."""
    max_area: Share | None = None
    """Largest share of the image that an object takes. Default: 0.95."""
    min_raw: Magnitude | None = None
    """A mask must exceed this before it is stretched to 0 to 1. Default: 0.5."""
    max_distance: BitsOrAll | None = None
    """Objects whose perceptual hashes differ in at most so many of 64 bits are duplicates; -1 keeps
    all. Default: 4."""
    fill_holes: bool | None = None
    """Fill what an object's outer contour encloses. Default: the preset's."""
    segmenter_device: str | None = None
    """Where segmenters run: auto, cpu, cuda. Default: as --device."""
    judge_batch: Batch = 8
    """Images that a segmenter or the scorer takes at a time."""
    cpu_threads: Threads | None = None
    """Threads of every model that runs on the CPU; like the batch, they decide over the last bit of
    what it says. Default: one per core that this process may use, whatever OMP_NUM_THREADS says."""

    def thresholds(self, start: Thresholds) -> Thresholds:
        """Thresholds of the given options, else of `start`.

        Raises:
            InputError: The smallest area exceeds the largest, or is out of range.
        """
        names = ("min_score", "margin", "min_area", "max_area", "min_raw", "max_distance")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        found = replace(start, **given)
        if not 0 <= found.min_area <= found.max_area <= 1:
            raise InputError(
                f"--min-area {found.min_area:g} and --max-area {found.max_area:g}: expected shares "
                f"of the image, the first not above the second"
            )
        return found

    def fix_threads(self, device: str) -> dict[str, int]:
        """Set the number of threads of models on the CPU.

        Returns:
            The number, as an entry of the card; empty where no model runs on the CPU.
        """
        from smile_motion.runtime.devices import choose_device

        devices = {choose_device(name).type for name in (device, self.segmenter_device or device)}
        if "cpu" not in devices:
            return {}
        import torch

        threads = available_cores() if self.cpu_threads is None else self.cpu_threads
        torch.set_num_threads(threads)
        return {"cpu_threads": threads}

    def open(
        self, segmenters: Sequence[str], scorer: str, text: str, device: str
    ) -> tuple[list[Segmenter], Scorer]:
        """Open the segmenters and the scorer of the given options, else of the arguments."""
        from smile_motion.bank.candidates.score import ClipScorer
        from smile_motion.bank.candidates.segmenters import open_segmenter

        where = self.segmenter_device or device
        opened = [
            open_segmenter(spec, device=where, batch=self.judge_batch, threads=self.cpu_threads)
            for spec in self.segmenter or segmenters
        ]
        judge = ClipScorer.open(
            self.scorer or scorer,
            pretrained=self.scorer_pretrained,
            device=device,
            batch=self.judge_batch,
            text=text,
        )
        return opened, judge


@dataclass(frozen=True, kw_only=True)
class DiffusionOptions:
    """How images are made by --source stable-diffusion."""

    preset: Annotated[Literal["xpaste", "modern"], _MADE, Formerly("profile")] = "xpaste"
    """`xpaste`: Stable Diffusion 1.5 as X-Paste ran it; `modern`: any newer model, with its own
    settings, and a prompt with definition and white background."""
    model: Annotated[str | None, _MADE] = None
    """Folder or hub name of a text-to-image model. Default: the preset's."""
    revision: Annotated[str | None, _MADE] = None
    """Commit, tag or branch of a hub name."""
    prompt: Annotated[str | None, _MADE] = None
    """With {name} and perhaps {definition}. Default: the preset's."""
    steps: Annotated[Steps | None, _MADE] = None
    """Denoising steps. Default: the preset's, else the model's."""
    guidance: Annotated[NonNegative | None, _MADE] = None
    """Guidance scale. Default: the preset's, else the model's."""
    size: Side | None = None
    """Side of the images, pixels; with --source images their longest side. Default: the preset's,
    else the model's; 512 for photographs."""
    batch: Annotated[Batch, _MADE] = 8
    """Images made at a time. It decides over the last bit of a GPU's images."""
    device: str = "auto"
    """auto, cpu, cuda, or a number as in cuda:1. A full-size model runs on a CPU only if asked."""
    dtype: Annotated[Literal["auto", "float32", "float16", "bfloat16"], _MADE] = "auto"
    """Of the model's weights."""
    safety_checker: Annotated[bool, _MADE] = True
    """Refuse images that the model's safety checker marks."""


@dataclass(frozen=True, kw_only=True)
class CategoryOptions:
    """What objects are of, for --source stable-diffusion; --deny for images too."""

    categories: Annotated[str, _MADE] = "imagenet1k"
    """imagenet1k, imagenet21k, an LVIS or COCO annotation file (.json), or a text file with a line
    `name` or `name<TAB>definition` each."""
    deny: Path | None = None
    """File of categories to leave out, a line each. Default: people, weapons and the like."""
    max_tries: Count | None = None
    """Candidates of a category after which it is given up. Default: 4 per object, at least 16."""
    drop_candidates: bool = False
    """Delete the candidates' images at the end; `bank filter` then has nothing to work on."""


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Division of the work; `accelerate launch -m smile_motion build-bank` needs none of these."""

    shard_index: Index | None = None
    """Which part to build, from 0; `bank merge` unites all parts."""
    num_shards: Count | None = None
    """How many parts there are."""
    engine: Literal["local", "ray"] = "local"
    """`ray` builds the --num-shards parts on a Ray cluster, a GPU each, and unites them."""
    address: Annotated[
        str | None, OnlyWith(lambda options: options.shard.engine == "ray", "with --engine ray")
    ] = None
    """Head of the Ray cluster, HOST:PORT. Default: RAY_ADDRESS, else this machine alone."""


def local_device(device: str, local_rank: int | None) -> str:
    """GPU of this process among those launched together; `device` itself otherwise."""
    if local_rank is None or device not in ("auto", "cuda"):
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{local_rank % count}" if count else device


def writers(workers: int | None) -> int | None:
    """Number of threads that write, for `--workers`."""
    return None if workers is None else max(1, min(workers, 2 * available_cores()))
