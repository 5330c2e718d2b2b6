"""The batch scripts of the page on clusters, run as SLURM runs them, and the Dockerfile."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from smile_motion.bank import ObjectBank
from smile_train.training.stop import EXIT_REQUEUE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
SRUN = """#!/bin/bash
# A process for each task, as `srun` starts them on one machine; the highest exit code is its own.
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & started[task]=$!
done
highest=0
for process in "${started[@]}"; do
    wait "$process"; code=$?
    ((code > highest)) && highest=$code
done
exit $highest
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> requeued; fi
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with the environment and the two programs of SLURM that the scripts call."""
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "slurm").mkdir(exist_ok=True)
        (tmp_path / "slurm" / name).write_text(text)
        (tmp_path / "slurm" / name).chmod(0o755)
    return tmp_path


def script(name: str, **smaller: str) -> str:
    """A batch script of the page, with some words in place of others."""
    found = re.search(rf"^```bash title=\"{name}\"\n(.*?)^```", PAGE, re.M | re.S)
    assert found is not None, name
    text = found[1]
    assert text.startswith("#!/bin/bash\n#SBATCH --job-name=")
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    return text


def submit(folder: Path, text: str, *words: str, **variables: object) -> int:
    """Run a batch script in a folder, with the variables that SLURM sets; its exit code."""
    environment = os.environ | {key: str(value) for key, value in variables.items()}
    environment["PATH"] = f"{folder / 'slurm'}:{environment['PATH']}"
    command = ["bash", "-c", text, "sbatch", *words]
    return subprocess.run(command, cwd=folder, env=environment, timeout=500).returncode


JOB = {"SLURM_NTASKS": 2, "SLURM_JOB_ID": 4711, "SLURM_JOB_NODELIST": "localhost"}


@pytest.mark.parametrize(("codes", "requeued"), [("75 75", True), ("0 0", False), ("1 0", False)])
def test_a_job_requeues_itself_after_75_alone(cluster: Path, codes: str, requeued: bool) -> None:
    """Tasks that end with these codes, in the place of training."""
    task = f"bash -c 'codes=({codes}); exit ${{codes[$RANK]}}'"
    text = script("pretrain.sbatch", **{"smile-train pretrain": task})
    assert submit(cluster, text, **JOB) == max(map(int, codes.split()))
    assert (cluster / "requeued").exists() == requeued
    if requeued:
        assert (cluster / "requeued").read_text() == "requeue 4711\n"
        assert EXIT_REQUEUE == 75


@pytest.mark.slow
def test_the_tasks_of_a_job_train_together(
    cluster: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = "--preset tiny --samples 8 --steps 4 --stop-at 2 --batch 2 --size 32 --track none"
    words += " --workers 0 --cpu-threads 1 --out runs/first"
    assert submit(cluster, script("pretrain.sbatch"), *words.split(), **JOB) == 0
    assert "on 2 x CPU (DDP)" in capfd.readouterr().err
    assert not (cluster / "requeued").exists()


@pytest.mark.slow
def test_jobs_of_an_array_make_one_collection_and_one_bank(cluster: Path) -> None:
    job = {"SLURM_ARRAY_TASK_COUNT": 2, "SLURM_CPUS_PER_TASK": 0}
    render = script("render.sbatch", **{"--n 100000": "--n 4 --size 32 --clips-per-shard 2"})
    bank = script("bank.sbatch", **{"--source stable-diffusion --n 60000": "--source shapes --n 8"})
    for number in range(2):
        assert submit(cluster, render, SLURM_ARRAY_TASK_ID=number, **job) == 0
        assert submit(cluster, bank, SLURM_ARRAY_TASK_ID=number, **job) == 0
    assert len((cluster / "clips/array/index.jsonl").read_text().splitlines()) == 2
    merge = "source .venv/bin/activate; " + next(
        line for line in PAGE.splitlines() if line.startswith("smile-motion bank merge")
    )
    assert submit(cluster, merge) == 0
    assert len(ObjectBank.open(cluster / "object_banks/sd")) == 8


def test_the_dockerfile_copies_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [line.split()[1] for line in text.splitlines() if line.startswith("COPY ")]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert re.findall(r"^FROM (.*)", text, re.M) == ["python:3.12-slim"]
    assert "./packages/smile-motion[export,ray]" in text
