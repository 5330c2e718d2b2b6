"""Decoding on a GPU's own decoders (NVDEC) by two libraries: is it exact, and how fast?

    python3 benchmarks/nvdec.py VIDEO … --library pynvvideocodec | torchcodec

Needs torch with CUDA, PyAV, and the library: PyPI's wheels of both hold what they need of CUDA
(pynvvideocodec 2.2.4; torchcodec 0.14, for torch from 2.11 on). torchcodec also needs shared FFmpeg
libraries; where the system has none it is given PyAV's own. Both open the driver's libnvcuvid,
pynvvideocodec its libnvidia-encode too. A line of JSON for each figure, and for what went wrong.

PyNvVideoCodec gives frames as they are coded (NV12). FFmpeg's converter computes a pixel's color
from its own brightness and the color of its block of 2 x 2 alone, so a table of all 2**24 values,
filled by that converter, gives the same RGB on the device, to the bit.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

FRAMES, STRIDE = 16, 4
THREADS = 8
"""Decoders at once; an H100 has seven."""
LIMIT_S = 50
"""After which a library is given up."""
Row = tuple[str, float | str, str]
"""A figure: what, value, unit."""
Read = Callable[[np.ndarray], torch.Tensor]
"""Frame numbers -> frames on the device, (n, H, W, 3) RGB or (n, 3 H / 2, W) NV12, uint8."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to try."""

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos."""
    library: Literal["pynvvideocodec", "torchcodec"] = "pynvvideocodec"
    """What decodes."""
    device: str = "cuda:0"
    """Where to; torchcodec decodes on a CPU too."""
    clips: int = 24
    """Clips of each video that are timed."""


def find_driver_libraries() -> Iterator[Row]:
    """Say which of the driver's libraries for video can be opened."""
    for name in ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1"):
        try:
            ctypes.CDLL(name)
        except OSError as error:
            yield name, f"absent: {error}", ""
        else:
            yield name, "found", ""


def memory(frame: Any) -> list[np.ndarray]:
    """A frame's memory: (rows, bytes of a row and what pads it) uint8 for each plane."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        for plane in frame.planes
    ]


def planes(frame: Any) -> np.ndarray:
    """A frame of PyAV's as NV12, (3 H / 2, W) uint8."""
    y, u, v = (
        rows[:, : plane.width] for rows, plane in zip(memory(frame), frame.planes, strict=True)
    )
    return np.concatenate([y, np.stack([u, v], axis=-1).reshape(u.shape[0], y.shape[1])])


def fill_table(like: Any) -> np.ndarray:
    """RGB of every Y, U, V in the color space of a frame, by FFmpeg: (2**24, 3) uint8."""
    from av import VideoFrame
    from smile_motion.video.decoder import to_rgb

    table = np.empty((256, 256, 256, 3), np.uint8)
    frame = VideoFrame(512, 512, "yuv420p")
    frame.colorspace, frame.color_range = like.colorspace, like.color_range
    y, u, v = memory(frame)
    u[:, :256] = np.arange(256)[:, None]
    v[:, :256] = np.arange(256)
    for first in range(0, 256, 4):
        for part in range(4):
            y[part // 2 : 512 : 2, part % 2 : 512 : 2] = first + part
        image = to_rgb(frame).to_ndarray()
        for part in range(4):
            table[first + part] = image[part // 2 :: 2, part % 2 :: 2]
    return table.reshape(-1, 3)


def convert(nv12: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Convert frames, (n, 3 H / 2, W), to RGB by a table, (n, H, W, 3) uint8."""
    height, width = nv12.shape[1] * 2 // 3, nv12.shape[2]
    y = nv12[:, :height].int()
    color = nv12[:, height:].unflatten(2, (width // 2, 2)).int()
    place = ((color[..., 0] << 8) | color[..., 1]).repeat_interleave(2, 1).repeat_interleave(2, 2)
    return table[(y << 16) | place]


def open_pynvvideocodec(path: Path, device: torch.device) -> Read:
    """Open a video by PyNvVideoCodec, or by its compiled part alone: the package refuses to begin
    where the driver's encoder is missing, which nothing is decoded by."""
    try:
        import PyNvVideoCodec as nvc  # pyright: ignore[reportMissingImports]

        decoder = nvc.SimpleDecoder(str(path), gpu_id=device.index or 0, use_device_memory=True)
    except RuntimeError as error:
        if "nvidia-encode" not in str(error):
            raise
        nvc = _compiled_part()
        own = (*(device.index or 0, 0, 0, True, 0, 0, False, 4), nvc.OutputColorType.NATIVE)
        decoder = nvc.CreateSimpleDecoder(str(path), *own, False, False)

    def read(numbers: np.ndarray) -> torch.Tensor:
        frames = decoder.get_batch_frames_by_index(numbers.tolist())
        return torch.stack([torch.from_dlpack(frame) for frame in frames])

    return read


@cache
def _compiled_part() -> Any:
    spec = find_spec("PyNvVideoCodec")
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("PyNvVideoCodec_130.*.so")
    inner = spec_from_file_location("_PyNvVideoCodec", file)
    assert inner is not None
    assert inner.loader is not None
    module = module_from_spec(inner)
    inner.loader.exec_module(module)
    return module


def open_torchcodec(path: Path, device: torch.device) -> Read:
    """Open a video by torchcodec."""
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportPrivateImportUsage]

    decoder = VideoDecoder(path, device=device, dimension_order="NHWC")
    if device.type == "cuda" and decoder.cpu_fallback:
        raise RuntimeError(str(decoder.cpu_fallback))
    return lambda numbers: decoder.get_frames_at(numbers.tolist()).data


OPENERS = {"pynvvideocodec": open_pynvvideocodec, "torchcodec": open_torchcodec}


def compare(path: Path, read: Read, device: torch.device) -> Iterator[Row]:
    """Compare frames with PyAV's: as they are coded, and as RGB."""
    import av
    from smile_motion.video.decoder import to_rgb

    with av.open(str(path)) as container:
        frames = [frame for _, frame in zip(range(64), container.decode(video=0), strict=False)]
    numbers = np.arange(0, len(frames), 3)
    wanted = np.stack([to_rgb(frames[number]).to_ndarray() for number in numbers])
    found = read(numbers)
    if found.ndim == 3:
        coded = np.stack([planes(frames[number]) for number in numbers])
        yield "coded values that differ", float((found.cpu().numpy() != coded).mean()), "share"
        table = torch.from_numpy(fill_table(frames[0])).to(device)
        found = convert(found, table)
    apart = np.abs(found.cpu().numpy().astype(np.int16) - wanted)
    yield "RGB values that differ", float((apart > 0).mean()), "share"
    yield "RGB largest difference", float(apart.max()), "of 255"


def time_clips(path: Path, options: Options) -> Iterator[Row]:
    """Time clips of one video, by one decoder and by several at once."""
    from smile_motion.video import open_index, read_frames

    device = torch.device(options.device)
    index = open_index(path)
    span = (FRAMES - 1) * STRIDE + 1
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(index) - span + 1, options.clips)
    clips = [np.arange(start, start + span, STRIDE) for start in starts]

    def run(numbers: list[np.ndarray]) -> None:
        read = OPENERS[options.library](path, device)
        for clip in numbers:
            read(clip)

    def timed(work: Callable[[], object]) -> float:
        work()  # Starts what is started once.
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    yield "one decoder", len(clips) / timed(lambda: run(clips)), "clips/s"
    with ThreadPoolExecutor(THREADS) as pool:
        shares = [clips] * THREADS
        took = timed(lambda: list(pool.map(run, shares)))
        yield f"{THREADS} decoders at once", THREADS * len(clips) / took, "clips/s"
    begun = time.process_time()
    for clip in clips:
        read_frames(index, clip)
    yield "PyAV, a core", len(clips) / (time.process_time() - begun), "clips/s"


def with_libraries(folder: Path) -> dict[str, str]:
    """Environment in which torchcodec finds FFmpeg: the system's, else that inside PyAV.

    Args:
        folder: An empty one, for links that bear the libraries' plain names.
    """
    paths = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    paths += ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", str(folder)]
    spec = find_spec("av")
    if spec is not None and spec.origin is not None:
        inside = Path(spec.origin).parents[1] / "av.libs"
        for kind in ("av", "sw"):
            for file in inside.glob(f"lib{kind}*.so.*"):
                name, _, version = file.name.partition(".so.")
                plain = f"{name.rpartition('-')[0]}.so.{version.partition('.')[0]}"
                (folder / plain).symlink_to(file)
        paths.append(str(inside))
    return os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}


def try_libraries(videos: tuple[Path, ...], device: torch.device) -> Iterator[Row]:
    """Try each library in a process of its own, which may fail or crash."""
    yield from find_driver_libraries()
    with tempfile.TemporaryDirectory() as folder:
        environment = with_libraries(Path(folder))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        for library in OPENERS:
            place = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
            clips = 1 if device.type == "cpu" else Options.clips
            words = ["--library", library, "--device", place, "--clips", str(clips)]
            with subprocess.Popen(
                [sys.executable, __file__, *map(str, videos), *words],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                try:
                    found, said = process.communicate(timeout=LIMIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    found, said = process.communicate()
                    said = f"took more than {LIMIT_S} s"
            for line in found.splitlines():
                with suppress(ValueError):
                    what, value, unit = json.loads(line)
                    yield f"{library}: {what}", value, unit
            if process.returncode:
                lines = [line for line in said.splitlines() if line.strip()] or ["no output"]
                named = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
                failure = f"{(named or lines)[-1][:200]} (exit code {process.returncode})"
                yield f"{library}: failed", failure, ""


def main(options: Options) -> None:
    """Compare and time, and print."""
    device = torch.device(options.device)
    for path in options.videos:
        read = OPENERS[options.library](path, device)
        for rows in (compare(path, read, device), time_clips(path, options)):
            for what, value, unit in rows:
                print(json.dumps((f"{path.name}: {what}", value, unit)), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
