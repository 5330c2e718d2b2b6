from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank
from smile_motion.bank.builder.shapes import CORNERS, ShapeKind, ShapeSource, corners, fill, texture
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.io.images import read_photograph

SEEDS = st.integers(0, 2**32 - 1)
KINDS: tuple[ShapeKind, ...] = get_args(ShapeKind)


@pytest.mark.parametrize("kind", KINDS)
def test_objects_depend_on_their_number_and_the_seed(kind: ShapeKind, photographs: Path) -> None:
    source = ShapeSource.open(kind, count=12, images=photographs)
    other = ShapeSource.open(kind, count=12, seed=1, images=photographs)
    for number in range(12):
        made = source.make(number)
        assert (made.image == source.make(number).image).all()
        assert (made.image != other.make(number).image).any()
    names = {(thing.category, thing.name) for thing in map(source.make, range(12))}
    assert len(names) == 12


def test_kinds_hold_what_the_paper_lists(shape_banks: dict[str, ObjectBank]) -> None:
    assert shape_banks["circles"].categories == ("circle",)
    for kind in ("shapes", "textures", "crops"):
        assert set(shape_banks[kind].categories) == set(CORNERS)
        assert (np.bincount(shape_banks[kind].category) == 6).all()
    for index in range(36):
        image = shape_banks["shapes"].image(index)
        opaque = image[image[..., 3] == 255][:, :3]
        assert (opaque == opaque[0]).all()
    colors = {tuple(shape_banks["circles"].image(index)[128, 128]) for index in range(36)}
    assert len(colors) == 36


@given(seed=SEEDS, shape=st.sampled_from(sorted(CORNERS)))
def test_shapes_have_their_corners_on_the_circle(seed: int, shape: str) -> None:
    points = corners(np.random.default_rng(seed), shape)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert fill(points).mean() / 255 == pytest.approx(area / 4, abs=0.004)
    if "square" in shape or shape == "rectangle":
        sides = np.roll(points, -1, axis=0) - points
        np.testing.assert_allclose((sides * np.roll(sides, -1, axis=0)).sum(axis=1), 0, atol=1e-12)
    if "square" in shape:
        assert area == pytest.approx(2)


def test_crops_are_pixels_of_photographs(photographs: Path) -> None:
    source = ShapeSource.open("crops", count=24, images=photographs)
    originals = set()
    for number in range(24):
        made = source.make(number)
        x, y, width, height = made.details["crop"]
        assert width == height
        originals.add(made.details["original"])
        photograph = read_photograph(photographs / made.details["original"])
        assert width <= min(photograph.shape[:2])
        how = cv2.INTER_AREA if width > 256 else cv2.INTER_LINEAR
        expected = cv2.resize(
            photograph[y : y + height, x : x + width], (256, 256), interpolation=how
        )
        seen = made.image[..., 3] > 0
        assert (made.image[seen, :3] == expected[seen]).all()
        assert not made.image[~seen].any(), "clear pixels are black"
    assert len(originals) > 3


def test_textures_span_a_range_of_spectra_and_colours() -> None:
    drawn = [texture(np.random.default_rng(seed), 64) for seed in range(60)]
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in drawn)
    rough = [np.abs(np.diff(image.astype(float), axis=1)).mean() / image.std() for image in drawn]
    assert max(rough) > 8 * min(rough)
    assert np.ptp([image.mean() for image in drawn]) > 50


def test_crops_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--images"):
        ShapeSource.open("crops", count=3)
    with pytest.raises(InputError, match="no photograph"):
        ShapeSource.open("crops", count=3, images=tmp_path)


def run(*words: object) -> int:
    return run_app("smile-motion", "", COMMANDS, [str(word) for word in words])


@pytest.mark.parametrize("kind", KINDS)
def test_banks_of_shapes_are_built_by_command(kind: str, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "bank"
    words = ["--source", kind, "--n", 12, "--workers", 0]
    words += ["--images", photographs] if kind == "crops" else []
    assert run("build-bank", *words, "--out", out) == 0
    assert ObjectBank.open(out).card["source"] == kind
