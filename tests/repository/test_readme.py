"""Every command and snippet of the README runs, in order, as its reader would run them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from smile_motion.cli.app import run_app
from smile_motion.video import index_video, read_frames, write_video
from smile_train.__main__ import COMMANDS
from support.labeled import write_class_folders
from support.tiny_clip import write_tiny_clip

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
UV_RUN = re.compile(r"^uv run (--(extra|group) \w+ )*")
"""How a line begins, optional dependencies included; tests have them all."""
SMALLER = {
    "build-bank": "--n 12",
    "explore": "--port 0",
    "pretrain": "--student mini --batch 2 --epochs 1 --warmup-epochs 0 --teacher CLIP "
    "--workers 0 --track none",
    "probe": "--workers 0",
    "accelerate launch -m smile_train": "--samples 8 --batch 4 --epochs 1",
    "render": "--n 3",
}
"""What makes each command end in seconds; a later option wins over the README's own."""
TRAINER = ["accelerate", "launch", "-m", "smile_train"]
"""How a line begins that trains or measures."""


def blocks() -> list[tuple[str, str]]:
    """The README's blocks of code: their language and text."""
    return re.findall(r"^```(bash|python)\n(.*?)^```", README.read_text(), re.M | re.S)


@pytest.mark.slow
def test_the_readme_runs(
    real_videos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_tiny_clip(tmp_path / "clip", side=224)
    write_class_folders(tmp_path / "data", real_videos, train=2, test=2)
    (tmp_path / "videos").mkdir()
    for name, video in real_videos.items():
        frames = read_frames(index_video(video), np.arange(72))
        small = np.stack([cv2.resize(frame, (160, 90)) for frame in frames])
        write_video(tmp_path / f"videos/{name}.mp4", small, rate_hz=24)
    places = {"VIDEOS": tmp_path / "videos", "DATA": tmp_path / "data", "CLIP": clip}

    ran, snippets = [], []
    for language, text in blocks():
        if language == "bash":
            lines = [line for line in text.splitlines() if line.startswith("uv run ")]
            ran += [_run(UV_RUN.sub("", line), places, tmp_path) for line in lines]
        elif language == "python":
            snippets.append(text)
    assert set(ran) == {*SMALLER, "pytest"}
    assert snippets
    exec("\n".join(snippets), {})


def _run(line: str, places: dict[str, Path], folder: Path) -> str:
    """Run a line, made smaller, in a folder; return what it was made smaller as.

    Every program is started as the reader would once; later lines that train run in this process.
    """
    if line.startswith("pytest"):  # this is it
        return "pytest"
    kind = next(
        name for name in SMALLER if re.match(rf"(smile-motion |.*smile_train )?{name}\b", line)
    )
    words = [str(places.get(word, word)) for word in f"{line} {SMALLER[kind]}".split()]
    if words[:4] == TRAINER:
        if kind != " ".join(TRAINER):
            assert run_app("smile_train", "", COMMANDS, words[4:]) == 0, line
            return kind
        # The same program without its siblings, whose imports take 7 s.
        words[:2] = ["accelerate-launch"]
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    if kind == "explore":
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    else:
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 0, f"{line}\n{ended.stderr[-3000:]}"
    return kind


def test_the_readme_shows_clips_that_move() -> None:
    from PIL import Image

    with Image.open(ROOT / "docs/pictures/clips.webp") as picture:
        assert getattr(picture, "n_frames", 1) >= 8


@pytest.mark.parametrize(
    "page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
