"""Draw docs/pictures/explorer.webp: the explorer over a video, on a desktop and on a phone.

python docs/drawing/draw_explorer.py video.mp4      # needs Debian's chromium
"""

import io
import subprocess
import sys
from pathlib import Path

from browser import open_browser
from PIL import Image

TARGET = Path(__file__).parents[1] / "pictures" / "explorer.webp"
WIDTHS, HEIGHT, GAP = (1280, 390), 900, 40


def main(video: str) -> None:
    """Take both screenshots and write them beside each other."""
    explorer = subprocess.Popen(
        [sys.executable, "-m", "smile_motion", "explore", "--port", "0", "--videos", video],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert explorer.stdout is not None
        address = explorer.stdout.readline().split()[0]
        with open_browser() as browser:
            shots = []
            for width in WIDTHS:
                page = browser.new_page(
                    viewport={"width": width, "height": HEIGHT}, reduced_motion="reduce"
                )
                page.set_default_timeout(120_000)
                page.goto(address)
                page.wait_for_selector("canvas")
                for name, value in (("objects", "3"), ("seed", "5")):
                    with page.expect_response("**/api/clip"):
                        page.fill(f"#knob-{name}", value)
                        page.keyboard.press("Tab")
                page.wait_for_selector("#show[aria-busy=false]")
                page.check("input[value=boxes]")
                page.locator(".scrub").fill("8")
                if width < HEIGHT:
                    page.check("input[value=seen]")
                    page.uncheck("input[value=boxes]")
                    page.locator("#knob-objects").scroll_into_view_if_needed()
                page.mouse.move(0, 0)
                page.wait_for_timeout(500)
                shots.append(Image.open(io.BytesIO(page.screenshot())))
    finally:
        explorer.terminate()
        explorer.wait(30)
    picture = Image.new("RGB", (sum(WIDTHS) + GAP, HEIGHT), (215, 220, 228))
    picture.paste(shots[0], (0, 0))
    picture.paste(shots[1], (WIDTHS[0] + GAP, 0))
    smaller = picture.resize((picture.width * 3 // 4, HEIGHT * 3 // 4), Image.Resampling.LANCZOS)
    smaller.save(TARGET, quality=82)


if __name__ == "__main__":
    main(sys.argv[1])
