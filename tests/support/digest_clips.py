"""Prints the sha256 of clips as JSON, made in the ways that `test_reproducible` compares."""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from smile_motion import ClipMaker, MotionRecipe, ObjectBank, TokenGrid, make_background
from smile_motion.masking.masks import mask_trajectory
from smile_motion.seeding import Stream, keyed_generator
from torch.utils.data import DataLoader

GRID = TokenGrid(frames=8, height=64, width=64)


@dataclass
class Digests:
    """Index -> sha256 of all that belongs to a clip."""

    makers: list[ClipMaker]
    epoch: int

    def __getitem__(self, index: int) -> tuple[int, str]:
        total = hashlib.sha256()
        for maker in self.makers:
            clip = maker.make(index, self.epoch)
            coverage = clip.truth.token_coverage(GRID)
            rng = keyed_generator(maker.seed, Stream.MASK, epoch=self.epoch, index=index)
            mask = mask_trajectory(rng, GRID, 0.8, coverage)
            for array in (
                clip.frames,
                clip.plan.objects,
                clip.plan.placement(),
                clip.truth.ids,
                clip.truth.boxes,
                coverage,
                mask.masked,
            ):
                total.update(array.tobytes())
            total.update(json.dumps(clip.origin).encode())
        return index, total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bank", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("indexes", type=int, nargs="+")
    parser.add_argument("--epoch", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--start-method")
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    makers = [
        ClipMaker(
            bank=ObjectBank.open(options.bank),
            recipe=recipe,
            background=background,
            frames=GRID.frames,
            size=(GRID.height, GRID.width),
            seed=11,
        )
        for recipe, background in (
            (MotionRecipe.paper(), make_background("noise")),
            (MotionRecipe.official(), make_background("natural", videos=options.video)),
        )
    ]
    batches = DataLoader(
        Digests(makers, options.epoch),  # type: ignore[arg-type]
        sampler=options.indexes,
        batch_size=options.batch,
        num_workers=options.workers,
        multiprocessing_context=options.start_method,
        collate_fn=list,
    )
    print(json.dumps({index: digest for batch in batches for index, digest in batch}))


if __name__ == "__main__":
    main()
