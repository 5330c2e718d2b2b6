"""What the encoder's page shows, and the page in a real browser."""

import base64
import io
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import smile_train
import torch
from PIL import Image
from smile_motion import ObjectBank
from smile_motion.errors import InputError
from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.server import Request
from smile_train.evaluation.figures.attention import Query, attention_map, paint_attention
from smile_train.explore.page import describe_training, encoder_routes
from smile_train.explore.scene import SceneControls, SceneMaker, token_similarity
from smile_train.motion_probe.online import OnlineProbe
from support.explorer_process import explorer

if TYPE_CHECKING:
    from smile_train.encoders.video_encoder import VideoEncoder


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> "VideoEncoder":
    return smile_train.load(checkpoint)


@pytest.fixture
def scenes(
    encoder: "VideoEncoder", small_bank: ObjectBank, real_videos: dict[str, Path]
) -> SceneMaker:
    return SceneMaker(encoder, small_bank, real_videos["bikes"])


@pytest.fixture
def call(scenes: SceneMaker, tmp_path: Path) -> Callable[..., Any]:
    limits = UploadLimits(bytes=10**8, seconds=60, folder=tmp_path)
    routes = encoder_routes(scenes, limits, name="first")

    def ask(path: str, body: bytes = b"{}", **query: str) -> Any:
        return json.loads(routes[path].answer(Request(query=query, body=body)).body)

    return ask


def overlaps(first: Any, second: Any) -> bool:
    """Whether two boxes of a page cover a common part of it."""
    return all(
        first[start] + first[side] > second[start] + 1
        and second[start] + second[side] > first[start] + 1
        for start, side in (("x", "width"), ("y", "height"))
    )


def frames_of(document: dict[str, Any]) -> np.ndarray:
    pictures = [base64.b64decode(one.partition(",")[2]) for one in document["frames"]]
    return np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in pictures]).astype(int)


def test_pictures_are_of_the_clip_and_the_query(
    scenes: SceneMaker, encoder: "VideoEncoder"
) -> None:
    grid = encoder.grid
    controls = SceneControls(source="black", query="token", slice=1, row=2, column=3)
    found = scenes.describe(controls, None)
    titles = [one["title"] for one in found["clips"]]
    assert titles == ["Clip", "Attention", "Feature PCA", "Similarity"]
    clip = frames_of(found["clips"][0])
    assert clip.shape == (grid.frames, grid.height, grid.width, 3)
    assert found["clips"][0]["objects"] == found["clips"][3]["objects"]
    seen = scenes._see("black", 0, 2, 4, None)
    exact = seen.frames
    assert seen.clip is not None
    query = Query(slice=1, row=2, column=3)
    weights = attention_map(encoder, torch.from_numpy(exact), query)
    painted = paint_attention(exact, weights, grid, query)
    assert np.abs(frames_of(found["clips"][1]) - painted).mean() < 6
    covered = seen.clip.truth.token_coverage(grid).sum(0) > 0
    assert found["facts"][0].startswith(f"{weights[covered].sum():.0%} of the attention is on the ")
    matrix = np.array(found["matrix"])
    assert matrix.shape == (grid.slices, grid.slices)
    assert matrix.diagonal() == pytest.approx(1, abs=1e-3)


def test_similarities_are_cosines() -> None:
    tokens = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    found = token_similarity(tokens, 2)
    assert found[2] == pytest.approx(1)
    cosine = torch.cosine_similarity(torch.from_numpy(tokens), torch.from_numpy(tokens[2:3]))
    assert found == pytest.approx(cosine.numpy(), abs=1e-6)
    assert token_similarity(tokens * 3, None) == pytest.approx(token_similarity(tokens, None))


def test_videos_are_shown_as_they_are_and_uploads_instead(
    call: Callable[..., Any], real_videos: dict[str, Path]
) -> None:
    given = call("/api/clip", b'{"controls": {"source": "video"}}')
    assert given["clips"][0]["note"].startswith("bikes.mp4")
    assert given["facts"] == given["clips"][0]["objects"] == []
    stored = call("/api/upload", real_videos["bigbuckbunny"].read_bytes(), name="mine.mp4")
    controls = {"source": "video", "upload": stored["upload"]}
    body = json.dumps({"controls": controls}).encode()
    assert call("/api/clip", body)["clips"][0]["note"].startswith("mine.mp4")
    with pytest.raises(InputError, match="the video is no longer here"):
        call("/api/clip", b'{"controls": {"source": "video", "upload": "/etc/passwd"}}')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"controls": {"query": "token", "row": 99}}',
            r"token \(0, 99, 0\) lies outside the grid",
        ),
        (b'{"controls": {"objects": 17}}', "objects is 17; expected"),
        (b'{"controls": {"source": "/etc/passwd"}}', "source is '/etc/passwd'; expected"),
        (b"[]", "controls"),
        (b'{"controls": 1}', "controls: not an object"),
    ],
)
def test_calls_are_checked(call: Callable[..., Any], body: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call("/api/clip", body)


@pytest.mark.slow
def test_motion_is_asked_once_in_the_time_that_there_is(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smile_train.explore.page.PATIENCE_S", 0.0)
    monkeypatch.setattr("smile_train.explore.page.FEWEST_CLIPS", 16)
    assert call("/api/probing") == {"done": 0, "total": 0}
    found = call("/api/probe")
    assert found["clips"] == 16
    assert [len(row["answers"]) for row in found["rows"]] == [2, 2]
    assert all(" % (" in answer for row in found["rows"] for answer in row["answers"])
    assert call("/api/probing") == {"done": 64, "total": 64}
    assert call("/api/probe") == found
    assert call("/api/probing") == {"done": 64, "total": 64}


def test_an_encoder_of_another_family_shows_what_it_can_and_says_what_not(
    tiny_clip: Path, small_bank: ObjectBank, tmp_path: Path
) -> None:
    encoder = smile_train.load(f"clip:{tiny_clip}")
    found = SceneMaker(encoder, small_bank, None).describe(SceneControls(source="black"), None)
    assert [one["title"] for one in found["clips"]] == ["Clip", "Feature PCA", "Similarity"]
    for source in ("moving", "video"):
        with pytest.raises(
            InputError, match="no video to show; upload one, or start with --videos"
        ):
            SceneMaker(encoder, small_bank, None).describe(SceneControls(source=source), None)
    assert found["facts"][0].startswith("No attention is drawn: this encoder has no blocks of ours")
    values = OnlineProbe(size=32, clips=16, test=16).ask(encoder, untrained=True)
    assert len(values) == 4
    assert describe_training(encoder.pretraining) == f"published: CLIP {tiny_clip}"


@pytest.mark.slow
def test_the_page_shows_an_encoder_in_a_browser(
    checkpoint: Path, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no chromium here: apt-get install chromium")
    wrong: list[str] = []
    arguments = (checkpoint, "--videos", real_videos["bikes"])
    with (
        explorer(tmp_path, *arguments, package="smile_train") as running,
        sync_playwright() as playwright,
    ):
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(running.address)
        page.wait_for_selector("canvas >> nth=4")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator(".stage canvas").count() == 4
        area = page.locator(".stage canvas").first.bounding_box()
        assert area is not None
        with page.expect_response("**/api/clip") as waited:
            page.mouse.click(area["x"] + area["width"] * 0.9, area["y"] + area["height"] * 0.4)
        page.wait_for_selector("#show[aria-busy=false]")
        columns = page.evaluate("page.limits.column[1]")
        assert page.input_value("#knob-query") == "token"
        assert page.input_value("#knob-column") == str(columns)
        assert waited.value.json()["clips"][3]["note"].startswith("cosine to token 0, ")
        assert page.evaluate("document.querySelector('#matrix').width") > 100
        for width in (390, 900, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            boxes = [
                page.locator(name).bounding_box()
                for name in (
                    "#show .screen",
                    "#show .tools",
                    "#measures",
                    "#show .tables",
                    "#knobs",
                )
            ]
            assert all(boxes)
            for first, second in itertools.combinations(boxes, 2):
                assert not overlaps(first, second), width
        started.close()
    assert not wrong
