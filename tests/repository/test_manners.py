"""How the commands behave: help at once, JSON for machines, completion, exit codes."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import EXIT_FAULTY, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_UNREAD, run_app
from smile_train.training.stop import EXIT_REQUEUE

ROOT = Path(__file__).parents[2]
PROGRAMS = {"smile-motion": "smile_motion", "smile-train": "smile_train"}
HEAVY = (
    *("numpy", "cv2", "scipy", "shapely", "PIL", "numba", "av", "torch", "torchvision", "timm"),
    *("open_clip", "transformers", "diffusers", "accelerate", "onnxruntime", "gradio", "ray"),
    *("datasets", "matplotlib", "huggingface_hub"),
)
"""What would make help slow."""


def run(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command with its output piped."""
    command = [sys.executable, "-m", PROGRAMS[program], *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_nothing_heavy(program: str) -> None:
    """The modules that every command's help comes from, in one process."""
    code = (
        "import sys\n"
        f"from {PROGRAMS[program]}.__main__ import COMMANDS\n"
        "for command in COMMANDS:\n"
        "    command.load()\n"
        f"    heavy = sorted(set({HEAVY}) & set(sys.modules))\n"
        "    assert not heavy, (command.name, heavy)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_version_is_that_of_the_distribution(program: str) -> None:
    said = run(program, "--version")
    assert said.returncode == 0
    package = importlib.import_module(PROGRAMS[program])
    assert said.stdout == f"{program} {package.__version__}\n"
    declared = tomllib.loads((ROOT / "packages" / program / "pyproject.toml").read_text())
    assert package.__version__ == declared["project"]["version"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("smile-motion ren", {"render"}),
        ("smile-motion bank ver", {"verify"}),
        ("smile-motion render --backg", {"--background"}),
        ("smile-motion render --background ", {"noise", "black", "natural", "frame", "places"}),
        ("smile-train prob", {"probe"}),
        ("smile-train evaluate sev", {"severe"}),
        ("smile-train pretrain --target cl", {"clip"}),
        ("smile-train export x --to onn", {"onnx"}),
    ],
)
def test_bash_completes(line: str, expected: set[str], tmp_path: Path) -> None:
    program = line.split()[0]
    (tmp_path / "completions").write_text(run(program, "completion", "bash").stdout)
    words = line.split(" ")
    script = f"""
        source {tmp_path / "completions"}
        COMP_WORDS=({" ".join(f'"{word}"' for word in words)})
        COMP_CWORD={len(words) - 1}
        $(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert expected <= set(said.stdout.split()), said


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_all_commands(shell: str) -> None:
    script = run("smile-motion", "completion", shell).stdout
    for word in ("render", "build-bank", "verify", "--background"):
        assert word in script
    assert run("smile-motion", "completion", "csh").returncode == EXIT_INPUT


@pytest.mark.slow
def test_json_is_one_document_of_facts(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    said = run("smile-motion", "bank", "verify", small_bank.path, "--json")
    facts = json.loads(said.stdout)
    assert facts["files"] > 30
    assert facts["faults"] == {}
    words = ["render", "--bank", small_bank.path, "--n", 2, "--frames", 4, "--size", 64]
    rendered = run("smile-motion", *words, "--out", tmp_path / "clips", "--workers", 0, "--json")
    facts = json.loads(rendered.stdout)
    assert (facts["clips"], facts["there_already"]) == (2, 0)
    assert Path(facts["out"]) == tmp_path / "clips"
    again = run("smile-motion", "--json", *words, "--out", tmp_path / "clips", "--workers", 0)
    assert json.loads(again.stdout)["there_already"] == 2
    broken = tmp_path / "videos"
    broken.mkdir()
    (broken / "sound.mp4").symlink_to(real_videos["bikes"])
    (broken / "torn.mp4").write_bytes(real_videos["bikes"].read_bytes()[:9000])
    checked = run("smile-train", "data", "check", broken, "--workers", 1, "--json")
    facts = json.loads(checked.stdout)
    assert (facts["videos"], facts["sound"]) == (2, 1)
    assert list(facts["broken"]) == [str(broken / "torn.mp4")]
    assert checked.returncode == EXIT_FAULTY


def test_piped_output_has_no_control_codes(small_bank: ObjectBank, tmp_path: Path) -> None:
    words = ["--bank", small_bank.path, "--n", 9, "--frames", 4, "--size", 64]
    said = run("smile-motion", "render", *words, "--out", tmp_path / "clips")
    assert said.returncode == 0
    assert not re.search(r"[\x1b\r]", said.stdout + said.stderr)
    assert not said.stderr


@pytest.mark.parametrize(
    "line",
    [
        "smile-train finetune --help",
        "smile-motion render --help",
        "smile-motion --help",
        "smile-motion completion bash",
        "smile-motion bank info BANK --json",
    ],
)
def test_a_reader_that_leaves_ends_a_command_quietly(line: str, small_bank: ObjectBank) -> None:
    program, *words = line.replace("BANK", str(small_bank.path)).split()
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", PROGRAMS[program], *words]
        said = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120
        )
    finally:
        os.close(writing)
    assert (said.returncode, said.stderr) == (EXIT_UNREAD, "")


def test_errors_are_a_line_and_debug_shows_where(tmp_path: Path) -> None:
    plain = run("smile-motion", "bank", "info", tmp_path / "none")
    assert plain.returncode == EXIT_INPUT
    assert plain.stderr.startswith("smile-motion bank info: ")
    assert plain.stderr.count("\n") == 1
    traced = run("smile-motion", "bank", "info", tmp_path / "none", "--debug")
    assert "Traceback" in traced.stderr
    assert traced.stderr.endswith(plain.stderr)


def test_a_tilde_means_the_home_however_it_is_written(
    small_bank: ObjectBank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(small_bank.path.parent))
    name = f"~/{small_bank.path.name}"
    assert run_app("smile-motion", "", COMMANDS, ["bank", "verify", name]) == 0
    line = ["render", f"--bank={name}", "--out", f"{name}/x", "--n", "1"]
    assert run_app("smile-motion", "", COMMANDS, line) == EXIT_INPUT
    assert str(small_bank.path) in capsys.readouterr().err


def test_an_interrupt_that_a_destructor_swallows_comes_again() -> None:
    code = (
        "import signal, time\n"
        "from smile_motion.runtime.signals import repeat_lost_interrupts\n"
        "repeat_lost_interrupts()\n"
        "class Interrupting:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "Interrupting()\n"
        "time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert ended.returncode == -signal.SIGINT
    assert "ignored" not in ended.stderr


@pytest.mark.parametrize(
    ("file", "started_as", "watched", "quick"),
    [
        ("the-program", "the-program", False, True),
        ("the-program", "the-program", True, False),
        ("the_program.py", "-m the_program", False, True),
        ("another-program", "another-program", False, False),
        ("another_program.py", "-m another_program", False, False),
    ],
)
def test_a_program_ends_with_all_that_is_to_be_done_at_its_end(
    file: str, started_as: str, watched: bool, quick: bool, tmp_path: Path
) -> None:
    """But for taking modules apart; unless a profiler, or a program that runs it in its own
    process, goes on after it."""
    code = (
        "import atexit, sys, threading, time\n"
        "from smile_motion.cli.app import end\n"
        "class Module:\n"
        "    def __del__(self):\n"
        "        print('taken apart')\n"
        "sys.modules['apart'] = Module()\n"
        "atexit.register(print, 'registered')\n"
        "def work():\n"
        "    while threading.main_thread().is_alive():\n"
        "        time.sleep(0.01)\n"
        "    print('waited for')\n"
        "threading.Thread(target=work).start()\n"
        f"sys.setprofile({'lambda *_: None' if watched else None})\n"
        "end('the-program', 7)"
    )
    (tmp_path / file).write_text(code)
    ended = subprocess.run(
        [sys.executable, *started_as.split(), "render"],
        cwd=tmp_path, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 7, ended.stderr
    assert ended.stderr == ""
    done = ["waited for", "registered"]
    assert ended.stdout.splitlines() == [*done, *([] if quick else ["taken apart"])]


def test_the_page_of_commands_tells_the_exit_codes() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)}
    assert told == {0, EXIT_FAULTY, EXIT_INPUT, EXIT_REQUEUE, EXIT_INTERRUPTED, EXIT_UNREAD}
