"""Draw what the first minutes show into docs/pictures: both pages, on a desktop and on a phone, as
explorer.webp and encoder.webp, and what a run draws of itself as first_run.webp.

python docs/drawing/draw_explorer.py video.mp4 RUN      # needs Debian's chromium
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from browser import open_browser
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = Path(__file__).parents[1] / "pictures"
WIDTHS, HEIGHT, GAP, RUN_HEIGHT = (1280, 390), 900, 40, 480


def tune(page: Page, **values: str) -> None:
    """Set numbers of knobs and wait for what they lead to."""
    for name, value in values.items():
        with page.expect_response("**/api/clip"):
            page.fill(f"#knob-{name}", value)
            page.keyboard.press("Tab")
    page.wait_for_selector("#show[aria-busy=false]")


def show_recipe(page: Page, *, phone: bool) -> None:
    """A clip with its truth; on a phone what a student sees of it."""
    tune(page, objects="3", seed="5")
    page.check("input[value=boxes]")
    page.locator(".scrub").fill("8")
    if phone:
        page.check("input[value=seen]")
        page.uncheck("input[value=boxes]")
        page.locator("#knob-objects").scroll_into_view_if_needed()


def show_encoder(page: Page, *, phone: bool) -> None:
    """What is like the token of an object, and what is known of motion."""
    with page.expect_response("**/api/clip"):
        page.select_option("#knob-source", "black")
    tune(page, objects="3", seed="7")
    page.locator(".scrub").fill("8")
    area = page.locator(".stage canvas").first.bounding_box()
    assert area is not None
    with page.expect_response("**/api/clip"):
        page.mouse.click(
            area["x"] + TOKEN[0] * area["width"], area["y"] + TOKEN[1] * area["height"]
        )
    page.wait_for_selector("#show[aria-busy=false]")
    page.click("#probe")
    page.wait_for_selector("#probe:not([disabled])", state="attached")
    if phone:
        page.locator("#facts").scroll_into_view_if_needed()


TOKEN = (0.6, 0.4)
"""Where the encoder's clip is clicked, as shares of its width and height."""


def draw(command: list[str], name: str, show: Callable[..., None]) -> None:
    """Take both screenshots of a page and write them beside each other."""
    server = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        with open_browser() as browser:
            shots = []
            for width in WIDTHS:
                page = browser.new_page(
                    viewport={"width": width, "height": HEIGHT}, reduced_motion="reduce"
                )
                page.set_default_timeout(600_000)
                page.goto(address)
                page.wait_for_selector("canvas")
                show(page, phone=width < HEIGHT)
                page.mouse.move(0, 0)
                page.wait_for_timeout(500)
                shots.append(Image.open(io.BytesIO(page.screenshot())))
    finally:
        server.terminate()
        server.wait(30)
    picture = Image.new("RGB", (sum(WIDTHS) + GAP, HEIGHT), (215, 220, 228))
    picture.paste(shots[0], (0, 0))
    picture.paste(shots[1], (WIDTHS[0] + GAP, 0))
    smaller = picture.resize((picture.width * 3 // 4, HEIGHT * 3 // 4), Image.Resampling.LANCZOS)
    smaller.save(PICTURES / name, quality=82)


def draw_run(run: Path) -> None:
    """Put a run's curve beside the first two of its reconstructed clips."""
    shots = [Image.open(run / name).convert("RGB") for name in ("loss.png", "reconstruction.png")]
    shots[1] = shots[1].crop((0, 0, shots[1].width, round(shots[1].height * 0.65)))
    sizes = [(round(shot.width * RUN_HEIGHT / shot.height), RUN_HEIGHT) for shot in shots]
    picture = Image.new("RGB", (sum(width for width, _ in sizes) + GAP, RUN_HEIGHT), "white")
    picture.paste(shots[0].resize(sizes[0], Image.Resampling.LANCZOS), (0, 0))
    picture.paste(shots[1].resize(sizes[1], Image.Resampling.LANCZOS), (sizes[0][0] + GAP, 0))
    picture.save(PICTURES / "first_run.webp", quality=82)


def main(video: str, run: str) -> None:
    """Draw both pages, and the run."""
    draw_run(Path(run))
    draw(["smile_motion", "explore", "--videos", video], "explorer.webp", show_recipe)
    draw(["smile_train", "explore", run], "encoder.webp", show_encoder)


if __name__ == "__main__":
    main(*sys.argv[1:])
