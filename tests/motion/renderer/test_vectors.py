"""The vector steps of painting give what plain whole numbers give, in frames of any width."""

import numpy as np
import pytest
from numba import njit
from smile_motion import MotionRecipe, ObjectBank, render
from smile_motion.renderer._composite import blend
from smile_motion.renderer._vectors import LANES, blend_sixteen, mark_sixteen, mix_sixteen
from smile_motion.seeding import Stream, keyed_generator


@njit
def mix(mixed, into, pairs, at, u, v, step_u, step_v):
    mix_sixteen(mixed, np.uint64(into), pairs, np.uint64(at), u, v, step_u, step_v)


@njit
def put(row, pixel, mixed, at):
    blend_sixteen(row, np.uint64(3 * pixel), mixed, np.uint64(at))


@njit
def put_any(row, pixel, mixed, count):
    blend(row, pixel, mixed, count)


@njit
def mark(ids, pixel, mixed, at, label):
    return mark_sixteen(ids, np.uint64(pixel), mixed, np.uint64(at), np.uint8(label))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def mixed(rng: np.random.Generator) -> np.ndarray:
    """Premultiplied pixels, clear and opaque ones among them: (40,) uint32."""
    rgba = rng.integers(0, 256, (40, 4))
    rgba[:6, 3], rgba[6:12, 3], rgba[12, 3], rgba[13, 3] = 0, 255, 127, 128
    rgba[:, :3] = rgba[:, :3] * rgba[:, 3:] // 255
    return rgba.astype(np.uint8).view(np.uint32).ravel()


def test_neighbours_are_weighed(rng: np.random.Generator) -> None:
    pairs = rng.integers(0, 2**64, (2, 40), np.uint64)
    pairs[:, :8] = 2**64 - 1
    for at in (0, 5):
        u, v, step_u, step_v = (int(n) for n in rng.integers(-(2**20), 2**20, 4))
        mixed = np.zeros(40, np.uint32)
        mix(mixed, 9, pairs, at, np.int32(u), np.int32(v), np.int32(step_u), np.int32(step_v))
        near = pairs[:, at : at + LANES].copy().view(np.uint8).reshape(2, LANES, 2, 4).astype(int)
        number = at + np.arange(LANES)
        part_u = (u + number * step_u >> 8 & 255)[:, None]
        part_v = (v + number * step_v >> 8 & 255)[:, None]
        w11 = part_u * part_v >> 8
        w01, w10 = part_u - w11, part_v - w11
        total = near[0, :, 0] * (256 - part_u - w10) + near[0, :, 1] * w01
        total += near[1, :, 0] * w10 + near[1, :, 1] * w11
        expected = (total + 128 >> 8).astype(np.uint8).view(np.uint32).ravel()
        assert (mixed[9 : 9 + LANES] == expected).all()
        assert not mixed[:9].any()
        assert not mixed[9 + LANES :].any()


def test_pixels_are_put_over_a_row(rng: np.random.Generator, mixed: np.ndarray) -> None:
    row = rng.integers(0, 256, 3 * 40).astype(np.uint8)
    above = mixed.view(np.uint8).reshape(-1, 4).astype(int)

    def expected(pixel: int, at: int, count: int) -> np.ndarray:
        painted = row.reshape(-1, 3).astype(int)
        over = above[at : at + count]
        kept = np.rint(painted[pixel : pixel + count] * (255 - over[:, 3:]) / 255)
        painted[pixel : pixel + count] = over[:, :3] + kept
        return painted.astype(np.uint8).ravel()

    for pixel, at in ((0, 0), (7, 3), (24, 12)):
        painted = row.copy()
        put(painted, pixel, mixed, at)
        assert (painted == expected(pixel, at, LANES)).all()
    for count in (1, 15, 16, 17, 37):
        painted = row.copy()
        put_any(painted, 3, mixed, count)
        assert (painted == expected(3, 0, count)).all()


def test_labels_are_written(mixed: np.ndarray) -> None:
    ids = np.full(40, 3, np.uint8)
    assert mark(ids, 5, mixed, 2, 200) == (solid := mixed[2 : 2 + LANES] >> 24 >= 128).sum()
    assert (ids[5 : 5 + LANES] == np.where(solid, 200, 3)).all()
    assert (ids[:5] == 3).all()
    assert (ids[5 + LANES :] == 3).all()


@pytest.mark.parametrize("width", [1, 5, 16, 17, 100, 223])
def test_a_narrow_frame_is_a_part_of_a_wide_one(small_bank: ObjectBank, width: int) -> None:
    rng = keyed_generator(0, Stream.MOTION, index=width)
    plan = MotionRecipe.paper().plan(rng, small_bank, frames=4)
    behind = keyed_generator(0, Stream.BACKGROUND).integers(0, 256, (4, 224, 224, 3), np.uint8)
    ids, part_ids = np.empty((4, 224, 224), np.uint8), np.empty((4, 224, width), np.uint8)
    frames = render(behind.copy(), plan, small_bank, ids=ids)
    for left in (0, 224 - width, (224 - width) // 2):
        part = plan.framed(shift=np.array([-left, 0]), height=224, width=width)
        cut = np.ascontiguousarray(behind[:, :, left : left + width])
        found = render(cut, part, small_bank, ids=part_ids)
        assert (found == frames[:, :, left : left + width]).all()
        assert (part_ids == ids[:, :, left : left + width]).all()
