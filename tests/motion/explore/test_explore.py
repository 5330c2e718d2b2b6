"""What the explorer shows and gives away, and what it refuses, without a browser."""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import smile_motion
from PIL import Image, ImageSequence
from smile_motion import InputError, MotionRecipe, ObjectBank, plan_from_json, read_clip
from smile_motion.__main__ import COMMANDS
from smile_motion.bank.format import METADATA
from smile_motion.cli.app import run_app
from smile_motion.explore.guard import UploadLimits, make_room
from smile_motion.explore.knobs import make_groups
from smile_motion.explore.objects import ALL, BankBrowser
from smile_motion.explore.page import encode_gif, plain_name
from smile_motion.explore.snippets import clip_command, clip_file, clip_python, compared_command
from smile_motion.explore.state import (
    LIMITS,
    Controls,
    ExplorerInputs,
    Shown,
    make_compared,
    make_shown,
)
from smile_motion.io.files import dump_json, sha256
from smile_motion.player import clip_document, measure_clip
from smile_motion.visualize import draw_flow

UPLOADS = UploadLimits(bytes=8_000_000, seconds=20)
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
    "a camera": replace(
        PLAIN, camera="pan-zoom-roll", noise="spectral", seed=4,
    ),
}  # fmt: skip


@pytest.fixture
def sources(small_bank: ObjectBank) -> ExplorerInputs:
    return ExplorerInputs(bank=small_bank.path)


def shown(controls: Controls, sources: ExplorerInputs, bank: ObjectBank) -> Shown:
    return make_shown(controls, sources, bank, UPLOADS)


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
        make_shown(replace(PLAIN, upload=torn), sources, small_bank, UPLOADS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": 17}, "objects is 17; give 0 to 16"),
        ({"frames": 1000}, "frames is 1000; give 2 to 32"),
        ({"side": 4096}, "side is 4096; give 64 to 448"),
        ({"side": 100}, "height 100 is not a positive multiple of 16"),
        ({"mask_ratio": float("nan")}, "mask_ratio is nan; give 0.05 to 0.95"),
        ({"turn_deg": -1}, "turn_deg is -1; give 0 to 30"),
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
        said = clip_document(made.clip, made.grid, made.mask, title="")["table"]["sentence"]
        assert "49% of the 196 tokens are hidden" in said


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
    assert browser.describe()["scored"]
    found = browser.find()
    scores = [entry.score for entry in found]
    assert scores == [*range(39, 19, -1), *[None] * 10]
    assert browser.find(order="lowest score first")[0].score == 20
    second = browser.page(found, 2)
    assert (second["first"], second["last"], second["total"], second["pages"]) == (25, 30, 30, 2)
    assert browser.page(found, 99)["page"] == 2
    first = browser.page(found, 1)["objects"]
    assert first[0]["score"] == 39
    assert len(first) == 24
    category = found[3].category
    assert [entry.category for entry in browser.find(category)] == [category]
    assert browser.find(ALL, category.upper())[0].category == category
    words = " ".join(reversed(category.split("-")))
    assert category in {entry.category for entry in browser.find(ALL, words)}
    assert browser.page(browser.find(ALL, "<nothing>"), 1)["total"] == 0
    portrait = browser.portrait(found[0].index)
    assert ["score", "39"] in portrait["record"]
    with pytest.raises(InputError, match="object 30: the bank has 0 to 29"):
        browser.portrait(30)


def test_every_control_has_a_knob_with_a_line(sources: ExplorerInputs) -> None:
    """And what is marked as the paper's is the default recipe's, or the published code's."""
    knobs = [knob for group in make_groups(sources, UPLOADS, animated=True) for knob in group.knobs]
    assert sorted(knob.name for knob in knobs) == sorted(entry.name for entry in fields(Controls))
    for knob in knobs:
        assert knob.says.endswith(".")
        value = getattr(Controls(), knob.name)
        if knob.paper is not None:
            assert str(knob.paper) == (f"{value:g}" if isinstance(value, float) else str(value))
        if knob.kind in ("number", "seed"):
            assert LIMITS[knob.name][0] <= value <= LIMITS[knob.name][1]


@pytest.mark.parametrize("name", ["official", "moving-circles"])
def test_a_recipe_beside_it_has_the_same_seed_and_its_own_command(
    name, sources: ExplorerInputs, small_bank: ObjectBank, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("smile_motion.clips.presets.BANK_OBJECTS", 12)
    controls = replace(PLAIN, side=64, frames=4, seed=5, objects=4, compare=name)
    made = make_compared(controls, sources, small_bank, UPLOADS)
    assert made.maker.seed == 5
    assert made.maker.recipe == MotionRecipe.named(name)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(compared_command(controls, sources))
    assert run_app("smile-motion", "", COMMANDS, [*words[1:], "--lossless"]) == 0
    video = smile_motion.video.index_video(tmp_path / "compared/clip_000000.mp4")
    assert (smile_motion.video.read_frames(video, range(4)) == made.clip.frames).all()
    with pytest.raises(InputError, match="recipe accelerating-crops is not among paper, "):
        make_compared(replace(PLAIN, compare="accelerating-crops"), sources, small_bank, UPLOADS)


def test_kept_uploads_are_named_by_the_command(
    sources: ExplorerInputs, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    controls = replace(PLAIN, upload=real_videos["bikes"])
    line = clip_command(controls, replace(sources, uploads=tmp_path))
    assert line.startswith("smile-motion render ")
    assert str(real_videos["bikes"].resolve()) in shlex.split(line)


def test_gifs_keep_still_parts_still() -> None:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 255, (1, 24, 32, 3), np.uint8), 4, axis=0)
    frames[:, :8, :8] = np.arange(4, dtype=np.uint8)[:, None, None, None] * 60
    with Image.open(io.BytesIO(encode_gif(frames, 10))) as picture:
        shown = [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(picture)]
        assert picture.info["duration"] == 100
    assert len(shown) == 4
    assert all((one[10:, 10:] == shown[0][10:, 10:]).all() for one in shown)
    assert np.abs(np.stack(shown).astype(int) - frames).mean() < 20


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.mp4", "a.mp4"), ("../../a.mp4", "a.mp4"), ("C:\\x\\a.mp4", "a.mp4"), ("", "video"),
        ("a\0b\n.mp4", "ab_.mp4"), (".mp4", "mp4"), ("a" * 300 + ".webm", "a" * 80 + ".webm"),
        ("/", "video"), ("..", "video"),
    ],
)  # fmt: skip
def test_names_of_uploads_are_plain(given: str, kept: str) -> None:
    assert plain_name(given) == kept


def test_oldest_uploads_make_room(tmp_path: Path) -> None:
    for age in range(5):
        (tmp_path / str(age)).mkdir()
        file = tmp_path / str(age) / "video.mp4"
        file.write_bytes(bytes(100))
        os.utime(file, (1000 - age, 1000 - age))
    make_room(tmp_path, 250)
    assert sorted(path.parent.name for path in tmp_path.rglob("*.mp4")) == ["0", "1"]
