from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data
from smile_motion.bank.candidates.cutout import clean
from smile_motion.bank.dedup import fingerprint, mark_duplicates

SIDE = 384


def photograph(name: str) -> np.ndarray:
    image = getattr(data, name)()[..., :3]
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def disc(x: float, y: float, radius: float, softness: float = 3.0) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(columns - x, rows - y)
    return (np.clip((radius - distance) / softness + 0.5, 0, 1) * 255).round().astype(np.uint8)


def composite(front: np.ndarray, alpha: np.ndarray, behind: tuple[int, int, int]) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(front * share + np.array(behind) * (1 - share)).astype(np.uint8)


@pytest.mark.parametrize("behind", [(0, 255, 0), (255, 0, 255), (255, 255, 255)])
def test_no_colour_of_the_background_is_left_in_soft_edges(behind: tuple[int, int, int]) -> None:
    front, alpha = photograph("chelsea"), disc(190, 200, 120, softness=6)
    image = composite(front, alpha, behind)
    errors = {}
    for decontaminate in (False, True):
        rgba = clean(image, alpha, decontaminate=decontaminate)
        assert rgba is not None
        kept = rgba[..., 3]
        top = int(np.flatnonzero((alpha > 0).any(1))[0])
        left = int(np.flatnonzero((alpha > 0).any(0))[0])
        true = front[top : top + rgba.shape[0], left : left + rgba.shape[1]].astype(int)
        soft = (kept > 25) & (kept < 230)
        errors[decontaminate] = np.abs(rgba[..., :3].astype(int) - true)[soft].mean()
        assert (rgba[..., :3][kept == 255] == true[kept == 255]).all()
    assert errors[True] < 15
    assert errors[True] < errors[False] / 3


def test_the_largest_part_is_kept_with_its_soft_edge_and_cropped_tightly() -> None:
    image = photograph("astronaut")
    large, small = disc(120, 150, 70), disc(300, 100, 40)
    rgba = clean(image, np.maximum(large, small))
    assert rgba is not None
    rows, columns = np.flatnonzero(large.any(1)), np.flatnonzero(large.any(0))
    inside = large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (rgba[..., 3] == inside).all()
    assert (rgba[rgba[..., 3] == 0] == 0).all()
    assert rgba[..., 3].any(axis=0).all()
    assert rgba[..., 3].any(axis=1).all()


def test_holes_stay_unless_they_are_to_be_filled() -> None:
    image = photograph("coffee")
    ring = np.minimum(disc(190, 190, 120), 255 - disc(190, 190, 50))
    kept, filled = clean(image, ring), clean(image, ring, fill_holes=True)
    assert kept is not None
    assert filled is not None
    centre = kept.shape[0] // 2, kept.shape[1] // 2
    assert kept[(*centre, 3)] == 0
    assert filled[(*centre, 3)] == 255
    assert (filled[centre][:3] == image[190, 190]).all()


@pytest.mark.parametrize("alpha", [np.zeros((SIDE, SIDE), np.uint8), disc(100, 100, 2)])
def test_next_to_nothing_is_dropped(alpha: np.ndarray) -> None:
    assert clean(photograph("rocket"), alpha) is None


def cut_out(name: str) -> np.ndarray:
    rgba = clean(photograph(name), disc(190, 190, 150))
    assert rgba is not None
    return rgba


def test_copies_look_alike_and_other_photographs_do_not() -> None:
    original = cut_out("chelsea")
    target = BytesIO()
    on_white = Image.alpha_composite(Image.new("RGBA", original.shape[1::-1], "white"),
                                     Image.fromarray(original)).convert("RGB")  # fmt: skip
    on_white.save(target, "JPEG", quality=70)
    copied = np.dstack([np.asarray(Image.open(target)), original[..., 3]])
    smaller = cv2.resize(original, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    prints = [
        fingerprint(rgba)
        for rgba in (original, cut_out("astronaut"), copied, cut_out("coffee"), smaller)
    ]
    assert all(len(one) == 16 for one in prints)
    assert mark_duplicates(prints, 4) == [None, None, 0, None, 0]
    assert mark_duplicates(prints, -1) == [None] * 5
    assert mark_duplicates([], 4) == []


def test_a_copy_of_a_copy_is_compared_with_what_is_kept() -> None:
    # b is a copy of a; c is near b but not near a, so it is kept.
    a, b, c = f"{0:016x}", f"{0b111:016x}", f"{0b111111:016x}"
    assert mark_duplicates([a, b, c], 3) == [None, 0, None]
