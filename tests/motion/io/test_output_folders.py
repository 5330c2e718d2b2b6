import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.io.output_folders import (
    LOCK,
    folder_lock,
    is_locked,
    output_folder,
    require_output,
)
from support.render_command import start_render

SMALL = ("--background", "noise", "--frames", "4", "--size", "64", "--workers", "0")

HOLDER = """
import sys, time
from pathlib import Path
from smile_motion.io.output_folders import output_folder
array = sys.argv[2] or None
with output_folder(Path(sys.argv[1]), array=array):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path, array: str = "") -> subprocess.Popen[str]:
    """A process of its own that holds a folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), array],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def smile_motion(*words: object) -> int:
    from smile_motion.__main__ import COMMANDS

    return run_app("smile-motion", "", COMMANDS, [str(word) for word in words])


def test_the_second_is_told_who_is_there_and_a_killed_one_is_not(
    small_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clips"
    render = ("render", *SMALL, "--bank", small_bank.path, "--n", 2, "--out", out)
    process = hold(out)
    assert is_locked(out)
    for words in (render, ("build-bank", "--source", "procedural", "--n", 2, "--out", out)):
        assert smile_motion(*words) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert f"another process is writing it: {process.pid} on " in line
        assert "since 20" in line
        assert line.endswith("wait, or choose another --out")
    assert [path.name for path in out.iterdir()] == [LOCK]
    process.kill()
    process.wait()
    assert not is_locked(out)
    assert smile_motion(*render) == 0
    assert not (out / LOCK).exists()


def test_two_renders_at_once_do_not_mix(small_bank: ObjectBank, tmp_path: Path) -> None:
    words = [*SMALL, "--n", "40", "--bank", small_bank.path, "--out", tmp_path / "x"]
    both = [start_render(*words, "--seed", seed) for seed in "12"]
    said = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    # Where one was done before the other began, that one refuses clips of another seed.
    assert sorted(codes) == [0, 2], said
    told = said[codes.index(2)]
    assert "another process is writing it" in told or "made otherwise (seed" in told
    seeds = {json.loads(path.read_text())["seed"] for path in (tmp_path / "x").glob("clip_*.json")}
    assert seeds == {json.loads((tmp_path / "x/render.json").read_text())["seed"]}


def test_jobs_of_one_array_share_a_folder_and_others_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "array"
    first, second = hold(folder, "4 jobs"), hold(folder, "4 jobs")
    for other in ("5 jobs", None):
        with pytest.raises(InputError, match="another process"):
            folder_lock(folder, array=other).__enter__()
    (folder / "part").touch()
    first.communicate("")
    assert (folder / LOCK).exists()  # The other job is there still.
    second.communicate("")
    assert [path.name for path in folder.iterdir()] == ["part"]


def test_a_folder_that_stays_empty_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), output_folder(tmp_path / "a/b/c"):
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a file is in the way"):
        output_folder(tmp_path / "file/x").__enter__()


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with output_folder(tmp_path / "out"):
        (tmp_path / "out/result").touch()
    assert "has no locks (Function not implemented)" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result"]
    with pytest.raises(InputError, match="a second build would go unnoticed"):
        folder_lock(tmp_path / "out", required=True).__enter__()


def test_outputs_are_never_inputs_nor_banks_nor_the_top_of_everything(
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank, before = small_bank.path, (small_bank.path / "bank.json").read_bytes()
    (tmp_path / "work/.git").mkdir(parents=True)
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    video = tmp_path / "videos/a.mp4"
    video.parent.mkdir()
    video.symlink_to(real_videos["bikes"])
    monkeypatch.setenv("HOME", str(tmp_path))
    render, natural = ("render", *SMALL, "--n", 1), ("--background", "natural", "--videos")
    cases: list[tuple[tuple[object, ...], object, str]] = [
        (("preview", "--bank", bank), bank / "bank.json", "lies within the object bank"),
        (("preview", "--recipe-file", bank / "bank.json"), bank / "bank.json", "is what is read"),
        ((*render, "--bank", bank), bank, "is what is read"),
        (render, bank, "holds an object bank"),
        (render, bank / "images/clips", "lies within the object bank"),
        (render, "/", "is the root of all files"),
        (render, tmp_path, "is the home folder"),
        (render, tmp_path / "work", "is the folder of a repository"),
        (render, tmp_path / "run", "holds a training run"),
        ((*render, *natural, video.parent), video.parent, "is what is read"),
        (("bank", "sheet", bank), bank / "sheet.png", "lies within the object bank"),
        (("bank", "export", bank), bank, "is what is read"),
        (("build-bank", "--source", "folder", "--from", bank), bank, "is what is read"),
    ]
    for words, out, said in cases:
        assert smile_motion(*words, "--out", out) == 2, words
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{out}: {said}" in line, line
    assert (bank / "bank.json").read_bytes() == before
    assert not (bank / "clips").exists()
    with pytest.raises(InputError, match=r"holds a\.mp4, which is read"):
        require_output(tmp_path / "videos", inputs=[tmp_path / "videos/a.mp4"])
    require_output(tmp_path / "run/results", inputs=["some/hub-name", tmp_path / "run"])


def test_a_killed_holder_among_many_leaves_no_claim(tmp_path: Path) -> None:
    process = hold(tmp_path / "out")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "out" / LOCK).exists()
    with output_folder(tmp_path / "out"):
        (tmp_path / "out/result").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result"]
