"""Training as a user runs it: real processes, real videos, a real (small) teacher."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_train.__main__ import COMMANDS
from support import forked

QUICK = [
    "--preset=tiny",
    "--patch=16",
    "--frames=4",
    "--batch=4",
    "--workers=0",
    "--precision=fp32",
    "--log-every=1",
    "--save-every=4",
]


HEADS = [
    "--visible-weight=0.5", "--target-layers", "2", "3", "--motion-target=displacement",
    "--motion-visibility", "--motion-rates",
]  # fmt: skip


def start(*arguments: str, cwd: Path) -> forked.ForkedProgram:
    return forked.start("smile_train", arguments, cwd=cwd)


def train(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate()
    return process.wait(), out, err


def losses(run: Path) -> list[tuple[int, float]]:
    entries = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [(entry["step"], entry["loss"]) for entry in entries]


@pytest.fixture(scope="module")
def noise(small_bank: ObjectBank) -> list[str]:
    return [*QUICK, f"--bank={small_bank.path}"]


@pytest.fixture(scope="module")
def straight(noise: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    code, out, err = train("pretrain", *noise, "--steps=8", "--out=run", cwd=folder)
    assert code == 0, err
    for line in ("checkpoint ", "loss curve ", "reconstruction "):
        path = next(text.split()[-1] for text in out.splitlines() if text.startswith(line))
        assert (folder / path).exists()
    return folder / "run"


@pytest.mark.slow
def test_a_killed_run_continues_as_if_nothing_had_happened(
    noise: list[str], straight: Path, tmp_path: Path
) -> None:
    """With workers; the run that it is compared with has none."""
    noise = [*noise, "--workers=2"]
    process = start("pretrain", *noise, "--steps=8", "--out=broken", cwd=tmp_path)
    while not (tmp_path / "broken/checkpoints/step_00000004").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    # Where the process was faster than the signal: as if killed just before its last checkpoint.
    shutil.rmtree(tmp_path / "broken/checkpoints/step_00000008", ignore_errors=True)
    code, _, err = train("pretrain", *noise, "--steps=8", "--out=broken", "--resume", cwd=tmp_path)
    assert code == 0, err
    assert "resumed from" in err
    assert losses(tmp_path / "broken") == losses(straight)
    one, other = (
        load_file(run / "checkpoints/step_00000008/model.safetensors")
        for run in (straight, tmp_path / "broken")
    )
    for name, value in one.items():
        assert (value == other[name]).all(), name


@pytest.mark.parametrize(
    ("workers", "number"),
    [(0, signal.SIGUSR1), pytest.param(2, signal.SIGTERM, marks=pytest.mark.slow)],
)
def test_a_run_asked_to_stop_writes_a_checkpoint_and_says_how_to_go_on(
    noise: list[str], tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    arguments = ("pretrain", *noise, "--steps=500", "--out=run", f"--workers={workers}")
    process = start(*arguments, cwd=tmp_path)
    while not (tmp_path / "run/log.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)  # as a scheduler does: workers get it too
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75
    assert "--resume --out run" in err
    assert any((tmp_path / "run/checkpoints").iterdir())


@pytest.mark.slow
def test_real_videos_a_clip_teacher_resume_and_export(
    small_bank: ObjectBank, real_videos: dict[str, Path], tiny_clip: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "train.csv"
    listing.write_text(f"{real_videos['bikes']} 0\n{real_videos['bigbuckbunny']} 1\n")
    arguments = [
        "pretrain", *QUICK, f"--bank={small_bank.path}", "--background=natural",
        f"--videos={listing}", "--target=clip", f"--teacher={tiny_clip}", "--steps=4",
        "--masks-per-clip=2", "--accumulate=2", "--precision=bf16", "--out=run",
    ]  # fmt: skip
    code, _, err = train(*arguments, cwd=tmp_path)
    assert code == 0, err
    values = [loss for _, loss in losses(tmp_path / "run")]
    assert len(values) == 4
    assert 0.5 < values[0] < 5
    assert (tmp_path / "run/reconstruction.png").stat().st_size > 10_000
    code, _, err = train(*arguments, "--resume", cwd=tmp_path)
    assert code == 0, err
    code, _, err = train("export", "run", "--out=exported", cwd=tmp_path)
    assert code == 0, err
    from transformers import VideoMAEModel

    model = VideoMAEModel.from_pretrained(tmp_path / "exported")
    assert model.config.num_frames == 4


@pytest.fixture(scope="module")
def accumulated(noise: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps in one process, each of two parts, with every head that there is."""
    folder = tmp_path_factory.mktemp("accumulated")
    words = ("pretrain", *noise, *HEADS, "--steps=4", "--out=one", "--accumulate=2")
    code, _, err = train(*words, cwd=folder)
    assert code == 0, err
    return folder / "one"


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_and_accumulation_learn_the_same(
    noise: list[str], accumulated: Path, tmp_path: Path, sharded: bool
) -> None:
    """With whole models (DDP), and with shards of one (FSDP2), which are gathered and resumed."""
    environment = {}
    if sharded:
        environment = {
            "ACCELERATE_USE_FSDP": "true",
            "FSDP_VERSION": "2",
            "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
            "FSDP_TRANSFORMER_CLS_TO_WRAP": "Block",
        }
    for more in ("--stop-at=2", "--resume") if sharded else ("--workers=1",):
        together = forked.start_together(
            "smile_train", ["pretrain", *noise, *HEADS, "--steps=4", "--out=two", more],
            processes=2, cwd=tmp_path, environment=environment,
        )  # fmt: skip
        said = [process.communicate()[1] for process in together]
        assert [process.wait() for process in together] == [0, 0], said
        assert f"2 x CPU ({'FSDP' if sharded else 'DDP'})" in said[0]
    for (_, one), (_, two) in zip(losses(accumulated), losses(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--preset=huge"], "choose from tiny"),
        (["pretrain", "--background=natural", "--preset=tiny"], "add --videos"),
        (["pretrain", "--preset=tiny", "--size=100"], "100 is not a positive multiple of 16"),
        (["pretrain", "--preset=tiny", "--bank=nowhere"], "nowhere: no such folder"),
        (["pretrain", "--preset=tiny", "--background=natural", "--videos=list.csv"], "list.csv:2"),
        (["pretrain", "--preset=tiny", "--out=list.csv/run"], "list.csv"),
        (["export", "nowhere", "--out=x"], "nowhere: no such run"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "list.csv").write_text(f"{real_videos['bikes']} 0\nmissing.mp4 1\n")
    before = sorted(tmp_path.rglob("*"))
    if arguments[0] == "pretrain" and not any("--bank" in word for word in arguments):
        arguments = [*arguments, f"--bank={small_bank.path}"]
    monkeypatch.chdir(tmp_path)
    code = run_app("smile_train", "", COMMANDS, arguments, default="pretrain")
    err = capsys.readouterr().err
    assert code == 2
    lines = [line for line in err.splitlines() if line.strip()]
    assert message in lines[-1]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_training_stops_when_too_many_videos_are_broken(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    lines = []
    for number in range(12):
        path = tmp_path / f"video{number}.mp4"
        whole = real_videos["bikes"].read_bytes()
        path.write_bytes(whole if number % 2 else whole[:3000])
        lines.append(f"{path.name} 0")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    code, _, err = train(
        "pretrain", *QUICK, f"--bank={small_bank.path}", "--background=natural",
        "--videos=list.csv", "--steps=30", "--out=run", cwd=tmp_path,
    )  # fmt: skip
    assert code == 2
    assert "over 10%" in err
    assert "broken file, replaced" in err
    assert "video0.mp4" in err


@pytest.mark.slow
def test_another_configuration_does_not_resume(noise: list[str], straight: Path) -> None:
    common = ["pretrain", *noise, "--steps=8", f"--out={straight}"]
    code, _, err = train(*common, "--resume", "--mask-ratio=0.5", cwd=straight)
    assert code == 2
    assert "mask_ratio 0.8 there, 0.5 asked for" in err
    code, _, err = train(*common, cwd=straight)
    assert code == 2
    assert "holds a run" in err


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['smile_train', '--help'];\n"
        "from smile_train.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "pretrain" in result.stdout


def test_presets_are_listed_with_their_origin(tmp_path: Path) -> None:
    code, out, _ = train("pretrain", "--list-presets", cwd=tmp_path)
    assert code == 0
    assert "table7-noise" in out
