"""Runs the paper's ablations at small scale, and keeps what each arm reached.

Movements and backgrounds are made where they are missing. Arms are run seed after seed, each is in
benchmarks/evidence/results/SIZE.json as soon as it is judged, and not run again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, write_atomically

from benchmarks.evidence.arms import ARMS, TableName, arms_of
from benchmarks.evidence.jobs import Job, Places, finetune_arm, pretrain_arm, run_job, unprobed_run
from benchmarks.evidence.sizes import SIZES, Size, SizeName

RESULTS = Path(__file__).parent / "results"
"""Where the repository keeps results."""
TRIAL_STEPS = 50
"""Steps of the trial that `--minutes` is divided by."""
FEWEST_STEPS = 100
"""Fewer teach nothing, and are refused."""
SPARE = 1.25
"""What arms take over the trial."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is run."""

    size: SizeName = "cpu"
    """How large: see `sizes`."""
    table: tuple[TableName, ...] = ("7", "4a", "4g")
    """The tables whose arms are run."""
    seeds: int = 3
    """Of each arm."""
    work: Path = Path("runs/evidence")
    """Folder of movements, backgrounds and runs."""
    out: Path = RESULTS
    """Folder of the results."""
    teacher: Path | None = None
    """Folder of a DINOv2 (`benchmarks.evidence.dinov2`), for arms with features."""
    bank: Path | None = None
    """Object bank. Default: the embedded one."""
    minutes: float | None = None
    """Stop after this, leaving out what is not done. Without --steps all arms are as long as fits
    into it, by a trial, instead of the size's own steps."""
    processes: int | None = None
    """Arms run at once. Default: the size's."""
    workers: int | None = None
    """Processes that make clips for each. Default: the size's."""
    steps: int | None = None
    """Steps of Table 7's arms; half as many of the others. Default: the size's."""
    epochs: int | None = None
    """Of fine-tuning. Default: the size's."""
    keep: tuple[str, ...] = ()
    """Arms whose pre-trained runs are kept, in WORK/kept, for `smile_train probe motion`."""


def main(options: Options) -> None:
    """Run what is missing.

    Raises:
        InputError: Something needed is not there.
    """
    begun = time.monotonic()
    size = SIZES[options.size]
    given = {"epochs": options.epochs, "processes": options.processes, "workers": options.workers}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    if options.steps is not None:
        size = replace(size, steps=options.steps, video_steps=max(1, options.steps // 2))
    places = prepare(options, size)
    arms = arms_of(options.table)
    if places.teacher is None:
        needing = [arm for arm in arms if (ARMS[arm].changes or {}).get("target") == "dinov2"]
        if needing:
            raise InputError(f"{needing[0]}: learns features; give --teacher a folder of a DINOv2")
    path = options.out / f"{options.size}.json"
    runs = read_runs(path)
    end = None if options.minutes is None else begun + 60 * options.minutes
    with ProcessPoolExecutor(
        size.processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(places.work / "logs",),
    ) as pool:
        if end is not None and options.steps is None:
            size = fit_size(pool, size, places, arms, options.seeds, end)
        own = [run for run in runs if run["size"] == size.to_json()]
        done = {(run["arm"], run["seed"]) for run in own if run["strict"] is not None}
        jobs = [
            Job(arm=arm, seed=seed, size=size, places=places, keep=arm in options.keep)
            for seed in range(options.seeds)
            for arm in arms
            if (arm, seed) not in done
        ]
        waiting = {pool.submit(run_job, job): job for job in jobs}
        print(f"{len(waiting)} runs to do, {len(done)} done", file=sys.stderr)
        _collect(pool, waiting, runs, path, end)


def prepare(options: Options, size: Size) -> Places:
    """Make what is missing of movements, backgrounds and objects."""
    from smile_motion.bank.builder.default import embedded_bank

    from benchmarks.evidence.sources import pack_videos, prepare_sources

    train, test = size.movements
    name = f"movements-{size.side}-{train}-{test}"
    movements = options.work / name
    if not is_rendered(movements):
        # In a process of its own: Mesa's libraries and PyTorch's do not always get on in one.
        command = [sys.executable, "-m", "benchmarks.evidence.movements", "--out", str(movements)]
        command += ["--size", str(size.side), "--train", str(train), "--test", str(test)]
        if subprocess.run(command).returncode:
            raise InputError(f"{movements}: not rendered; see above")
    videos, photographs = prepare_sources(options.work)
    if options.bank is None:
        embedded_bank()
    packed = options.work / "packed"
    for part in ("train", "validation"):
        pack_videos(movements / part, packed / name / part)
    pack_videos(videos, packed / "videos")
    return Places(
        movements=packed / name,
        videos=packed / "videos",
        photographs=photographs,
        teacher=options.teacher,
        bank=options.bank,
        work=options.work,
    )


def is_rendered(movements: Path) -> bool:
    """Whether all clips that a folder is to hold are there."""
    card = movements / "movements.json"
    if not card.is_file():
        return False
    said = json.loads(card.read_text(encoding="utf-8"))
    wanted = sum(said["clips"].values()) * len(said["movements"])
    return sum(1 for _ in movements.rglob("*.mp4")) == wanted


def read_runs(path: Path) -> list[dict[str, Any]]:
    """What is there already."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []


def fit_size(
    pool: ProcessPoolExecutor,
    size: Size,
    places: Places,
    arms: tuple[str, ...],
    seeds: int,
    end: float,
) -> Size:
    """The size with as many steps as fit, by trials of some arms as many at once as in the run.

    All arms of a table get the same steps; those over natural video half as many as others.
    """
    kinds = [arm for arm in ("noise-motion", "video-pixel", "video-feature-motion") if arm in arms]
    tried = [kinds[number % len(kinds)] for number in range(size.processes)]
    jobs = [
        Job(arm=arm, seed=1000 + number, size=size, places=places)
        for number, arm in enumerate(tried)
    ]
    found = []
    for future in [pool.submit(_trial, job) for job in jobs]:
        try:
            found.append(future.result())
        except Exception as error:
            print(f"a trial failed: {error}", file=sys.stderr, flush=True)
    if not found:
        raise InputError(f"no trial succeeded; see {places.work / 'logs'}, or give --steps")
    kinds = [kind for kind in kinds if any(entry["arm"] == kind for entry in found)]
    step_s = {
        kind: max(entry["step_s"] for entry in found if entry["arm"] == kind) for kind in kinds
    }
    fixed_s = max(entry["fixed_s"] for entry in found)
    trained = [arm for arm in arms if ARMS[arm].changes is not None]
    long = [arm for arm in trained if ARMS[arm].long]
    features = [arm for arm in trained if (ARMS[arm].changes or {})["target"] == "dinov2"]
    others = [arm for arm in trained if arm not in long and arm not in features]
    weight = seeds * (
        len(long) * step_s.get("noise-motion", 0)
        + len(others) * step_s.get("video-pixel", 0) / 2
        + len(features) * step_s.get("video-feature-motion", 0) / 2
    )
    left = size.processes * (end - time.monotonic())
    steps = int((left / SPARE - seeds * len(arms) * fixed_s) / weight) // 20 * 20
    said = {kind: round(value, 4) for kind, value in step_s.items()}
    print(
        f"a step takes {said} s, all else {fixed_s:.1f} s: {steps} steps",
        file=sys.stderr,
        flush=True,
    )
    if steps < FEWEST_STEPS:
        raise InputError(
            f"--minutes leaves {max(0, steps)} steps for each of {seeds} x {len(trained)} runs; "
            f"give more minutes, fewer tables or seeds, or --steps"
        )
    return replace(size, steps=steps, video_steps=steps // 2)


def _trial(job: Job) -> dict[str, Any]:
    """Seconds of a step, and of all else, of an arm's run."""
    out = job.places.work / f"trial-{job.seed}"
    # Once for what is only slow the first time.
    pretrain_arm(job, out / "first", steps=2, log_every=1)
    begun = time.perf_counter()
    checkpoint, _, rate = pretrain_arm(
        job, out / "pretrained", steps=TRIAL_STEPS, log_every=TRIAL_STEPS // 2
    )
    step_s = job.size.batch / rate
    fixed_s = time.perf_counter() - begun - TRIAL_STEPS * step_s
    fixed_s = max(0.0, fixed_s)
    if job.size.epochs:
        epochs = max(1, job.size.epochs // 5)
        begun = time.perf_counter()
        finetune_arm(job, checkpoint, out / "finetuned", epochs=epochs, validate_every=epochs)
        tuned_s = time.perf_counter() - begun
        fixed_s += tuned_s * (1 + 0.6 * (job.size.epochs / epochs - 1))
    return {"arm": job.arm, "step_s": step_s, "fixed_s": fixed_s}


def _collect(
    pool: ProcessPoolExecutor,
    waiting: dict[Future[dict[str, Any]], Job],
    runs: list[dict[str, Any]],
    path: Path,
    end: float | None,
) -> None:
    """Write down each run as it ends, and at the end of the time what the others have reached."""
    total = len(waiting)
    machine = describe_machine()

    def keep(run: dict[str, Any]) -> None:
        same = ("arm", "seed", "size")
        runs[:] = [other for other in runs if any(other[name] != run[name] for name in same)]
        runs.append(run | {"machine": machine})
        write_atomically(path, dump_json({"runs": runs}))

    while waiting:
        left = None if end is None else max(0.1, end - time.monotonic())
        ready, _ = wait(waiting, timeout=left, return_when=FIRST_COMPLETED)
        if not ready:
            for process in list(pool._processes.values()):
                process.kill()
            unprobed = [run for run in map(unprobed_run, waiting.values()) if run is not None]
            for run in unprobed:
                keep(run)
            print(
                f"out of time: {len(waiting) - len(unprobed)} runs are left out, "
                f"{len(unprobed)} are without their probe",
                file=sys.stderr,
                flush=True,
            )
            return
        for future in ready:
            job = waiting.pop(future)
            try:
                run = future.result()
            except Exception as error:
                print(f"{job.arm}, seed {job.seed}: {error}", file=sys.stderr, flush=True)
                continue
            keep(run)
            tuned, motion = run["finetune"], run["motion"] or {}
            said = [] if tuned is None else [f"fine-tuned {tuned['top1']:.1f}"]
            said.append(f"probed {run['strict']['top1']:.1f}")
            said += [f"{name} {found['value']:.1f}" for name, found in motion.items()]
            print(
                f"[{total - len(waiting)}/{total}] {job.arm}, seed {job.seed}: {', '.join(said)} "
                f"{run['seconds']}",
                file=sys.stderr,
                flush=True,
            )


def describe_machine() -> str:
    """Device and torch, in a line."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, {os.cpu_count()} cores, torch {torch.__version__}"


def _begin(logs: Path) -> None:
    """Let a worker sleep while it waits for the device, and send what it says to a file."""
    sleep_while_waiting()
    logs.mkdir(parents=True, exist_ok=True)
    log = (logs / f"{os.getpid()}.log").open("w", encoding="utf-8")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)


def sleep_while_waiting() -> None:
    """Have CUDA block instead of spinning: several arms' loaders need the cores."""
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    blocking = 4  # CU_CTX_SCHED_BLOCKING_SYNC, before there is a context
    if driver.cuInit(0) == 0:
        driver.cuDevicePrimaryCtxSetFlags_v2(0, blocking)
