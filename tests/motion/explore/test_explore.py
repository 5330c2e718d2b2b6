"""What the explorer shows and gives away, and what it refuses, without a browser."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smile_motion
from smile_motion import InputError, MotionRecipe, ObjectBank, plan_from_json, read_clip
from smile_motion.__main__ import COMMANDS
from smile_motion.bank.format import METADATA
from smile_motion.cli.app import run_app
from smile_motion.explore.guard import make_room
from smile_motion.explore.snippets import clip_command, clip_file, clip_python
from smile_motion.explore.state import Controls, ExplorerInputs, Shown, UploadLimits, make_shown
from smile_motion.explore.views import ALL, BankBrowser, measure_clip, numbers_html, pages
from smile_motion.io.files import dump_json, sha256
from smile_motion.visualize import draw_flow

LIMITS = UploadLimits(bytes=8_000_000, seconds=20)
PLAIN = Controls(frames=8, side=112)
CHOICES = {
    "as it starts": PLAIN,
    "named options": replace(
        PLAIN, recipe="official", path="bounce", objects=5, effects=("drop-shadow",), seed=9,
        noise="spectral",
    ),
    "a recipe of its own": replace(
        PLAIN, smallest_px=90, largest_px=60, smoothness=2.5, rotation_deg=20, largest_scale=1,
        effects=("motion-blur",), shutter=0.25, background="black", seed=3,
    ),
}  # fmt: skip


@pytest.fixture
def sources(small_bank: ObjectBank) -> ExplorerInputs:
    return ExplorerInputs(bank=small_bank.path)


def shown(controls: Controls, sources: ExplorerInputs, bank: ObjectBank) -> Shown:
    return make_shown(controls, sources, bank, LIMITS)


def test_given_videos_are_what_a_page_begins_with(real_videos: dict[str, Path]) -> None:
    assert ExplorerInputs().backgrounds == ("noise", "black")
    assert ExplorerInputs(videos=real_videos["bikes"]).backgrounds[0] == "natural"
    assert ExplorerInputs(images=real_videos["bikes"].parent).backgrounds[0] == "places"


def test_controls_start_as_the_presets() -> None:
    assert Controls().make_recipe() == MotionRecipe.paper()
    assert Controls(recipe="official").make_recipe() == MotionRecipe.official()


@pytest.mark.parametrize("name", ["named options", "a recipe of its own"])
def test_the_copied_command_renders_the_shown_clip(
    name: str, sources: ExplorerInputs, small_bank: ObjectBank, tmp_path: Path
) -> None:
    controls = CHOICES[name]
    line = clip_command(controls, sources)
    assert ("recipe.json" in line) == (name == "a recipe of its own")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-c", f"{line} --lossless"], cwd=tmp_path, check=True, capture_output=True,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    wanted = shown(controls, sources, small_bank).clip.frames
    video = smile_motion.video.index_video(tmp_path / "clip/clip_000000.mp4")
    assert (smile_motion.video.read_frames(video, range(8)) == wanted).all()
    again = read_clip(tmp_path / "clip/clip_000000.json", small_bank)
    assert (again.frames == wanted).all()


@pytest.mark.parametrize("name", CHOICES)
def test_the_copied_python_makes_the_shown_clip(
    name: str, sources: ExplorerInputs, small_bank: ObjectBank
) -> None:
    scope: dict = {}
    exec(clip_python(CHOICES[name], sources), scope)
    wanted = shown(CHOICES[name], sources, small_bank).clip
    assert (scope["clip"].frames == wanted.frames).all()
    assert scope["coverage"].shape == (wanted.plan.slots, 4, 7, 7)


def test_an_uploaded_video_lies_behind_wherever_the_clip_goes(
    sources: ExplorerInputs,
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload = tmp_path / "it's mine.mp4"
    upload.symlink_to(real_videos["bikes"])
    controls = replace(PLAIN, upload=upload, objects=0, stride=2)
    wanted = shown(controls, sources, small_bank).clip
    assert wanted.origin["kind"] == "natural"
    assert wanted.frames.std() > 10
    for text in (clip_command(controls, sources), code := clip_python(controls, sources)):
        # The upload is gone when the page closes, so that nothing may name it.
        assert str(upload) not in text
        assert text.splitlines()[0] == (
            "# YOUR_VIDEO: put the path of the video here that was uploaded as it's mine.mp4"
        )
    words = shlex.split(clip_command(controls, sources), comments=True)
    mine = str(real_videos["bikes"])
    words[words.index("YOUR_VIDEO")] = mine
    monkeypatch.chdir(tmp_path)
    assert run_app("smile-motion", "", COMMANDS, [*words[1:], "--lossless"]) == 0
    video = smile_motion.video.index_video(tmp_path / "clip/clip_000000.mp4")
    assert (smile_motion.video.read_frames(video, range(8)) == wanted.frames).all()
    scope: dict = {}
    exec(code.replace("YOUR_VIDEO", mine), scope)
    assert (scope["clip"].frames == wanted.frames).all()
    saved = tmp_path / "clip.json"
    saved.write_text(clip_file(shown(controls, sources, small_bank)))
    upload.unlink()
    again = read_clip(saved, small_bank, background=real_videos["bikes"])
    assert (again.frames == wanted.frames).all()
    upload.symlink_to(real_videos["bikes"])
    still = shown(replace(controls, upload_still=True), sources, small_bank).clip.frames
    assert (still == still[:1]).all()


def test_a_saved_plan_is_the_clip(sources: ExplorerInputs, small_bank: ObjectBank) -> None:
    made = shown(CHOICES["named options"], sources, small_bank)
    plan = plan_from_json(json.loads(clip_file(made))["plan"], small_bank)
    assert (plan.centre == made.clip.plan.centre).all()


def test_uploads_are_bounded(
    sources: ExplorerInputs, small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    controls = replace(PLAIN, upload=real_videos["bikes"])
    small = UploadLimits(bytes=1000, seconds=20)
    with pytest.raises(InputError, match=r"^bikes.mp4: \d+ MB; uploads may have 0 MB"):
        make_shown(controls, sources, small_bank, small)
    short = UploadLimits(bytes=10**8, seconds=3)
    with pytest.raises(InputError, match=r"^bikes.mp4: 10 s long; uploads may have 3 s"):
        make_shown(controls, sources, small_bank, short)
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(real_videos["bikes"].read_bytes()[:9000])
    with pytest.raises(InputError, match=r"^torn.mp4: not a readable video"):
        make_shown(replace(PLAIN, upload=torn), sources, small_bank, LIMITS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": 17}, "objects is 17; give 0 to 16"),
        ({"frames": 1000}, "frames is 1000; give 1 to 32"),
        ({"side": 4096}, "side is 4096; give 1 to 448"),
        ({"side": 100}, "height 100 is not a positive multiple of 16"),
        ({"mask_ratio": 1.0}, "mask ratio 1.0 masks 49 of the 49"),
        ({"recipe": "official", "smallest_px": 10, "largest_px": 20}, "none of the published"),
        ({"background": "natural"}, "background natural needs videos"),
    ],
)
def test_what_does_not_go_together_is_refused(
    change: dict, message: str, sources: ExplorerInputs, small_bank: ObjectBank
) -> None:
    with pytest.raises(InputError, match=message):
        shown(replace(PLAIN, **change), sources, small_bank)


@pytest.mark.parametrize("masking", ["trajectory", "tube", "random", "official"])
def test_masks_hide_the_chosen_share(
    masking, sources: ExplorerInputs, small_bank: ObjectBank
) -> None:
    for objects in (0, 3):
        controls = replace(PLAIN, masking=masking, mask_ratio=0.5, objects=objects)
        made = shown(controls, sources, small_bank)
        assert len(made.mask.masked) == 4 * int(0.5 * 49)
        assert "49% of the 196 tokens are hidden" in numbers_html(made)


def test_numbers_are_the_truths(sources: ExplorerInputs, small_bank: ObjectBank) -> None:
    clip = shown(replace(PLAIN, objects=6, seed=2), sources, small_bank).clip
    numbers = measure_clip(clip)
    moved = np.hypot(*np.diff(clip.plan.centre[0], axis=0).T).mean()
    assert numbers.speed_px[0] == pytest.approx(moved)
    assert numbers.coverage.sum() == pytest.approx(numbers.all_coverage)
    top = clip.plan.order[0, -1]
    assert numbers.occlusion[top] == 0
    assert numbers.occlusion.max() > 0.05
    assert ((numbers.visible >= 0) & (numbers.visible <= 1)).all()


def test_flow_is_coloured_by_direction() -> None:
    vectors = np.zeros((1, 2, 3, 2), np.float32)
    vectors[0, 0] = [[8, 0], [0, -8], [-8, 0]]
    right, up, left = draw_flow(vectors)[0, 0].tolist()
    assert right == [255, 0, 0]
    assert up[1] == 255
    assert left == [0, 255, 255]
    assert (draw_flow(vectors)[:, 1] == 255).all()


def test_the_browser_lists_best_scores_first(tmp_path: Path, small_bank: ObjectBank) -> None:
    bank = ObjectBank.open(shutil.copytree(small_bank.path, tmp_path / "scored"))
    lines = [json.loads(line) for line in (bank.path / METADATA).read_text().splitlines()]
    for number, line in enumerate(lines[:20]):
        line["score"] = 20 + (number * 7) % 20
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (bank.path / METADATA).write_bytes(text)
    card = bank.card | {"metadata_sha256": sha256(text)}
    (bank.path / "bank.json").write_bytes(dump_json(card))
    browser = BankBrowser(ObjectBank.open(bank.path))
    found = browser.find()
    scores = [entry.score for entry in found]
    assert scores == [*range(39, 19, -1), *[None] * 10]
    assert browser.find(order="lowest score first")[0].score == 20
    assert pages(found) == 2
    assert "25 to 30 of 30" in browser.page_html(found, 2)
    first = browser.page_html(found, 1)
    assert "score 39.0" in first
    assert first.count("<img") == 24
    category = found[3].category
    assert [entry.category for entry in browser.find(category)] == [category]
    assert browser.find(ALL, category.upper())[0].category == category
    assert "No object is called so" in browser.page_html(browser.find(ALL, "<nothing>"), 1)


def test_oldest_uploads_make_room(tmp_path: Path) -> None:
    for age in range(5):
        (tmp_path / str(age)).mkdir()
        file = tmp_path / str(age) / "video.mp4"
        file.write_bytes(bytes(100))
        os.utime(file, (1000 - age, 1000 - age))
    make_room(tmp_path, 250)
    assert sorted(path.parent.name for path in tmp_path.rglob("*.mp4")) == ["0", "1"]
