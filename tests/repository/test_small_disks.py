"""Commands whose disk, a real one, is full before they are done."""

import json
import re
from pathlib import Path

import pytest
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.io.files import hash_file
from support import forked
from support.small_disk import NO_DISK

pytestmark = pytest.mark.slow

RENDER = ("render", "--background=noise", "--frames=4", "--size=64", "--workers=0")
MADE = {
    "mp4": ((*RENDER, "--n=24"), 128, r"out/clip_\d+\.(mp4|json)"),
    "webdataset": (
        (*RENDER, "--n=24", "--format=webdataset", "--clips-per-shard=8"),
        128,
        r"out/shard-\d+\.tar",
    ),
    "coco": ((*RENDER, "--n=24", "--format=coco"), 256, r"out/clip_\d+"),
    "build": (
        ("build-bank", "--source=procedural", "--n=40", "--workers=0"),
        256,
        r"out/images/[\w-]+/\d+\.png",
    ),
}
"""A command of smile-motion, the size of its disk in kilobytes, and what it cannot write."""


def run_twice(disk: Path, size_kb: int, *command: str) -> list[dict]:
    """Run a command on a full disk and on one with room; see `small_disk`."""
    disk.mkdir()
    words = [disk, size_kb, "--", *command, f"--out={disk / 'out'}"]
    program = forked.start("small_disk", words, cwd=Path(__file__).parents[1] / "support")
    code = program.wait()
    if code == NO_DISK:
        pytest.skip("this process may mount nothing")
    said, errors = program.said()
    assert code == 0, errors
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_goes_on_when_there_is_room_again(
    name: str, tmp_path: Path, small_bank: ObjectBank
) -> None:
    words, size_kb, unwritten = MADE[name]
    bank = () if name == "build" else (f"--bank={small_bank.path}",)
    full, roomy = run_twice(tmp_path / "disk", size_kb, "smile_motion", *words, *bank)
    assert full["code"] == 2
    (line,) = full["said"].splitlines()
    assert line.endswith(
        ": No space left on device; free some space and run the same command again"
    )
    assert re.search(f"/{unwritten}: No space", line), line
    assert not [file for file in full["files"] if file.endswith(".tmp")]
    assert roomy["code"] == 0, roomy["said"]
    straight = tmp_path / "straight/out"
    assert run_app("smile-motion", "", COMMANDS, [*words, *bank, f"--out={straight}"]) == 0
    made = {
        path.relative_to(straight.parent).as_posix(): hash_file(path)
        for path in straight.rglob("*")
        if path.is_file()
    }
    if name == "build":  # The card has what it took.
        del made["out/bank.json"], roomy["files"]["out/bank.json"]
    assert roomy["files"] == made


def test_a_run_says_what_its_next_checkpoint_takes(tmp_path: Path, small_bank: ObjectBank) -> None:
    words = ("smile_train", "pretrain", "--student=tiny", "--patch=16", "--frames=4", "--batch=4")
    more = ("--workers=0", "--steps=2", "--save-every=2", "--cpu-threads=1", "--precision=fp32")
    bank = f"--bank={small_bank.path}"
    full, roomy = run_twice(tmp_path / "disk", 12_000, *words, *more, bank)
    assert full["code"] == 2
    last = full["said"].splitlines()[-1]
    assert "MB free, the next checkpoint takes 30 MB; free some space and go on with" in last
    assert not [file for file in full["files"] if "checkpoints/" in file]
    assert roomy["code"] == 0, roomy["said"]
    assert "out/checkpoints/step_00000002/training.pt" in roomy["files"]


def test_packing_goes_on_when_there_is_room_again(
    real_videos: dict[str, Path], tmp_path: Path
) -> None:
    words = ("data", "pack", str(real_videos["bikes"]), "--size=64", "--workers=0")
    full, roomy = run_twice(tmp_path / "disk", 256, "smile_train", *words)
    assert full["code"] == 2
    (line,) = full["said"].splitlines()
    assert re.search(r"shard-00000\.tar[^:]*: No space left on device; free some space", line), line
    assert not [file for file in full["files"] if file.endswith(".tmp")]
    assert roomy["code"] == 0, roomy["said"]
    assert {"out/shard-00000.tar", "out/index.jsonl", "out/README.md"} <= set(roomy["files"])
