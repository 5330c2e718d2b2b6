"""The explorer's page in a real browser."""

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageSequence
from smile_motion import ObjectBank, read_clip
from smile_motion.explore.views import QUALITY, RATE_HZ
from smile_motion.video import encode_animation
from support.explorer_process import Explorer, explorer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def running(small_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    with explorer(tmp_path_factory.mktemp("temporary"), "--bank", small_bank.path) as started:
        yield started


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: "Browser", running: Explorer) -> "Iterator[Page]":
    yield from open_page(browser, running, *request.param)


@pytest.fixture
def desktop(browser: "Browser", running: Explorer) -> "Iterator[Page]":
    yield from open_page(browser, running, 1280, 900)


def open_page(browser: "Browser", running: Explorer, width: int, height: int) -> "Iterator[Page]":
    """A page that has its first clip; asking anything of other machines, or errors, fail it."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: _note_foreign(request.url, running.address, wrong))
    page.on("console", lambda said: _note_refused(said.text, wrong))
    page.goto(running.address)
    page.wait_for_selector("#view-flow", timeout=60_000)
    yield page
    context.close()
    assert not wrong


def _note_foreign(url: str, own: str, wrong: list[str]) -> None:
    if not url.startswith((own, "data:", "blob:")):
        wrong.append(url)


def _note_refused(said: str, wrong: list[str]) -> None:
    if "Content Security Policy" in said:
        wrong.append(said)


def after(page: "Page", view: str, act: Any) -> None:
    """Do something and wait until a view has changed."""
    before = page.get_attribute(f"#view-{view}", "src")
    act()
    page.wait_for_function(
        "([name, before]) => document.querySelector(`#view-${name}`).src !== before",
        arg=[view, before],
    )


def pictures(page: "Page", view: str) -> np.ndarray:
    """The frames that a view plays."""
    source = page.get_attribute(f"#view-{view}", "src")
    assert source is not None
    opened = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    return np.stack([np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(opened)])


def set_number(page: "Page", name: str, value: str) -> None:
    field = page.locator(f"#control-{name} input[type=number]").first
    field.fill(value)
    field.press("Tab")


@pytest.mark.slow
def test_the_page_fits_and_shows_all(page: "Page", tmp_path: Path) -> None:
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # pyright: ignore[reportOptionalSubscript]
    for view in ("clip", "overlay", "mask", "flow"):
        assert page.evaluate(f"document.querySelector('#view-{view}').naturalWidth") >= 224
        # The flow of the last frame is that of the one before, which is then seen for longer.
        assert len(pictures(page, view)) == (15 if view == "flow" else 16)
    assert "speed, px a frame" in page.inner_text("#numbers")
    page.screenshot(path=os.environ.get("SMILE_SCREENSHOTS", str(tmp_path)) + f"/{width}.png")
    page.get_by_role("tab", name="Object bank").click()
    page.wait_for_selector("#objects img")
    assert page.locator("#objects img").count() == 24
    assert "of 30 objects" in page.inner_text("#objects")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_controls_change_what_plays_and_what_is_copied(
    desktop: "Page", running: Explorer, small_bank: ObjectBank, tmp_path: Path
) -> None:
    after(desktop, "clip", lambda: desktop.click("#another"))
    after(desktop, "clip", lambda: set_number(desktop, "objects", "4"))
    after(desktop, "clip", lambda: set_number(desktop, "rotation_deg", "30"))
    after(desktop, "mask", lambda: set_number(desktop, "mask_ratio", "0.5"))
    assert desktop.locator("#numbers tr").count() == 5
    assert "50% of the 1568 tokens are hidden" in desktop.inner_text("#numbers")
    desktop.click("#copy-command")
    command = desktop.evaluate("navigator.clipboard.readText()")
    assert re.match(r"printf .* && smile-motion render .*--seed 1 .*--n 1 --out clip$", command)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    frames = read_clip(tmp_path / "clip/clip_000000.json", small_bank).frames
    encoded = encode_animation(frames, rate_hz=RATE_HZ, quality=QUALITY)
    source = desktop.get_attribute("#view-clip", "src")
    assert source == f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"
    desktop.click("#copy-python")
    scope: dict = {}
    exec(desktop.evaluate("navigator.clipboard.readText()"), scope)
    assert (scope["clip"].frames == frames).all()
    with desktop.expect_download() as waited:
        desktop.click("#save-plan")
    saved = tmp_path / waited.value.suggested_filename
    waited.value.save_as(saved)
    assert (read_clip(saved, small_bank).frames == frames).all()


def test_an_uploaded_video_is_the_background(
    desktop: "Page", real_videos: dict[str, Path], tmp_path: Path
) -> None:
    upload = desktop.locator("#control-upload input[type=file]")
    after(desktop, "clip", lambda: upload.set_input_files(real_videos["bikes"]))
    plain = pictures(desktop, "clip").astype(int)
    assert np.abs(np.diff(plain, axis=2)).mean() < 15  # a video is smoother than noise
    for other in ("noise", "background"):
        assert not desktop.locator(f"#control-{other}").is_visible()
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(real_videos["bikes"].read_bytes()[:90_000])
    desktop.locator("#control-upload button[aria-label=Clear]").first.click()
    desktop.locator("#control-upload input[type=file]").set_input_files(torn)
    desktop.wait_for_selector("#problem p")
    said = desktop.inner_text("#problem p")
    assert said.startswith("torn.mp4: not a readable video")
    assert "Traceback" not in desktop.content()


@pytest.mark.slow
def test_what_does_not_go_together_is_one_line(desktop: "Page") -> None:
    after(desktop, "clip", lambda: set_number(desktop, "smallest_px", "10"))
    after(desktop, "clip", lambda: set_number(desktop, "largest_px", "12"))
    desktop.locator("#control-recipe input").click()
    desktop.get_by_role("option", name="published code").click()
    desktop.wait_for_selector("#problem p")
    said = desktop.inner_text("#problem p")
    assert said.startswith("none of the published code's sizes")
    assert "\n" not in said.strip()
    after(desktop, "clip", lambda: set_number(desktop, "largest_px", "100"))
    desktop.wait_for_selector("#problem p", state="detached")
