"""Clips are the same today as ever: hashes of what a key gives, part of the format."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from smile_motion import ClipMaker, MotionRecipe, ObjectBank, TokenGrid, make_background
from smile_motion.bank import FolderSource, build
from smile_motion.masking.masks import mask_trajectory
from smile_motion.seeding import Stream, keyed_generator

CLIPS = {
    "paper": "4bbed02712010564",
    "official": "15c5e6508e08b709",
}


@pytest.fixture(scope="module")
def integer_bank(tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    """Objects made with whole numbers alone, so that no library's rounding matters."""
    folder = tmp_path_factory.mktemp("integer")
    y, x = np.mgrid[:180, :240]
    inside = {
        "frame": (np.abs(x - 120) > 60) | (np.abs(y - 90) > 40),
        "wedge": 3 * y > 2 * x,
    }
    for name, solid in inside.items():
        color = np.stack([x % 256, (x * y) % 256, (3 * y) % 256], axis=-1)
        rgba = np.dstack([color, 255 * solid]).astype(np.uint8)
        (folder / "rgba" / name).mkdir(parents=True)
        cv2.imwrite(str(folder / "rgba" / name / "0.png"), rgba)
    return build(FolderSource.open(folder / "rgba"), folder / "bank", workers=0)


def digest(*arrays: np.ndarray) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


@pytest.mark.parametrize("recipe", ["paper", "official"])
def test_clips_and_masks_are_what_they_were(integer_bank: ObjectBank, recipe: str) -> None:
    maker = ClipMaker(
        bank=integer_bank,
        recipe=MotionRecipe.named(recipe),  # type: ignore[arg-type]
        background=make_background("noise"),
        seed=2025,
    )
    parts = []
    for index, epoch in ((0, 0), (7, 0), (7, 1), (10**9, 3)):
        clip = maker.make(index, epoch)
        coverage = clip.truth.token_coverage(TokenGrid())
        rng = keyed_generator(2025, Stream.MASK, epoch=epoch, index=index)
        mask = mask_trajectory(rng, TokenGrid(), 0.8, coverage)
        parts += [clip.frames, clip.truth.ids, mask.masked]
    assert digest(*parts) == CLIPS[recipe]


def test_another_seed_gives_other_clips(integer_bank: ObjectBank) -> None:
    maker = ClipMaker(
        bank=integer_bank,
        recipe=MotionRecipe.paper(),
        background=make_background("black"),
        seed=1,
    )
    frames = maker.make(0).frames
    assert (replace(maker, seed=2).make(0).frames != frames).any()
    assert (replace(maker, seed=1).make(0).frames == frames).all()
