import base64
import html
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from smile_motion import Clip, ClipMaker, MotionRecipe, ObjectBank, TokenGrid, make_background
from smile_motion.__main__ import COMMANDS
from smile_motion.cli.app import run_app
from smile_motion.masking.masks import mask_trajectory
from smile_motion.player import (
    BACKGROUND_COLOR,
    MOST_DRAWN,
    TRACKED,
    TRACKED_BEHIND,
    clip_document,
)
from smile_motion.preview import write_page
from smile_motion.visualize import COLORS, ZOOM, draw_mask, draw_overlay, draw_tokens

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


def decode(address: str) -> np.ndarray:
    data = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)))


def test_pages_hold_every_frame_layer_and_number(clip: Clip) -> None:
    page = write_page([clip], GRID, title="<paths> & masks", rate_hz=5)
    assert "<h1>&lt;paths&gt; &amp; masks</h1>" in page
    (text,) = re.findall(r'<pre class="clip" hidden>(.*?)</pre>', page)
    document = json.loads(html.unescape(text))
    assert document["rate_hz"] == 5
    frames = np.stack([decode(one) for one in document["frames"]])
    assert np.abs(frames.astype(int) - clip.frames).mean() < 12
    layers = {one["name"]: one for one in document["pictures"]}
    masks = np.stack([decode(one) for one in layers["masks"]["pictures"]])
    assert ((masks[..., 3] > 0) == (clip.truth.ids > 0)).all()
    flow = [one and decode(one) for one in layers["flow"]["pictures"]]
    assert flow[3] is None
    assert (flow[0][..., 3] > 0).sum() == (clip.truth.ids[0] > 0).sum()
    assert layers["coverage"]["every"] == GRID.tubelet
    shares = np.stack([decode(one)[..., 3] for one in layers["coverage"]["pictures"]])
    assert shares == pytest.approx(255 * clip.truth.token_coverage(GRID)[0], abs=0.51)
    (row,) = document["table"]["rows"]
    speed = np.linalg.norm(np.diff(clip.plan.centre[0], axis=0), axis=1).mean()
    assert row[0] == clip.truth.bank.record(int(clip.plan.objects[0]))["id"]
    assert row[2] == f"{speed:.1f}"
    assert row[-1] == f"{clip.truth.visible_share[0].mean():.0%}"
    assert sum(one.count("1") for one in document["tokens"]["hidden"]) == 2 * int(0.8 * 36)


def test_documents_place_outlines_and_tracks(clip: Clip) -> None:
    document = clip_document(clip, GRID, title="")
    (thing,) = document["objects"]
    assert thing["boxes"][1] == pytest.approx(clip.truth.boxes[0, 1], abs=0.01)
    for frame, (map_, box) in enumerate(zip(thing["maps"], clip.truth.full_boxes[0], strict=True)):
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in thing["rings"]])
        placed = points @ np.reshape(map_, (2, 3))[:, :2].T + np.reshape(map_, (2, 3))[:, 2]
        found = [*placed.min(axis=0), *placed.max(axis=0)]
        assert found == pytest.approx(box, abs=0.5), frame
    assert len(document["tracks"]) == TRACKED
    for track in document["tracks"]:
        for place, seen, ids in zip(track["points"], track["seen"], clip.truth.ids, strict=True):
            x, y = np.rint(place).astype(int)
            if seen == "1":
                near = ids[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                assert near.any()


def test_points_of_a_background_that_a_camera_moves_are_tracked(white_bank: ObjectBank) -> None:
    recipe = MotionRecipe.named("paper", objects=1, camera="pan")
    clip = ClipMaker(
        bank=white_bank, recipe=recipe, background=make_background("noise"), frames=4,
        size=(96, 96), seed=3,
    ).make(1)  # fmt: skip
    assert clip.plan.camera is not None
    behind = [
        one
        for one in clip_document(clip, GRID, title="")["tracks"]
        if one["color"] == BACKGROUND_COLOR
    ]
    assert len(behind) == TRACKED_BEHIND
    frame = int((clip.truth.ids == 0).sum(axis=(1, 2)).argmax())
    points = np.array([one["points"] for one in behind])
    exact = clip.truth.track(points[:, frame], frame)
    assert points == pytest.approx(exact.positions, abs=0.15)
    assert np.ptp(points, axis=1).max() > 3


def test_clips_between_tokens_are_shown_without_any(white_bank: ObjectBank, tmp_path: Path) -> None:
    words = ["preview", "--size", "41", "--frames", "3", "--n", "1", "--bank", str(white_bank.path)]
    page = tmp_path / "page.html"
    assert run_app("smile-motion", "", COMMANDS, [*words, "--out", str(page)]) == 0
    text = html.unescape(page.read_text())
    (document,) = re.findall(r'<pre class="clip"[^>]*>(.*?)</pre>', text, re.S)
    found = json.loads(document)
    assert (found["width"], found["tokens"]) == (41, None)
    assert [layer["name"] for layer in found["pictures"]] == ["masks", "flow"]


def test_lines_are_drawn_of_the_objects_that_cover_most(white_bank: ObjectBank) -> None:
    maker = ClipMaker(
        bank=white_bank, recipe=MotionRecipe.named("moving-circles", objects=40),
        background=make_background("black"), frames=2, size=(64, 64),
    )  # fmt: skip
    clip = maker.make(0)
    document = clip_document(clip, TokenGrid(frames=2, height=64, width=64), title="", flow=False)
    seen = np.bincount(clip.truth.ids.ravel(), minlength=41)[1:]
    drawn = [one["center"] for one in document["objects"]]
    kept = [slot for slot in range(40) if np.round(clip.plan.centre[slot], 2).tolist() in drawn]
    assert len(drawn) == MOST_DRAWN
    assert min(seen[kept]) >= max(np.delete(seen, kept))
    assert "lines for the 24 of 40 objects" in document["note"]
    assert document["table"]["rows"] == document["tracks"] == []
    assert document["table"]["sentence"].startswith("40 objects cover ")


def test_written_pages_play_by_themselves(clip: Clip, browser: "Browser", tmp_path: Path) -> None:
    (path := tmp_path / "page.html").write_text(write_page([clip, clip], GRID, title="two"))
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url[:30]))
    page.goto(path.as_uri())
    page.wait_for_selector("canvas")
    assert page.locator("canvas").count() == 2
    while page.locator(".counter").first.inner_text() == "1 / 4":
        page.wait_for_timeout(20)
    page.keyboard.press("Space")
    counters = page.locator(".counter")
    stopped = counters.first.inner_text()
    # Keys are for the player that was used last.
    page.locator(".stage").nth(1).click()
    page.keyboard.press("End")
    assert counters.nth(1).inner_text() == "4 / 4"
    assert counters.first.inner_text() == stopped
    with page.expect_download() as waited:
        page.locator(".save-strip").first.click()
    waited.value.save_as(tmp_path / "strip.webp")
    assert Image.open(tmp_path / "strip.webp").size == (4 * 256 + 3 * 6, 256)
    assert page.locator(".save-gif").count() == 0
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    page.close()
