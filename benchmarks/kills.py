"""Kill commands at random moments, and continue each by the same command until it is done.

    nice uv run python benchmarks/kills.py [--kills 200] [--jobs build render-mp4 pretrain …]

What a killed and continued command leaves must be what an uninterrupted one leaves, byte for byte,
but for measured times and TensorBoard's files. No process may outlive what was killed, and none of
the continuations may fail. SIGKILL, SIGTERM and SIGHUP go to the command alone, so that its workers
have to notice; of `accelerate launch` they go to the launcher alone, or to the trainer alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smile_motion.bank import ProceduralSource, build
from smile_motion.io.output_folders import is_locked

MARK = "SMILE_KILLS_MARK"
"""Environment variable by which all processes of a command are found, whoever their parent is; so
are those of its session."""
PATIENCE_S = 60.0
"""How long processes may live on, seconds; one that was told to stop ends its step first."""
MEASURED = ("clips_per_s", "views_per_s", "data_wait", "utilization", "peak_memory_mb")
"""Entries of logs that are times."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""What commands are killed by, chosen among with equal chance."""
WORKING = 0.8
"""Share of kills that come while a command works; the others may find it at its imports."""
LATEST = 0.9
"""Share of an uninterrupted command's time after which none is killed any more."""
TOGETHER = 4
"""Kills of a command before it is continued to its end."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command that is killed."""

    name: str
    """What it is called."""
    words: tuple[str, ...]
    """Module and arguments; it writes to `out`, and runs where that is."""
    resume: bool = False
    """Whether `--resume` continues it; else the very same command does."""
    launched: bool = False
    """Whether `accelerate launch` starts it."""

    def command(self, *, again: bool) -> list[str]:
        """The whole command."""
        launcher = ("accelerate.commands.launch", "--cpu", "-m") if self.launched else ()
        words = (sys.executable, "-m", *launcher, *self.words)
        return [*words, *(("--resume",) if again and self.resume else ())]


class Process(Protocol):
    """A command that runs in a session of its own."""

    @property
    def pid(self) -> int:
        """Number of the process, and of its session."""
        ...

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        ...

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        ...


class Start(Protocol):
    """How commands are started."""

    def __call__(self, job: Job, place: Path, mark: str, *, again: bool) -> Process:
        """Start a command in a folder, to begin or to go on; it says all to `said` there."""
        ...


def make_jobs(work: Path, wanted: Sequence[str]) -> list[Job]:
    """The jobs that are wanted, all by default, and what they read."""
    bank = build(ProceduralSource(count=12), work / "bank", workers=0).path
    render = ("smile_motion", "render", f"--bank={bank}", "--frames=4", "--size=64", "--out=out")
    two = (*render, "--background=noise", "--workers=2")
    # A checkpoint after every step: a run that was asked to stop has no others.
    small = (
        *("--preset=tiny", "--frames=4", "--patch=16", "--batch=4", "--precision=fp32"),
        *("--log-every=1", "--save-every=1", "--workers=1", "--cpu-threads=1", "--out=out"),
        f"--bank={bank}",
    )
    scenes = work / "scenes"
    if not wanted or "finetune" in wanted:
        make_scenes(work, render, small)
    tune = (
        *("smile_train", "finetune", str(work / "checkpoint"), "--dataset=folder"),
        *(f"--data={scenes}", "--epochs=4", "--batch=2", "--workers=1", "--precision=fp32"),
        *("--log-every=1", "--save-every=1", "--segments=1", "--crops=1", "--cpu-threads=1"),
        *("--stride=1", "--out=out"),
    )
    pretrain = ("smile_train", "pretrain", *small, "--steps=8")
    jobs = [
        Job(name="build", words=("smile_motion", "build-bank", "--source=procedural", "--n=300",
                                 "--workers=2", "--out=out")),
        Job(name="render-mp4", words=(*two, "--n=120")),
        Job(name="render-webdataset", words=(*two, "--n=120", "--format=webdataset",
                                             "--clips-per-shard=8")),
        Job(name="render-coco", words=(*two, "--n=60", "--format=coco")),
        Job(name="pretrain", words=pretrain, resume=True),
        Job(name="progressive", words=(*pretrain[:-1], "--steps=4", "--strategy=progressive"),
            resume=True),
        Job(name="finetune", words=tune, resume=True),
        Job(name="launched", words=pretrain, resume=True, launched=True),
    ]  # fmt: skip
    return [job for job in jobs if not wanted or job.name in wanted]


def make_scenes(work: Path, render: Sequence[str], small: Sequence[str]) -> None:
    """A checkpoint, and videos of two classes to fine-tune it on."""
    train = (*small[:-2], small[-1], "--steps=1", f"--out={work / 'checkpoint'}")
    run(("smile_train",), "pretrain", *train)
    clips = work / "clips"
    run(("smile_motion",), *render[1:-1], "--background=noise", "--n=8", "--workers=0",
        f"--out={clips}")  # fmt: skip
    for number in range(8):
        folder = work / "scenes" / ("train", "validation")[number // 6] / f"class_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (clips / f"clip_{number:06d}.mp4").rename(folder / f"{number}.mp4")


def run(module: Sequence[str], *words: str) -> None:
    """Run a command to its end."""
    subprocess.run([sys.executable, "-m", *module, *words], check=True, capture_output=True)


def snapshot(folder: Path) -> dict[str, str]:
    """Hash of every file, without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith("events.out.tfevents"):
            continue
        data = path.read_bytes()
        if path.suffix == ".jsonl" and path.name in ("log.jsonl", "measures.jsonl"):
            entries = [json.loads(line) for line in data.splitlines()]
            kept = [{k: v for k, v in one.items() if k not in MEASURED} for one in entries]
            if path.name == "measures.jsonl":
                kept = kept[-1:]  # a run that is asked to stop looks at the model there too
            data = json.dumps(kept).encode()
        if path.name == "config.json":
            data = json.dumps(_without_times(json.loads(data))).encode()
        if path.name == "manifest.json":
            # It has the hash of the configuration, which says whether the run was resumed.
            data = str(json.loads(data)["step"]).encode()
        if path.name == "results.json":
            data = json.dumps(_without_times(json.loads(data))).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def _without_times(content: dict[str, object]) -> dict[str, object]:
    """A configuration without whether it was resumed."""
    return {
        name: _without_times(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if name != "resume" and (name != "config" or isinstance(value, dict))
    }


def alive(mark: str, session: int) -> dict[int, str]:
    """Living processes of a command, with what they are."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal() or int(path.name) == os.getpid():
            continue
        try:
            state, _, _, of, *_ = (path / "stat").read_text().rpartition(")")[2].split()
            words = (path / "environ").read_bytes().split(b"\0")
            if int(of) != session and f"{MARK}={mark}".encode() not in words:
                continue
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if state not in "ZX":
            found[int(path.name)] = words
    return found


def wait_for_end(mark: str, session: int) -> dict[int, str]:
    """Wait until no process is left; those that are when patience ends, which are then killed."""
    until = time.monotonic() + PATIENCE_S
    while left := alive(mark, session):
        if time.monotonic() > until:
            for process in left:
                os.kill(process, signal.SIGKILL)
            return left
        time.sleep(0.05)
    return {}


def start_command(job: Job, place: Path, mark: str, *, again: bool) -> Process:
    """Start a command as a person does; see `Start`."""
    with (place / "said").open("ab") as said:
        said.write(f"\n$ {' '.join(job.command(again=again))}\n".encode())
        said.flush()
        return subprocess.Popen(
            job.command(again=again),
            cwd=place,
            env=os.environ | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def wait_for_work(command: Process, out: Path) -> None:
    """Wait until a command holds its folder, or has ended."""
    while command.poll() is None and not is_locked(out):
        time.sleep(0.02)


def ends_within(command: Process, seconds: float) -> bool:
    """Wait until a command has ended, or the time is over."""
    until = time.monotonic() + seconds
    while command.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    return command.poll() is not None


def target_of(job: Job, process: int, mark: str, rng: random.Random) -> int:
    """Which process is killed: the command, or of a launched one the trainer at times."""
    trainers = [
        number
        for number, words in alive(mark, process).items()
        if "-m smile_train" in words and "accelerate" not in words
    ]
    return rng.choice([process, *trainers[:1]]) if job.launched else process


def campaign(
    jobs: Sequence[Job], kills: int, seed: int, work: Path, start: Start = start_command
) -> Iterator[str]:
    """Kill and continue; yields what went wrong."""
    rng = random.Random(seed)
    complaints: Counter[str] = Counter()
    whole: dict[str, dict[str, str]] = {}
    took: dict[str, float] = {}
    for job in jobs:
        place = work / f"{job.name}-straight"
        place.mkdir()
        command = start(job, place, f"{job.name}-straight", again=False)
        wait_for_work(command, place / "out")
        begun = time.monotonic()
        code = command.wait()
        took[job.name] = time.monotonic() - begun
        if code:
            yield f"{job.name}, uninterrupted: exit code {code}\n{_tail(place)}"
            return
        if left := wait_for_end(f"{job.name}-straight", command.pid):
            yield f"{job.name}, uninterrupted: left {left}"
        whole[job.name] = snapshot(place / "out")
        for line in _complaints(place):
            yield f"{job.name}, uninterrupted, said: {line}"
    done = case = 0
    counts: Counter[str] = Counter()
    while done < kills:
        job = jobs[case % len(jobs)]
        case += 1
        place = work / f"{job.name}-{case:03d}"
        place.mkdir()
        history = []
        faults = 0
        for attempt in range(min(TOGETHER, kills - done)):
            mark = f"{case}-{attempt}"
            command = start(job, place, mark, again=attempt > 0)
            number = rng.choice(SIGNALS)
            moment = took[job.name] * rng.uniform(0.0, LATEST)
            if rng.random() < WORKING:
                wait_for_work(command, place / "out")
            if ends_within(command, moment):
                history.append(f"over before {moment:.1f} s, code {command.poll()}")
                took[job.name] *= 0.7  # The machine may be quieter now.
                break
            target = target_of(job, command.pid, mark, rng)
            history.append(f"{number.name} after {moment:.1f} s" + "*" * (target != command.pid))
            with suppress(ProcessLookupError):
                os.kill(target, number)
            done += 1
            counts[job.name] += 1
            if left := wait_for_end(mark, command.pid):
                faults += 1
                yield f"{job.name}, case {case} ({'; '.join(history)}): left {left}"
            command.wait()
        mark = f"{case}-last"
        command = start(job, place, mark, again=True)
        code = command.wait()
        where = f"{job.name}, case {case} ({'; '.join(history)})"
        if code:
            faults += 1
            yield f"{where}: the continuation's exit code is {code}\n{_tail(place)}"
        elif (found := snapshot(place / "out")) != whole[job.name]:
            faults += 1
            names = {k for k, _ in found.items() ^ whole[job.name].items()}
            yield f"{where}: other bytes in {sorted(names)[:8]}"
        if left := wait_for_end(mark, command.pid):
            faults += 1
            yield f"{where}: the continuation left {left}"
        for line in _complaints(place):
            complaints[f"{job.name}: {line}"] += 1
            if line.startswith("traceback"):
                print(f"said in case {case}: {line}", flush=True)
        print(f"{done}/{kills} kills, {where}: {'ok' if not faults else 'FAULTS'}", flush=True)
        if not faults:
            shutil.rmtree(place)
    print(f"kills by command: {dict(counts)}")
    for line, times in complaints.items():
        print(f"said by killed commands, {times} times: {line}")


def _complaints(place: Path) -> list[str]:
    """Lines that a command should not print, of tracebacks the last one."""
    lines = (place / "said").read_text(errors="replace").splitlines()
    found, within = [], False
    for line in lines:
        if "Traceback" in line:
            within = True
        elif within and line[:1].strip():
            within = False
            found.append(f"traceback: {line}")
        elif "leaked" in line or "SemLock" in line:
            found.append(line.partition(": ")[2].strip())
    return found


def _tail(place: Path) -> str:
    return "\n".join((place / "said").read_text(errors="replace").splitlines()[-8:])


def main() -> None:
    """Run the campaign, and exit with 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="*", help="which commands; all by default")
    parser.add_argument("--work", type=Path, help="a folder, kept; a temporary one by default")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="smile-kills-"))
    work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    jobs = make_jobs(work.resolve(), options.jobs or ())
    faults = 0
    for fault in campaign(jobs, options.kills, options.seed, work.resolve()):
        faults += 1
        print(f"FAULT {fault}", flush=True)
    print(f"{options.kills} kills in {time.monotonic() - begun:.0f} s, {faults} faults")
    if not options.work and not faults:
        shutil.rmtree(work)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
