import base64
import io
import re

import numpy as np
import pytest
from PIL import Image, ImageSequence
from smile_motion import Clip, ClipMaker, MotionRecipe, ObjectBank, TokenGrid, make_background
from smile_motion.masking.masks import mask_trajectory
from smile_motion.preview import write_page
from smile_motion.visualize import COLORS, ZOOM, draw_mask, draw_overlay, draw_tokens

GRID = TokenGrid(frames=4, height=96, width=96)


@pytest.fixture(scope="module")
def clip(white_bank: ObjectBank) -> Clip:
    return ClipMaker(
        bank=white_bank,
        recipe=MotionRecipe.named("paper", objects=1),
        background=make_background("noise"),
        frames=4,
        size=(96, 96),
        seed=3,
    ).make(1)


def test_overlays_mark_the_centre_and_the_box(clip: Clip) -> None:
    pictures = draw_overlay(clip)
    assert pictures.shape == (4, 96 * ZOOM, 96 * ZOOM, 3)
    for t, picture in enumerate(pictures):
        lined = (picture == COLORS[0]).all(axis=-1)
        x, y = np.rint((clip.plan.centre[0, t] + 0.5) * ZOOM - 0.5).astype(int)
        assert lined[y, x]
        x0, y0, x1, y1 = (clip.truth.boxes[0, t] + 0.5) * ZOOM - 0.5
        inside = np.s_[
            max(0, int(y0) - 2) : int(y1) + 4,
            max(0, int(x0) - 2) : int(x1) + 4,
        ]
        assert lined[inside].sum() > 2 * ((x1 - x0) + (y1 - y0)) * 0.5


def test_token_pictures_are_brightest_where_objects_are(clip: Clip) -> None:
    pictures = draw_tokens(clip, GRID)
    coverage = clip.truth.token_coverage(GRID)[0]
    middles = pictures[:: GRID.tubelet, 16::32, 16::32].astype(float)
    light = (middles * np.array(COLORS[0])).sum(axis=-1) / np.square(COLORS[0]).sum()
    assert light[coverage > 0.9].min() > 0.9
    assert light[coverage == 0].max() < 0.5


def test_masked_tokens_are_grey_and_the_others_as_they_are(clip: Clip) -> None:
    mask = mask_trajectory(np.random.default_rng(0), GRID, 0.8, clip.truth.token_coverage(GRID))
    pictures = draw_mask(clip, GRID, mask)
    cubes = pictures.reshape(2, 2, 6, 16, 6, 16, 3).transpose(0, 2, 4, 1, 3, 5, 6).reshape(72, -1)
    shown = clip.frames.reshape(2, 2, 6, 16, 6, 16, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    assert (cubes[mask.masked] == 96).all()
    assert (cubes[mask.visible] == shown.reshape(72, -1)[mask.visible]).all()


def test_pages_hold_every_picture_and_the_numbers(clip: Clip) -> None:
    page = write_page([clip], GRID, title="<paths> & masks", rate_hz=5)
    assert "<h1>&lt;paths&gt; &amp; masks</h1>" in page
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r"data:image/webp;base64,([^\"]+)", page)
    ]
    assert len(pictures) == 4
    for picture in pictures:
        assert len(list(ImageSequence.Iterator(picture))) == 4
    first = np.asarray(next(iter(ImageSequence.Iterator(pictures[0]))).convert("RGB"))
    assert np.abs(first.astype(int) - clip.frames[0]).mean() < 40
    speed = np.linalg.norm(np.diff(clip.plan.centre[0], axis=0), axis=1).mean()
    assert f"<td>{speed:.1f}</td>" in page
    assert f"<td>{clip.truth.visible_share[0].mean():.0%}</td>" in page
    assert clip.truth.bank.record(int(clip.plan.objects[0]))["id"] in page
