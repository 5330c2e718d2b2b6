"""The explorer's page: what each of its calls answers."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from smile_motion.errors import InputError
from smile_motion.explore.guard import UploadLimits, make_room
from smile_motion.explore.knobs import page_document
from smile_motion.explore.objects import ALL, BankBrowser
from smile_motion.explore.server import KINDS, Answer, Request, Route, answer_json, file_route
from smile_motion.explore.snippets import clip_command, clip_file, clip_python, compared_command
from smile_motion.explore.state import (
    Controls,
    ExplorerInputs,
    Shown,
    make_compared,
    make_shown,
)
from smile_motion.io.files import write_atomically
from smile_motion.io.markup import render_html
from smile_motion.io.schema import parse, parse_text
from smile_motion.player import clip_document, describe_origin
from smile_motion.video import SUFFIXES

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

_HERE = Path(__file__).parent
MOST_EXPORTED_BYTES = 1 << 27
"""Most pixels of an export, in bytes of RGBA: 32 frames of two clips of 448 px are 103 MB."""
WEBP_QUALITY = 90
"""Quality of animated WebP, 0 to 100."""
RELOAD = "reload the page"


def explorer_routes(
    bank: ObjectBank, sources: ExplorerInputs, limits: UploadLimits
) -> dict[str, Route]:
    """Make the routes of the explorer.

    Args:
        bank: Objects of the clips.
        sources: Videos and photographs of the backgrounds.
        limits: Limits of uploaded videos; their folder is where they are written.
    """
    page = _Page(bank, sources, limits)
    calls = {
        "page": Route(method="GET", answer=page.describe),
        "clip": Route(answer=page.show),
        "plan": Route(answer=page.save_plan),
        "objects": Route(method="GET", answer=page.list_objects),
        "object": Route(method="GET", answer=page.show_object),
    }
    return page_routes(_HERE / "explorer.html", calls, page.uploads, title="SMILE Motion explorer")


def page_routes(
    page: Path, calls: Mapping[str, Route], uploads: Uploads, *, title: str
) -> dict[str, Route]:
    """Make all routes of a page with a player and knobs.

    Args:
        page: Its template, which extends `served_page.html`; its script is beside it, of the same
            name.
        calls: Its own calls, by their names below `/api/`.
        uploads: Videos that it takes.
        title: Its title.
    """
    shared = _HERE.parent
    styles = [shared / "player.css", _HERE / "explorer.css"]
    scripts = [shared / "player.js", _HERE / "knobs.js", page.with_suffix(".js")]
    names = {"styles": [path.name for path in styles], "scripts": [path.name for path in scripts]}
    shown = Answer(body=render_html(page, title=title, **names).encode(), kind=KINDS[".html"])
    common = {
        "encode": Route(answer=encode_pictures, most_bytes=MOST_EXPORTED_BYTES),
        "upload": Route(answer=uploads.take, most_bytes=uploads.limits.bytes),
    }
    return {
        "/": Route(method="GET", answer=lambda _request: shown),
        **{f"/{path.name}": file_route(path) for path in (*styles, *scripts)},
        **{f"/api/{name}": route for name, route in (common | dict(calls)).items()},
    }


ControlsType = TypeVar("ControlsType")


class Uploads:
    """Videos that were uploaded, by names that the server gave."""

    def __init__(self, limits: UploadLimits, *, kept: bool) -> None:
        """Keep uploads in the limits' folder.

        Args:
            limits: Limits of uploaded videos.
            kept: Whether the folder is the user's own, of which nothing is deleted.
        """
        assert limits.folder is not None
        self._folder, self.limits, self._kept = limits.folder, limits, kept
        self._places: dict[str, Path] = {}

    def take(self, request: Request) -> Answer:
        """Write an upload, `?name=` of the query, and answer with its number.

        Raises:
            InputError: It is not named as a video.
        """
        name = plain_name(request.query.get("name", ""))
        if Path(name).suffix.lower() not in SUFFIXES:
            raise InputError(f"{name}: not a video by its name; give {', '.join(SUFFIXES)}")
        if not self._kept:
            make_room(self._folder, 3 * self.limits.bytes)
        number = str(len(self._places) + 1)
        place = self._folder / name if self._kept else self._folder / number / name
        if self._kept and place.exists() and place.read_bytes() != request.body:
            place = place.with_stem(f"{place.stem}-{number}")
        place.parent.mkdir(exist_ok=True)
        write_atomically(place, request.body)
        self._places[number] = place
        return answer_json({"upload": number, "name": name})

    def read_controls(
        self, body: bytes, kind: type[ControlsType]
    ) -> tuple[dict[str, Any], ControlsType, Path | None]:
        """Read what a page asks with its controls.

        An upload is named by its number, so that no path of a request is ever opened.

        Returns:
            What was asked besides, the controls, and the upload.

        Raises:
            InputError: A value is not one of its control, or there is no such upload.
        """
        asked = parse_text(body, dict[str, Any], source="controls", remedy=RELOAD)
        given = asked.pop("controls", {})
        if not isinstance(given, dict):
            raise InputError(f"controls: not an object; {RELOAD}")
        number = given.pop("upload", "")
        controls = parse(given, kind, source="controls", remedy=RELOAD)
        return asked, controls, self.find(str(number)) if number else None

    def find(self, number: str) -> Path:
        """Return the path of an upload.

        Raises:
            InputError: There is none of this number.
        """
        if number not in self._places:
            raise InputError("the video is no longer here; upload it again")
        return self._places[number]


def plain_name(name: str) -> str:
    """Last part of a name as browsers give it, without characters that files cannot have."""
    last = PureWindowsPath(PurePosixPath(name.replace("\0", "")).name).name
    shown = "".join(sign if sign.isprintable() else "_" for sign in last)
    stem, suffix = Path(shown).stem[:80], Path(shown).suffix[:10]
    return f"{stem.lstrip('.') or 'video'}{suffix}"


def encode_pictures(request: Request) -> Answer:
    """Encode RGBA pixels, frame by frame, as a GIF, animated WebP or mp4.

    The query has `frames`, `height`, `width`, `rate` in frames per second, and `format`.

    Raises:
        InputError: The numbers do not fit the pixels, or the format is another.
    """
    from smile_motion.video.encoder import encode_animation

    try:
        shape = tuple(int(request.query[name]) for name in ("frames", "height", "width"))
        rate_hz = float(request.query["rate"])
    except (KeyError, ValueError) as error:
        raise InputError(f"export: {error} is missing or no number; {RELOAD}") from error
    if min(shape) < 1 or not 1 <= rate_hz <= 60 or np.prod(shape) * 4 != len(request.body):
        raise InputError(f"export: {shape} at {rate_hz:g} Hz do not fit the pixels; {RELOAD}")
    frames = np.frombuffer(request.body, np.uint8).reshape(*shape, 4)[..., :3]
    match request.query.get("format"):
        case "gif":
            return Answer(body=encode_gif(frames, rate_hz), kind="image/gif")
        case "webp":
            picture = encode_animation(frames, rate_hz=rate_hz, quality=WEBP_QUALITY)
            return Answer(body=picture, kind="image/webp")
        case "mp4":
            return Answer(body=_encode_mp4(frames, rate_hz), kind="video/mp4")
        case other:
            raise InputError(f"export: format {other} is not among gif, webp, mp4; {RELOAD}")


def encode_gif(frames: np.ndarray, rate_hz: float) -> bytes:
    """Encode (T, H, W, 3) uint8 RGB as a GIF that repeats forever, with one palette for all.

    A palette for each frame would make still parts flicker.
    """
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    rows = np.ascontiguousarray(frames[:, ::2, ::2].reshape(-1, frames[:, :, ::2].shape[2], 3))
    palette = Image.fromarray(rows).quantize(256, method=Image.Quantize.MEDIANCUT)
    drawn = [one.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for one in pictures]
    target = io.BytesIO()
    drawn[0].save(
        target, "GIF", save_all=True, append_images=drawn[1:], loop=0, disposal=1,
        duration=round(1000 / rate_hz), optimize=False,
    )  # fmt: skip
    return target.getvalue()


def _encode_mp4(frames: np.ndarray, rate_hz: float) -> bytes:
    from smile_motion.video import write_video

    height, width = (size - size % 2 for size in frames.shape[1:3])  # Which players ask for.
    with tempfile.TemporaryDirectory(prefix="smile-motion-export-") as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, np.ascontiguousarray(frames[:, :height, :width]), rate_hz=rate_hz)
        return path.read_bytes()


class _Page:
    def __init__(self, bank: ObjectBank, sources: ExplorerInputs, limits: UploadLimits) -> None:
        self._bank, self._sources, self._limits = bank, sources, limits
        self._browser = BankBrowser(bank)
        self.uploads = Uploads(limits, kept=sources.uploads is not None)
        # One clip at a time: kernels use all cores.
        self._rendering = Lock()

    def describe(self, _request: Request) -> Answer:
        found = page_document(self._sources, self._limits, bank=self._browser.describe())
        return answer_json(found)

    def show(self, request: Request) -> Answer:
        asked, controls = self._controls(request)
        flow = asked.get("flow") is True
        with self._rendering:
            clips = [self._describe("Your recipe", self._make(controls), flow=flow)]
            if controls.compare is not None:
                other = make_compared(controls, self._sources, self._bank, self._limits)
                clips.append(self._describe(controls.compare, other, flow=flow))
        copies = {
            "command": clip_command(controls, self._sources),
            "python": clip_python(controls, self._sources),
        }
        if controls.compare is not None:
            copies["beside"] = compared_command(controls, self._sources)
        return answer_json({"clips": clips, "copies": copies})

    def save_plan(self, request: Request) -> Answer:
        _, controls = self._controls(request)
        with self._rendering:
            return Answer(body=clip_file(self._make(controls)).encode())

    def list_objects(self, request: Request) -> Answer:
        query = request.query
        found = self._browser.find(
            query.get("category", ALL), query.get("words", "")[:100], query.get("order", "")
        )
        return answer_json(self._browser.page(found, _number(query.get("page", "1"))))

    def show_object(self, request: Request) -> Answer:
        return answer_json(self._browser.portrait(_number(request.query.get("index", ""))))

    def _make(self, controls: Controls) -> Shown:
        return make_shown(controls, self._sources, self._bank, self._limits)

    def _controls(self, request: Request) -> tuple[Mapping[str, Any], Controls]:
        """What was asked besides the controls, and these."""
        asked, controls, upload = self.uploads.read_controls(request.body, Controls)
        controls = replace(controls, upload=upload)
        if controls.compare is not None:
            controls.compared_options(self._sources)
        return asked, controls

    def _describe(self, title: str, shown: Shown, *, flow: bool) -> dict[str, Any]:
        note = f"{describe_origin(shown.clip.origin)}, seed {shown.maker.seed}"
        return clip_document(shown.clip, shown.grid, shown.mask, title=title, note=note, flow=flow)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"{text[:20]!r} is no number; {RELOAD}")
    return int(text)
