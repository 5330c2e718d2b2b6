"""The explorer's page in a real browser."""

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence
from smile_motion import ObjectBank, read_clip
from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.snippets import clip_command, clip_python, compared_command
from smile_motion.explore.state import Controls, ExplorerInputs, Shown, make_shown
from smile_motion.visualize import COLORS
from support.explorer_process import Explorer, explorer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SMALL = {"side": "112", "frames": "8"}
"""Choices that make the page quick."""


@pytest.fixture(scope="module")
def running(small_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    with explorer(tmp_path_factory.mktemp("temporary"), "--bank", small_bank.path) as started:
        yield started


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: "Browser", running: Explorer) -> "Iterator[Page]":
    """The page, about to be opened; asking anything of other machines, or errors, fail the test."""
    width, height = getattr(request, "param", (1280, 900))
    context = browser.new_context(
        viewport={"width": width, "height": height},
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",  # Clips wait until they are played.
    )
    context.set_default_timeout(60_000)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: _note_foreign(request.url, running.address, wrong))
    opened.on("console", lambda said: _note_refused(said.text, wrong))
    yield opened
    context.close()
    assert not wrong


@pytest.fixture
def desktop(page: "Page", running: Explorer) -> "Page":
    """The page on a desktop, with its first clip."""
    page.goto(running.address)
    page.wait_for_selector("canvas")
    return page


def _note_foreign(url: str, own: str, wrong: list[str]) -> None:
    if not url.startswith((own, "data:", "blob:")):
        wrong.append(url)


def _note_refused(said: str, wrong: list[str]) -> None:
    if "Content Security Policy" in said:
        wrong.append(said)


def after(page: "Page", act: Callable[[], object]) -> None:
    """Do something and wait until the clip that it leads to is shown."""
    with page.expect_response("**/api/clip"):
        act()
    page.wait_for_selector("#show[aria-busy=false]")


def choose(page: "Page", **choices: str) -> None:
    for name, value in choices.items():
        part = page.locator(f"details:has(#knob-{name})")
        part.evaluate("(part) => { part.open = true; }")
        after(page, lambda name=name, value=value: page.select_option(f"#knob-{name}", value))


def enter(page: "Page", name: str, value: str) -> None:
    page.fill(f"#knob-{name}", value)
    page.press(f"#knob-{name}", "Tab")


def pixels(page: "Page", number: int = 0) -> np.ndarray:
    """What a canvas shows, (H, W, 3)."""
    address = page.evaluate(f"document.querySelectorAll('canvas')[{number}].toDataURL()")
    data = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def quiet(page: "Page") -> None:
    """Turn off all that is drawn over the clip."""
    while page.locator(".layers input:checked").count():
        page.locator(".layers input:checked").first.uncheck()


def shown(bank: ObjectBank, **controls: Any) -> Shown:
    """What the page shows for some controls."""
    limits = UploadLimits(bytes=10**8, seconds=100)
    return make_shown(Controls(**controls), ExplorerInputs(bank=bank.path), bank, limits)


@pytest.mark.slow
@pytest.mark.parametrize("page", [(1280, 900), (390, 844)], ids=["desktop", "phone"], indirect=True)
def test_the_page_fits_and_the_clip_stays_in_view(
    page: "Page", running: Explorer, tmp_path: Path
) -> None:
    held: list[Any] = []
    page.route("**/api/clip", lambda route: held.append(route))
    page.goto(running.address)
    page.wait_for_selector(".wait:has-text('Making the first clip')")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_selector("canvas")
    assert page.locator(".wait").count() == 0
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.querySelector('canvas').clientWidth") >= (480, 280)[width < 480]
    last = page.locator("#reset")
    last.scroll_into_view_if_needed()
    area = page.locator("canvas").bounding_box()
    assert area is not None
    assert area["y"] >= 0
    assert area["y"] + area["height"] <= page.evaluate("innerHeight")
    folder = os.environ.get("SMILE_SCREENSHOTS", str(tmp_path))
    page.screenshot(path=f"{folder}/{width}.png")
    page.click("#tab-bank")
    page.wait_for_selector("#objects img")
    assert page.locator("#objects img").count() == 24
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_clips_play_pause_step_and_scrub(desktop: "Page") -> None:
    counter, play = desktop.locator(".counter"), desktop.locator(".play")
    assert counter.inner_text() == "1 / 16"
    for key, expected in (("ArrowRight", 2), ("End", 16), ("ArrowRight", 1), ("ArrowLeft", 16)):
        desktop.keyboard.press(key)
        assert counter.inner_text() == f"{expected} / 16"
    desktop.locator(".scrub").fill("4")
    assert counter.inner_text() == "5 / 16"
    desktop.locator(".stage").focus()
    before = pixels(desktop)
    desktop.keyboard.press("Space")
    assert play.get_attribute("aria-label") == "Pause"
    while counter.inner_text() == "5 / 16":
        desktop.wait_for_timeout(20)
    play.click()
    assert play.get_attribute("aria-label") == "Play"
    assert (pixels(desktop) != before).any()
    desktop.click(".on")
    stopped = counter.inner_text()
    desktop.wait_for_timeout(300)
    assert counter.inner_text() == stopped


@pytest.mark.slow
def test_every_layer_draws_the_truth(desktop: "Page", small_bank: ObjectBank) -> None:
    desktop.keyboard.press("ArrowRight")
    quiet(desktop)
    plain = pixels(desktop)
    side = plain.shape[0]
    made = shown(small_bank)
    clip = made.clip
    frame = Image.fromarray(clip.frames[1]).resize((side, side), Image.Resampling.BILINEAR)
    assert np.abs(plain - np.asarray(frame)).mean() < 16  # JPEG of noise, another filter
    scale = side / 224
    for name in ("outlines", "paths", "boxes", "tracks", "masks", "coverage", "flow"):
        box = desktop.locator(f".layers input[value={name}]")
        after(desktop, box.check) if name == "flow" else box.check()
        drawn = pixels(desktop)
        changed = np.abs(drawn - plain).sum(axis=2) > 60
        assert changed.mean() > 0.002, name
        x0, y0, x1 = ((clip.truth.boxes[0, 1, :3] + 0.5) * scale).tolist()
        near = np.linalg.norm(drawn - COLORS[0], axis=2) < 90
        if name == "boxes":
            edge = near[round(y0) - 1 : round(y0) + 2, round(x0) : round(x1)]
            assert edge.any(axis=0).mean() > 0.6
        if name == "masks":
            y, x = np.nonzero(clip.truth.ids[1] == 1)
            rows, columns = ((np.stack([y, x]) + 0.5) * scale).astype(int)
            assert changed[rows, columns].mean() > 0.7
        box.uncheck()
    assert (pixels(desktop) == plain).all()
    desktop.check(".views input[value=seen]")
    gray = (np.abs(pixels(desktop) - (112, 116, 124)).max(axis=2) < 24).reshape(-1)
    tokens = np.zeros(made.grid.tokens, bool)
    tokens[made.mask.masked] = True
    hidden = Image.fromarray(made.grid.upsample(tokens.reshape(made.grid.shape))[1])
    assert (gray == np.asarray(hidden.resize((side, side))).reshape(-1)).mean() > 0.93
    desktop.check(".views input[value=hidden]")
    other = (np.abs(pixels(desktop) - (112, 116, 124)).max(axis=2) < 24).reshape(-1)
    assert (gray ^ other).mean() > 0.9


@pytest.mark.slow
def test_knobs_change_the_clip_and_what_is_copied(
    desktop: "Page", running: Explorer, small_bank: ObjectBank, tmp_path: Path
) -> None:
    choose(desktop, **SMALL)
    after(desktop, lambda: desktop.click("#another"))
    after(desktop, lambda: enter(desktop, "rotation_deg", "30"))
    after(desktop, lambda: enter(desktop, "objects", "99"))
    assert desktop.input_value("#knob-objects") == "16"
    said = desktop.locator("#knob-objects-help")
    assert said.inner_text() == "Objects goes from 0 to 16: set to 16."
    after(desktop, lambda: desktop.click("#block-objects .paper"))
    assert desktop.input_value("#knob-objects") == "2"
    after(desktop, lambda: desktop.locator("#block-mask_ratio input[type=range]").fill("0.5"))
    after(desktop, lambda: desktop.select_option("#knob-compare", "official"))
    sources = ExplorerInputs(bank=small_bank.path)
    controls = Controls(
        side=112, frames=8, seed=1, rotation_deg=30, mask_ratio=0.5, compare="official"
    )
    assert desktop.locator("canvas").count() == 2
    assert (pixels(desktop, 0) != pixels(desktop, 1)).any()
    sentence = desktop.locator(".numbers p").first.inner_text()
    assert "49% of the 196 tokens are hidden" in sentence
    desktop.click("#copy-command")
    assert desktop.evaluate("navigator.clipboard.readText()") == clip_command(controls, sources)
    desktop.click("#copy-python")
    assert desktop.evaluate("navigator.clipboard.readText()") == clip_python(controls, sources)
    assert desktop.locator("#beside").text_content() == compared_command(controls, sources)
    with desktop.expect_download() as waited:
        desktop.click("#save-plan")
    waited.value.save_as(saved := tmp_path / waited.value.suggested_filename)
    wanted = shown(small_bank, side=112, frames=8, seed=1, rotation_deg=30).clip.frames
    assert (read_clip(saved, small_bank).frames == wanted).all()
    after(desktop, lambda: enter(desktop, "smallest_px", "10"))
    after(desktop, lambda: enter(desktop, "largest_px", "12"))
    after(desktop, lambda: desktop.select_option("#knob-recipe", "official"))
    assert not desktop.locator("#block-rotation_deg").is_visible()
    assert desktop.locator("#block-turn_deg").is_visible()
    problem = desktop.locator("#problem")
    assert problem.inner_text().startswith("none of the published code's sizes")
    after(desktop, lambda: desktop.click("#reset"))
    assert not problem.is_visible()
    assert desktop.input_value("#knob-smallest_px") == "32"


@pytest.mark.slow
def test_what_is_shown_is_saved_as_pictures_and_videos(desktop: "Page", tmp_path: Path) -> None:
    choose(desktop, **SMALL)
    after(desktop, lambda: desktop.select_option("#knob-background", "black"))
    after(desktop, lambda: desktop.select_option("#knob-compare", "official"))
    saved = {}
    for name in ("gif", "webp", "mp4", "strip", "png"):
        with desktop.expect_download() as waited:
            desktop.click(f".save-{name}")
        saved[name] = tmp_path / waited.value.suggested_filename
        waited.value.save_as(saved[name])
    assert saved["strip"].suffix == ".webp"
    gif, webp = (
        np.stack([np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(picture)])
        for picture in (Image.open(saved["gif"]), Image.open(saved["webp"]))
    )
    with av.open(str(saved["mp4"])) as container:
        mp4 = np.stack([one.to_ndarray(format="rgb24") for one in container.decode(video=0)])
    assert gif.shape == webp.shape == mp4.shape == (8, 448, 904, 3)
    assert np.abs(webp.astype(int) - mp4).mean() < 4
    assert np.abs(gif.astype(int) - mp4).mean() < 12
    strip = np.asarray(Image.open(saved["strip"]).convert("RGB"))
    assert strip.shape == (2 * 256 + 6, 8 * 256 + 7 * 6, 3)
    assert (strip[258:260] > 220).all()
    picture = np.asarray(Image.open(saved["png"]).convert("RGB").resize((904, 448)))
    assert np.abs(picture.astype(int) - gif[0]).mean() < 12


def test_the_bank_is_searched(desktop: "Page", small_bank: ObjectBank) -> None:
    desktop.click("#tab-bank")
    desktop.wait_for_selector("#objects img")
    assert desktop.inner_text("#found").startswith("1 to 24 of 30 objects of ")
    desktop.click("#next")
    desktop.wait_for_selector("#found:has-text('25 to 30')")
    category = small_bank.categories[3]
    desktop.select_option("#category", category)
    desktop.wait_for_selector("#found:has-text('of 1 objects')")
    desktop.click("#objects button")
    desktop.wait_for_selector("dialog[open]")
    name = small_bank.record(3)["id"]
    assert desktop.inner_text("dialog h2") == name
    assert small_bank.record(3)["sha256"] in desktop.inner_text("dialog table")
    desktop.keyboard.press("Escape")
    desktop.fill("#words", "no such thing")
    desktop.wait_for_selector("#found:has-text('No object is called so')")


def test_an_uploaded_video_is_the_background(
    desktop: "Page", real_videos: dict[str, Path], tmp_path: Path
) -> None:
    quiet(desktop)
    upload = desktop.locator("#knob-upload")
    after(desktop, lambda: upload.set_input_files(real_videos["bikes"]))
    smooth = np.abs(np.diff(pixels(desktop), axis=1)).mean()
    assert smooth < 6  # a video is smoother than noise
    for other in ("noise", "background"):
        assert not desktop.locator(f"#block-{other}").is_visible()
    assert desktop.locator("#block-stride").is_visible()
    assert "YOUR_VIDEO" in (desktop.text_content("#command") or "")
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(real_videos["bikes"].read_bytes()[:90_000])
    after(desktop, lambda: upload.set_input_files(torn))
    said = desktop.inner_text("#problem")
    assert said.startswith("torn.mp4: not a readable video")
    after(desktop, lambda: desktop.click("#clear-upload"))
    assert not desktop.locator("#problem").is_visible()
    assert desktop.locator("#block-background").is_visible()
    assert json.loads(desktop.evaluate("JSON.stringify(knobs.values.upload)")) == ""
