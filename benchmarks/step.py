"""A float32 step on one thread: our layers against torch's own, in the same run.

    uv run python benchmarks/step.py

The teacher is CLIP B/16 with random weights, once through open_clip's own forward pass (as the
published code runs it), once through ours; the student is ViT-S under one mask of ratio 0.8, with
`nn.Linear` and with ours. Processor time of this thread, the least of several turns, which take
turns: other work on the machine matters little. Without AVX-512:
`ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2` before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
import tyro
from smile_motion.tokens import masked_tokens
from smile_train.config.pretrain_presets import PRESETS
from smile_train.models import layers
from smile_train.models.mae import PretrainModel
from smile_train.teachers import ClipTeacher
from smile_train.training.losses import masked_loss


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    clips: Annotated[int, tyro.conf.arg(help="In a step.")] = 1
    turns: Annotated[int, tyro.conf.arg(help="Of each.")] = 4


def least(turns: int, **works: Callable[[], object]) -> dict[str, float]:
    """Least seconds of processor time of each piece of work, taking turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(turns + 1):
        for name, work in works.items():
            begun = time.thread_time()
            work()
            if turn:  # The first takes pages.
                found[name].append(time.thread_time() - begun)
    return {name: min(seconds) for name, seconds in found.items()}


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    config = replace(PRESETS["table4-clip-motion"], mask_ratio=0.8)
    grid, clips = config.grid, options.clips
    teacher = ClipTeacher.random("ViT-B-16-quickgelu")
    model = PretrainModel(config.student_config, grid, teacher.width)
    images = torch.randn(clips * grid.slices, 3, 224, 224)
    frames = torch.randint(0, 256, (clips, 16, 224, 224, 3), dtype=torch.uint8)
    order = torch.stack([torch.randperm(grid.tokens) for _ in range(clips)])[:, None]
    hidden = masked_tokens(grid, config.mask_ratio)
    features = torch.randn(clips, grid.tokens, teacher.width)

    def with_torch(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            layers.ONE_DNN = False
            work()
            layers.ONE_DNN = True

        return run

    def theirs() -> None:
        with torch.no_grad():
            teacher.visual(images)

    def learn() -> None:
        visible, masked = order[..., hidden:], order[..., :hidden]
        masked_loss(model, frames, visible, masked, features, config).backward()

    print(f"{torch.backends.cpu.get_cpu_capability()}, float32, one thread, ms of it a clip")
    taught = least(
        options.turns,
        theirs=with_torch(theirs),
        torch=with_torch(lambda: teacher.encode_images(images)),
        ours=lambda: teacher.encode_images(images),
    )
    learned = least(options.turns, torch=with_torch(learn), ours=learn)
    whole = {name: taught[name] + learned["ours" if name == "ours" else "torch"] for name in taught}
    for title, row in (("teacher", taught), ("student", learned), ("both", whole)):
        shown = ", ".join(
            f"{name} {1e3 * seconds / clips:.0f} ({seconds / row['ours']:.2f})"
            for name, seconds in row.items()
        )
        print(f"{title}: {shown}")
    half = least(
        options.turns,
        fp32=lambda: F.linear(images.new_ones(1576, 768), images.new_ones(3072, 768)),
        ours=lambda: layers.linear(images.new_ones(1576, 768), images.new_ones(3072, 768)),
    )
    print(f"a layer of 1576 x 768 x 3072: {half['fp32'] / half['ours']:.2f} times as fast as MKL's")


if __name__ == "__main__":
    main(tyro.cli(Options))
