"""`smile-motion render` and `preview` as a user runs them."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from smile_motion import ClipMaker, MotionRecipe, TokenGrid, make_background, read_plan, render
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.clips.clip import read_clip
from smile_motion.io.files import sha256
from smile_motion.video import index_video, read_frames
from support import forked


def run(*arguments: str | Path) -> int:
    return run_app("smile-motion", "", COMMANDS, [str(argument) for argument in arguments])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def few(small_bank: ObjectBank, tmp_path: Path) -> list[str | Path]:
    return ["render", "--bank", small_bank.path, "--size", "64", "--frames", "4"]


def test_clips_come_with_their_truth_and_an_index(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "clips"
    code = run(
        "render", "--bank", small_bank.path, "--background", "natural", "--videos",
        real_videos["bikes"], "--n", "2", "--seed", "4", "--lossless", "--out", out,
    )  # fmt: skip
    assert code == 0
    lines = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1]
    for line in lines:
        assert sha256((out / line["video"]).read_bytes()) == line["video_sha256"]
        assert sha256((out / line["json"]).read_bytes()) == line["json_sha256"]
    made = ClipMaker(
        bank=small_bank,
        recipe=MotionRecipe.paper(),
        background=make_background("natural", videos=real_videos["bikes"]),
        seed=4,
    ).make(1)
    stored = read_frames(index_video(out / "clip_000001.mp4"), range(16))
    assert (stored == made.frames).all()
    described = json.loads((out / "clip_000001.json").read_text())
    again = read_plan(out / "clip_000001.json", small_bank)
    behind = make_background("natural", videos=real_videos["bikes"])
    assert described["background"]["file"] == str(real_videos["bikes"])
    assert behind is not None
    assert (again.centre == made.plan.centre).all()
    for slot, thing in enumerate(described["truth"]["objects"]):
        for t in range(16):
            box = thing["box"][t]
            if box is None:
                assert np.isnan(made.truth.boxes[slot, t]).all()
            else:
                np.testing.assert_allclose(box, made.truth.boxes[slot, t], atol=0.01)
            ring = np.array(thing["polygon"][t][0][0])
            bounds = [*ring.min(0), *ring.max(0)]
            np.testing.assert_allclose(bounds, made.truth.full_boxes[slot, t], atol=0.3)
            assert 0 <= thing["visible_share"][t] <= 1


def test_files_do_not_depend_on_processes_and_a_second_run_completes_the_first(
    few: list, tmp_path: Path
) -> None:
    assert run(*few, "--n", "10", "--workers", "2", "--out", tmp_path / "two") == 0
    assert run(*few, "--n", "4", "--workers", "0", "--out", tmp_path / "one") == 0
    (tmp_path / "one/clip_000002.json").unlink()
    (tmp_path / "one/clip_000003.json").write_text("{")
    assert run(*few, "--n", "10", "--workers", "0", "--out", tmp_path / "one") == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert run(*few, "--n", "10", "--seed", "9", "--out", tmp_path / "one") == 2


def test_the_preview_command_at_the_end_works(
    few: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "some clips"
    assert run(*few, "--n", "1", "--path", "linear", "--seed", "3", "--out", out) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    words = shlex.split(last.split(": ", 1)[1])
    assert words[:2] == ["smile-motion", "preview"]
    assert run(*words[1:], "--n", "1") == 0
    assert "seed 3" in (out / "preview.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a terminal to play")
def test_a_million_clips_begin_with_a_bar(few: list, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    words = [*few, "--n", "1000000", "--workers", "0", "--out", tmp_path / "clips"]
    process = subprocess.Popen(
        [sys.executable, "-m", "smile_motion", *map(str, words)], stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = ""
    while not re.search("rendering.*?/1000000", seen, re.DOTALL):
        seen += os.read(ours, 65536).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the end of a terminal
        while os.read(ours, 65536):
            pass
    assert process.wait(timeout=60) == 130
    os.close(ours)
    counts = {
        stage: re.search(rf"{stage}.*?(\d+)\S*/1000000", seen, re.DOTALL)
        for stage in ("checking", "rendering")
    }
    assert [found and found[1] for found in counts.values()] == ["0", "0"]


@pytest.mark.slow
def test_ctrl_c_leaves_whole_clips_and_the_next_run_goes_on(few: list, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    words = [str(word) for word in (*few, "--n", "2000", "--workers", "2", "--out", out)]
    process = forked.start("smile_motion", words)
    process.wait_for(lambda: list(out.glob("clip_*.json")))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines() == ["smile-motion render: interrupted"]
    assert not list(out.glob(".*"))
    whole = len(list(out.glob("clip_*.json")))
    assert 0 < whole < 2000
    for path in out.glob("clip_*.mp4"):
        assert len(index_video(path)) == 4
    assert run(*few, "--n", str(whole), "--workers", "0", "--out", out) == 0
    assert len((out / "index.jsonl").read_text().splitlines()) == whole


def test_a_folder_that_cannot_be_written_to(
    few: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/clips")
    else:
        folder = tmp_path / "locked" / "clips"
        folder.parent.mkdir(mode=0o500)
    assert run(*few, "--n", "1", "--out", folder) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert str(folder) in err


@pytest.mark.parametrize("background", ["black", "noise", "places", "frame", "natural"])
@pytest.mark.parametrize("recipe", ["paper", "official"])
def test_every_background_and_recipe(
    few: list,
    background: str,
    recipe: str,
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    photographs: Path,
    tmp_path: Path,
) -> None:
    files = {"places": ["--images", photographs]}
    files |= {name: ["--videos", real_videos["bikes"]] for name in ("frame", "natural")}
    code = run(
        *few, "--background", background, "--recipe", recipe, "--objects", "3", "--n", "1",
        "--lossless", *files.get(background, []), "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    described = json.loads((tmp_path / "out/clip_000000.json").read_text())
    assert described["background"]["kind"] == background
    assert len(described["plan"]["objects"]) == 3
    again = read_clip(tmp_path / "out/clip_000000.json", small_bank)
    stored = read_frames(index_video(tmp_path / "out/clip_000000.mp4"), range(4))
    assert (again.frames == stored).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "0"], "--n is 0"),
        (["--size", "97"], "frames of 97 x 97 px: videos that every player shows have even sides"),
        (["--size", "96", "--patch", "20"], "--patch is 20, which does not divide frames of 96"),
        (["--objects", "-1"], "objects is -1"),
        (["--background", "natural"], "add --videos"),
        (["--background", "places"], "add --images"),
        (["--background", "natural", "--videos", "list.txt"], "list.txt:1: lost.mp4"),
        (["--background", "natural", "--videos", "zero.mp4"], "zero.mp4: empty"),
        (["--background", "natural", "--videos", "torn.mp4"], "torn.mp4: not a readable video"),
        (["--out", "zero.mp4"], "a file is in the way"),
        (["--out", "zero.mp4/clips"], "a file is in the way"),
        (["--out", "/sys/clips"], "choose a place that you may read and write"),
        (["--bank", "nowhere"], "nowhere: no such folder"),
        (["--rate-hz", "0"], "--rate-hz is 0"),
        (["--workers", "-1"], "--workers is -1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    few: list,
    arguments: list[str],
    message: str,
    real_videos: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("lost.mp4 1\n")
    Path("zero.mp4").touch()
    Path("torn.mp4").write_bytes(real_videos["bikes"].read_bytes()[:9000])
    words = few[:1] + few[3:] if arguments[0] == "--bank" else few  # which is given once
    assert run(*words, "--out", "clips", "--workers", "0", *arguments) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("clips/clip_*"))


def test_the_page_is_whole_in_itself(small_bank: ObjectBank, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("preview", "--bank", small_bank.path, "--n", "2", "--size", "64", "--out", page) == 0
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 2 * 16  # a frame each
    addresses = re.findall(r"https?://[^\"'\s]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # a name, which nothing fetches
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert small_bank.record(0)["category"].split("-")[0] in text or "star" in text


def test_the_clip_of_the_readme(small_bank: ObjectBank) -> None:
    maker = ClipMaker(
        bank=small_bank, recipe=MotionRecipe.paper(), background=make_background("noise"), seed=7
    )
    clip = maker.make(0)
    assert clip.frames.shape == (16, 224, 224, 3)
    assert clip.truth.token_coverage(TokenGrid()).shape == (2, 8, 14, 14)
    behind = np.zeros((16, 224, 224, 3), np.uint8)
    assert (render(behind, clip.plan, small_bank)[clip.truth.ids > 0] > 0).any()


def test_help_is_quick_to_start_and_names_every_command() -> None:
    code = (
        "import sys; sys.argv = ['smile-motion', '--help']\n"
        "from smile_motion.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'numba', 'cv2', 'scipy', 'torch'} & set(sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for command in COMMANDS:
        assert command.name in result.stdout


@pytest.mark.parametrize("noise", ["gaussian", "spectral"])
def test_noise_is_an_option(few: list, noise: str, small_bank: ObjectBank, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = run(*few, "--noise", noise, "--noise-per-frame", "--objects", "0", "--n", "1",
               "--lossless", "--out", out)  # fmt: skip
    assert code == 0
    frames = read_frames(index_video(out / "clip_000000.mp4"), range(4))
    assert (frames[0] != frames[1]).any()
    assert (read_clip(out / "clip_000000.json", small_bank).frames == frames).all()
