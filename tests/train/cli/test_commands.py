"""`data check` and `bench`, as a user runs them."""

import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.video import find_videos, index_video, read_frames
from smile_train.__main__ import COMMANDS
from support import forked


def call(*arguments: object) -> int:
    return run_app("smile_train", "", COMMANDS, [str(a) for a in arguments], default="pretrain")


@pytest.fixture
def shard(real_videos: dict[str, Path], tmp_path: Path) -> Path:
    """A tar of two real videos and something else."""
    path = tmp_path / "shard-0.tar"
    with tarfile.open(path, "w") as tar:
        for name, video in real_videos.items():
            tar.add(video, f"./clips/{name}.mp4")
        tar.add(__file__, "clips/bikes.json")
    return path


def test_videos_are_read_where_they_lie_in_a_tar(shard: Path, real_videos: dict[str, Path]) -> None:
    found = find_videos(shard.parent)
    assert [video.path.relative_to(shard).as_posix() for video in found] == [
        "clips/bikes.mp4",
        "clips/bigbuckbunny.mp4",
    ]
    listing = shard.parent / "list.csv"
    listing.write_text("shard-0.tar/clips/bikes.mp4 7\n")
    (listed,) = find_videos(listing)
    assert (listed.path, listed.label) == (shard / "clips/bikes.mp4", "7")
    inside, outside = index_video(listed.path), index_video(real_videos["bikes"])
    assert (inside.pts == outside.pts).all()
    wanted = np.array([249, 0, 77])
    assert (read_frames(inside, wanted) == read_frames(outside, wanted)).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_videos_are_found_and_the_others_listed(
    workers: int, shard: Path, real_videos: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    folder = shard.parent
    (folder / "torn.mp4").write_bytes(real_videos["bikes"].read_bytes()[:100_000])
    (folder / "empty.mp4").touch()
    listing = folder / "train.csv"
    listing.write_text(
        f"{real_videos['bikes']} 3\ntorn.mp4 1\nempty.mp4 2\nshard-0.tar/clips/bigbuckbunny.mp4 9\n"
    )
    sound = folder / "sound.csv"
    assert call("data", "check", listing, "--workers", workers, "--sound", sound) == 1
    out = capsys.readouterr().out
    assert "2 of 4 videos are sound" in out
    broken = (folder / "train.csv.broken.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in broken] == [
        str(folder / "torn.mp4"),
        str(folder / "empty.mp4"),
    ]
    assert "not a readable video" in broken[0]
    assert "empty (0 bytes)" in broken[1]
    assert [video.label for video in find_videos(sound)] == ["3", "9"]
    assert call("data", "check", sound, "--every-frame", "--workers", 0) == 0
    assert "2 of 2 videos are sound" in capsys.readouterr().out


def test_the_bench_times_parts_and_whole_and_advises(
    small_bank: ObjectBank, tiny_clip: Path, capsys: pytest.CaptureFixture
) -> None:
    common = [
        *("--preset=tiny", f"--bank={small_bank.path}", "--batch=2", "--workers=0"),
        *("--repeats=2", "--json", "--patch=16", "--frames=4"),
    ]
    assert call("bench", *common, "--target=clip", f"--teacher={tiny_clip}") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["parts"]) == {
        *("data", "to device", "teacher", "student forward", "student backward", "optimizer"),
        "together",
    }
    assert found["clips_per_s"] == pytest.approx(2 / found["parts"]["together"]["seconds"])
    assert found["advice"]
    assert call("bench", *common) == 0
    assert "teacher" not in json.loads(capsys.readouterr().out)["parts"]
    assert call("bench", *common, "--random-teacher") == 2
    assert "--random-teacher is a CLIP" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("later_s", [0.2, 3.0])
def test_ctrl_c_while_workers_start_is_one_line(later_s: float, small_bank: ObjectBank) -> None:
    words = ["bench", "--preset=tiny", "--workers=2", f"--bank={small_bank.path}"]
    program = forked.start("smile_train", words, own_server=True)
    while "forkserver" not in commands_of_session(program.pid):
        assert program.poll() is None
        time.sleep(0.05)
    time.sleep(later_s)
    os.killpg(program.pid, signal.SIGINT)
    _, said = program.communicate(timeout=60)
    *before, last = said.splitlines()
    assert (program.returncode, last) == (130, "smile-train bench: interrupted")
    assert not [line for line in before if "CPU" not in line], "what was chosen, and nothing else"


def commands_of_session(session: int) -> str:
    """The command lines of a session's processes."""
    return subprocess.run(
        ["ps", "-o", "args=", "--sid", str(session)], capture_output=True, text=True
    ).stdout
