"""The encoder's page: its knobs, and what each of its calls answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.knobs import Group, Knob, upload_knob
from smile_motion.explore.page import Uploads, page_routes
from smile_motion.explore.server import Answer, Request, Route, answer_json
from smile_motion.tokens import TokenGrid

from smile_train.explore.scene import (
    LARGEST_SEED,
    MOST_OBJECTS,
    MOST_STRIDE,
    SceneControls,
    SceneMaker,
)
from smile_train.motion_probe.config import FACTORS, FEWEST_CLIPS
from smile_train.motion_probe.online import ASKED, CLIPS, UNTRAINED, OnlineProbe
from smile_train.motion_probe.scores import Score

PATIENCE_S, PROBED_CLIPS = 240.0, (CLIPS, CLIPS // 2, CLIPS // 4)
"""Seconds of encoding that a motion probe may take, and clips that it then asks on. Ours."""
LARGEST_PROBED_PX = 224
"""Largest side of a motion probe's frames; encoders that take larger ones get them resized."""


def encoder_routes(scenes: SceneMaker, limits: UploadLimits, *, name: str) -> dict[str, Route]:
    """Make the routes of the page.

    Args:
        scenes: Shows the encoder.
        limits: Limits of uploaded videos; their folder is where they are written.
        name: What the encoder is called on the page.
    """
    page = _Page(scenes, limits, name)
    calls = {
        "page": Route(method="GET", answer=page.describe),
        "clip": Route(answer=page.show),
        "probe": Route(answer=page.probe),
        "probing": Route(method="GET", answer=page.tell_progress),
    }
    title = f"{name}: SMILE encoder explorer"
    return page_routes(Path(__file__).parent / "encoder.html", calls, page.uploads, title=title)


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
                upload_knob(
                    limits, kept=False, when=(("source", ("moving", "video")),),
                    says="Shown instead of the given ones" if has_videos else "What is shown",
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


def describe_training(pretraining: Mapping[str, Any]) -> str:
    """Say in a few words how an encoder was trained; nothing where that is not known."""
    if "published" in pretraining:
        return f"published: {pretraining['published']}"
    named = {"preset": "preset", "target": "target", "background": "over", "step": "step"}
    said = [f"{word} {pretraining[key]}" for key, word in named.items() if pretraining.get(key)]
    return f"pre-trained: {', '.join(said)}" if said else ""


class _Page:
    def __init__(self, scenes: SceneMaker, limits: UploadLimits, name: str) -> None:
        self._scenes, self._limits, self._name = scenes, limits, name
        self.uploads = Uploads(limits, kept=False)
        # One clip at a time, also while a probe goes on: it gives way between its batches.
        self._encoding, self._probing = Lock(), Lock()
        self._progress = (0, 0)
        self._probed: dict[str, Any] | None = None

    def describe(self, _request: Request) -> Answer:
        encoder = self._scenes.encoder
        grid, has_videos = encoder.grid, self._scenes.videos is not None
        said = [
            f"{grid.frames} x {grid.height} x {grid.width} px",
            f"{' x '.join(map(str, grid.shape))} tokens of {encoder.width} channels",
            describe_training(encoder.pretraining),
        ]
        first = asdict(SceneControls()) | {"upload": ""}
        return answer_json(
            {
                "name": self._name,
                "says": "; ".join(filter(None, said)),
                "tubelet": grid.tubelet,
                "groups": [asdict(one) for one in make_groups(self._limits, has_videos=has_videos)],
                "limits": page_limits(grid),
                "first": first | ({"source": "moving"} if has_videos else {}),
                "largest_upload": self._limits.bytes,
            }
        )

    def show(self, request: Request) -> Answer:
        _, controls, upload = self.uploads.read_controls(request.body, SceneControls)
        if controls.source not in ("moving", "video"):
            upload = None
        if upload is not None:
            self._limits.check(upload)
        with self._encoding:
            return answer_json(self._scenes.describe(controls, upload))

    def probe(self, _request: Request) -> Answer:
        """Ask the encoder about motion, once; later calls have the same answer."""
        with self._probing:
            if self._probed is None:
                self._probed = self._probe()
        return answer_json(self._probed)

    def tell_progress(self, _request: Request) -> Answer:
        """Say how far a probe is."""
        done, total = self._progress
        return answer_json({"done": done, "total": total})

    def _probe(self) -> dict[str, Any]:
        encoder = self._scenes.encoder
        clips = self._affordable_clips()
        size = min(encoder.grid.height, encoder.grid.width, LARGEST_PROBED_PX)
        findings = OnlineProbe(size=size, clips=clips, test=clips).find(
            encoder, untrained=True, computing=lambda: self._encoding, on_progress=self._note
        )
        scores = {(own.factor, own.encoder): own.score for own in findings}
        return {
            "clips": clips,
            "rows": [
                {
                    "question": FACTORS[factor].question,
                    "answers": [_interval(scores[factor, name]) for name in ("", UNTRAINED)],
                    "guessing": f"{FACTORS[factor].chance:g} %",
                    "knows": scores[factor, ""].low > scores[factor, UNTRAINED].high,
                }
                for factor in ASKED
            ],
        }

    def _note(self, done: int, total: int) -> None:
        self._progress = (done, total)

    def _affordable_clips(self) -> int:
        """The most clips to learn from, and to test on, that are encoded in about `PATIENCE_S`."""
        with self._encoding:
            seconds = self._scenes.time_encoding()
        of_each = 2 * 2 * len(ASKED) * seconds  # both weights; to learn, to test
        return next((n for n in PROBED_CLIPS if n * of_each <= PATIENCE_S), FEWEST_CLIPS)


def _interval(score: Score) -> str:
    return f"{score.value:.0f} % ({score.low:.0f} to {score.high:.0f})"
