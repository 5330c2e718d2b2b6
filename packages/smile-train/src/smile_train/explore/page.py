"""The encoder's page: its knobs, and what each of its calls answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from smile_motion.errors import InputError
from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.knobs import Group, Knob
from smile_motion.explore.page import RELOAD, Uploads, shared_routes
from smile_motion.explore.server import Answer, Request, Route, answer_json, file_route
from smile_motion.io.schema import parse, parse_text
from smile_motion.tokens import TokenGrid
from smile_motion.video import SUFFIXES

from smile_train.explore.scene import (
    LARGEST_SEED,
    MOST_OBJECTS,
    MOST_STRIDE,
    SceneControls,
    SceneMaker,
)
from smile_train.models.mae import Encoder
from smile_train.motion_probe.config import FACTORS
from smile_train.motion_probe.online import ASKED, UNTRAINED, OnlineProbe, measure_of

_HERE = Path(__file__).parent


def encoder_routes(scenes: SceneMaker, limits: UploadLimits, *, name: str) -> dict[str, Route]:
    """Make the routes of the page.

    Args:
        scenes: Shows the encoder.
        limits: Limits of uploaded videos; their folder is where they are written.
        name: What the encoder is called on the page.
    """
    page = _Page(scenes, limits, name)
    return {
        "/": file_route(_HERE / "encoder.html"),
        "/encoder.js": file_route(_HERE / "encoder.js"),
        **shared_routes(),
        "/api/page": Route(method="GET", answer=page.describe),
        "/api/clip": Route(answer=page.show),
        "/api/probe": Route(answer=page.probe),
        "/api/upload": Route(answer=page.uploads.take, most_bytes=limits.bytes),
    }


def make_groups(limits: UploadLimits, *, has_videos: bool) -> tuple[Group, ...]:
    """Make the page's knobs."""
    rendered = (("source", ("noise", "black", "moving")),)
    token = (("query", ("token",)),)
    return (
        Group(
            title="Clip",
            knobs=(
                Knob(
                    name="source", kind="choice", label="What is shown",
                    says="Objects that move by the paper's recipe, or a video as it is.",
                    choices=(
                        ("noise", "objects over noise"), ("black", "objects over black"),
                        ("moving", "objects over video"), ("video", "video"),
                    ),
                ),
                Knob(
                    name="seed", kind="seed", label="Seed",
                    says="Another seed is another clip, or the next of the given videos.",
                ),
                Knob(
                    name="objects", label="Objects", paper=2, when=rendered,
                    says="How many objects move.",
                ),
                Knob(
                    name="stride", label="Stride", unit="video frames", paper=4,
                    when=(("source", ("moving", "video")),),
                    says="From one clip frame to the next.",
                ),
                Knob(
                    name="upload", kind="video", label="Your own video",
                    when=(("source", ("moving", "video")),),
                    says=f"{limits.bytes / 1e6:.0f} MB and {limits.seconds:g} s at most"
                    f"{', instead of those of --videos' if has_videos else ''}; it is deleted "
                    f"when the page's server ends.",
                    choices=tuple((suffix, suffix) for suffix in SUFFIXES),
                ),
            ),
        ),
        Group(
            title="Query",
            knobs=(
                Knob(
                    name="query", kind="choice", label="Of",
                    says="Whose attention, and similarity to what; a click on a clip asks a token.",
                    choices=(("mean", "the mean token"), ("token", "one token")),
                ),
                Knob(name="slice", label="Slice", when=token, says="When the token is."),
                Knob(name="row", label="Row", when=token, says="Where it is, from the top."),
                Knob(name="column", label="Column", when=token, says="Where, from the left."),
            ),
        ),
    )  # fmt: skip


def page_limits(grid: TokenGrid) -> dict[str, tuple[int, int]]:
    """Smallest and largest value of each number."""
    slices, rows, columns = grid.shape
    return {
        "seed": (0, LARGEST_SEED),
        "objects": (0, MOST_OBJECTS),
        "stride": (1, MOST_STRIDE),
        "slice": (0, slices - 1),
        "row": (0, rows - 1),
        "column": (0, columns - 1),
    }


class _Page:
    def __init__(self, scenes: SceneMaker, limits: UploadLimits, name: str) -> None:
        self._scenes, self._limits, self._name = scenes, limits, name
        self.uploads = Uploads(limits, kept=False)
        self._encoding = Lock()
        self._probed: list[list[str]] | None = None

    def describe(self, _request: Request) -> Answer:
        encoder = self._scenes.encoder
        grid, has_videos = encoder.grid, self._scenes.videos is not None
        size = f"{grid.frames} x {grid.height} x {grid.width} px, "
        size += f"{' x '.join(map(str, grid.shape))} tokens of {encoder.width}"
        first = asdict(SceneControls()) | {"upload": ""}
        return answer_json(
            {
                "name": self._name,
                "says": size,
                "tubelet": grid.tubelet,
                "groups": [asdict(one) for one in make_groups(self._limits, has_videos=has_videos)],
                "limits": page_limits(grid),
                "first": first | ({"source": "moving"} if has_videos else {}),
                "largest_upload": self._limits.bytes,
                "probes": isinstance(encoder.encoder, Encoder),
            }
        )

    def show(self, request: Request) -> Answer:
        given = parse_text(request.body, dict[str, Any], source="controls", remedy=RELOAD)
        number = str(given.pop("upload", "") or "")
        controls = parse(given, SceneControls, source="controls", remedy=RELOAD)
        upload = None
        if number and controls.source in ("moving", "video"):
            upload = self.uploads.find(number)
            self._limits.check(upload)
        with self._encoding:
            return answer_json(self._scenes.describe(controls, upload))

    def probe(self, _request: Request) -> Answer:
        """Ask the encoder about motion, once; later calls have the same answer."""
        encoder = self._scenes.encoder
        inner = encoder.encoder
        if not isinstance(inner, Encoder):
            raise InputError(
                "motion is asked of encoders of our family here; use smile_train probe motion"
            )
        with self._encoding:
            if self._probed is None:
                probe = OnlineProbe(size=min(encoder.grid.height, encoder.grid.width))
                values = probe.ask(inner, untrained=True)
                self._probed = [
                    [
                        FACTORS[factor].question,
                        f"{values[measure_of(factor)]:.0f} %",
                        f"{values[measure_of(factor) + UNTRAINED]:.0f} %",
                        f"{FACTORS[factor].chance:g} %",
                    ]
                    for factor in ASKED
                ]
        return answer_json({"rows": self._probed})
