"""The compiled loops of procedural objects give what OpenCV and NumPy give, to the last bit."""

import cv2
import numpy as np
import pytest
from smile_motion.bank.builder._surfaces import (
    FAR,
    average_4x4,
    find_cells,
    find_spots,
    light_surface,
    raise_cushion,
)
from smile_motion.bank.builder.procedural import CATEGORIES, ProceduralSource
from smile_motion.bank.packed_object import HULL_SIDES, hull_polygon, make_levels


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_sub_pixels_are_averaged(rng: np.random.Generator) -> None:
    fine = rng.integers(0, 256, (4 * 60, 4 * 37), np.uint8)
    coarse = np.empty((60, 37), np.uint8)
    average_4x4(fine, coarse)
    assert (coarse == cv2.resize(fine, (37, 60), interpolation=cv2.INTER_AREA)).all()


def test_cells_and_spots(rng: np.random.Generator) -> None:
    x = np.linspace(-1, 1, 90, dtype=np.float32)
    y = np.linspace(-0.7, 0.7, 70, dtype=np.float32)
    points = rng.uniform(-1, 1, (9, 2)).astype(np.float32)
    points = np.concatenate([points, points[:1]])  # one twice: a tie everywhere
    tone, radius = rng.random((2, 10)).astype(np.float32)
    first, second, own, nearest = np.empty((4, 70, 90), np.float32)
    find_cells(x, y, points, tone, first, second, own)
    find_spots(x, y, points, radius, nearest)
    distance = np.stack([np.hypot(x - px, y[:, None] - py) for px, py in points])
    ordered = np.sort(distance, axis=0)
    assert (first == ordered[0]).all()
    assert (second == np.minimum(ordered[1], FAR)).all()
    assert (own == tone[distance.argmin(axis=0)]).all()
    assert (nearest == (distance / radius[:, None, None]).min(axis=0)).all()


@pytest.mark.parametrize("stops", [2, 3])
def test_light(rng: np.random.Generator, stops: int) -> None:
    shape = (50, 64)
    tone = rng.uniform(-0.1, 1.1, shape).astype(np.float32)
    tone[0, :3] = 0, 0.5, 1
    alpha = rng.integers(0, 3, shape).astype(np.uint8) * 100
    colors = rng.random((stops, 3))
    depth = rng.uniform(0, 20, shape).astype(np.float32)
    relief = np.empty(shape, np.float32)
    raise_cushion(depth, np.float32(12.3), relief)
    bend = 1 - np.minimum(depth / np.float32(12.3), 1)
    assert (relief == np.sqrt(1 - bend**2) * np.float32(12.3)).all()

    direction = np.array([np.cos(1.0), np.sin(1.0)])
    rgba = np.empty((*shape, 4), np.uint8)
    light_surface(tone, colors, relief, direction, 0.6, alpha, rgba)
    dy, dx = np.gradient(relief)
    light = np.clip(1 + 0.6 * (dx * direction[0] + dy * direction[1]), 0.35, 1.7)
    places = np.linspace(0, 1, stops)
    rgb = np.stack([np.interp(tone, places, colors[:, c]) for c in range(3)], axis=-1)
    expected = np.clip(rgb * light[..., None] * 255, 0, 255).astype(np.uint8)
    assert (rgba[..., :3] == np.where(alpha[..., None] > 0, expected, 0)).all()
    assert (rgba[..., 3] == alpha).all()


def test_levels_and_cover_hold_all_that_is_seen() -> None:
    for number in range(len(CATEGORIES)):
        rgba = ProceduralSource(count=30).make(number).image
        assert not rgba[rgba[..., 3] == 0].any()
        levels = make_levels(rgba)
        share = rgba[..., 3:].astype(np.float32)
        exact = np.concatenate([rgba[..., :3] * (share / 255), share], axis=2)
        assert (levels[0][1:-1, 1:-1] == np.rint(exact)).all()
        alpha = levels[0][..., 3]
        y, x = np.nonzero(alpha)
        size = np.array([alpha.shape[1] - 2, alpha.shape[0] - 2])
        corners = (np.stack([x, y], axis=1)[:, None] - 1 - (size - 1) / 2) / size
        corners = corners + np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * 0.5 / size
        cover = hull_polygon(alpha).astype(float)
        edge = np.roll(cover, -1, axis=0) - cover
        for k in range(HULL_SIDES):
            to = corners - cover[k]
            assert (edge[k, 0] * to[..., 1] - edge[k, 1] * to[..., 0] > -1e-6).all()
