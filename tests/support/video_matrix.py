"""Videos of many kinds, made by ffmpeg: containers x codecs x cuts x rotations.

Each shows numbered pictures. What ffmpeg itself decodes of a file says what is right.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import imageio_ffmpeg
import numpy as np

WIDTH, HEIGHT, COUNT, RATE_HZ = 96, 64, 50, 25
Cut = Literal["whole", "trimmed", "begun late", "joined", "joined late"]
JOINABLE = ("ts", "mpg", "h264")
CODECS: dict[str, tuple[str, tuple[str, ...]]] = {
    "h264": ("libx264 -g 12 -bf 2 -qp 10", ("mp4", "mkv", "flv", "ts", "avi", "mov", "h264")),
    "h264-open": (
        "libx264 -g 12 -qp 10 -x264-params open-gop=1:bframes=2",
        ("mp4", "mkv", "flv", "ts"),
    ),
    "h264-one-key": ("libx264 -g 250 -bf 2 -qp 10", ("mp4", "mkv", "flv")),
    "h264-refresh": ("libx264 -g 12 -bf 0 -qp 10 -x264-params intra-refresh=1", ("mp4", "ts")),
    "h264-field": ("libx264 -g 12 -bf 2 -qp 10 -flags +ildct+ilme", ("mp4", "ts")),
    "hevc": (
        "libx265 -x265-params log-level=error:keyint=12:qp=10",
        ("mp4", "mkv", "ts", "mov"),
    ),
    "mpeg4": ("mpeg4 -g 12 -q 2", ("mp4", "avi", "mkv")),
    "mpeg4-b": ("mpeg4 -g 12 -bf 2 -q 2", ("mp4", "avi", "mkv", "ts")),
    "mpeg2": ("mpeg2video -g 12 -bf 2 -q 2", ("mpg", "ts", "mkv", "avi")),
    "mpeg1": ("mpeg1video -g 12 -bf 2 -q 2", ("mpg",)),
    "vp8": ("libvpx -g 12 -auto-alt-ref 1 -lag-in-frames 16 -b:v 2M", ("webm", "mkv")),
    "vp9": ("libvpx-vp9 -g 12 -auto-alt-ref 1 -lag-in-frames 16 -b:v 2M", ("webm", "mp4")),
    "av1": ("libsvtav1 -g 12 -preset 10 -crf 10", ("webm", "mp4")),
    "mjpeg": ("mjpeg -q 2 -pix_fmt yuvj420p", ("avi", "mov")),
    "ffv1": ("ffv1", ("mkv", "avi")),
    "prores": ("prores -pix_fmt yuv422p10le", ("mov",)),
    "msmpeg4": ("msmpeg4 -g 12 -q 2", ("avi",)),
    "wmv2": ("wmv2 -g 12 -q 2", ("wmv",)),
    "flv1": ("flv -g 12 -q 2", ("flv",)),
    "gif": ("gif -pix_fmt rgb8", ("gif",)),
}
"""Options of an encoder, and containers that hold what it writes."""


@dataclass(frozen=True)
class Case:
    """A kind of video."""

    codec: str
    """Of `CODECS`."""
    suffix: str
    """Its container's."""
    cut: Cut = "whole"
    """How it was cut without encoding it anew."""
    turn: int = 0
    """Degrees of the display matrix, against the clock."""
    mirrored: bool = False
    """Whether the display matrix mirrors it left to right as well."""

    def __str__(self) -> str:
        """Name it in a test's name."""
        shown = f"-{self.turn}{'-mirrored' if self.mirrored else ''}"
        turned = shown if self.turn or self.mirrored else ""
        return f"{self.codec}-{self.suffix}-{self.cut.replace(' ', '-')}{turned}"


def all_cases() -> list[Case]:
    """The whole matrix."""
    cases = []
    for codec, (_, suffixes) in CODECS.items():
        for suffix in suffixes:
            for cut in get_args(Cut):
                if cut.startswith("joined") and suffix not in JOINABLE:
                    continue
                if codec == "h264-one-key" and cut == "begun late":
                    continue  # Without its keyframe nothing can be decoded.
                if suffix == "h264" and cut == "trimmed":
                    continue  # Bare streams cannot be sought in.
                if codec != "gif" or cut == "whole":
                    cases.append(Case(codec, suffix, cut))
    turned = product(
        (("h264", "mp4"), ("h264", "mov"), ("h264", "mkv"), ("hevc", "mp4")),
        ((turn, mirrored) for turn in (0, 90, 180, 270) for mirrored in (False, True)),
    )
    cases += [Case(*kind, "whole", *shown) for kind, shown in turned if shown != (0, False)]
    return cases


def numbered_pictures() -> np.ndarray:
    """(COUNT, H, W, 3) uint8: a slope, a number in bits, a block that moves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pictures = np.repeat(np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)[None], COUNT, 0)
    for number, picture in enumerate(pictures):
        for bit in range(6):
            picture[:16, 16 * bit : 16 * bit + 16] = 255 * (number >> bit & 1)
        left = 2 * number % 80
        picture[40:56, left : left + 16] = (255, 0, 0)
    return pictures


def make_video(case: Case, folder: Path) -> Path:
    """Write a video of a kind, and what it is cut from."""
    path = folder / f"{case}.{case.suffix}"
    if path.exists():
        return path
    if case.turn or case.mirrored:
        shown = ["-display_rotation:v", str(case.turn), *["-display_hflip:v"] * case.mirrored]
        return _copy(Case(case.codec, case.suffix), folder, shown, [], path)
    match case.cut:
        case "whole":
            options = CODECS[case.codec][0].split()
            options += [] if "-pix_fmt" in options else ["-pix_fmt", "yuv420p"]
            raw = f"-f rawvideo -pix_fmt rgb24 -s {WIDTH}x{HEIGHT} -r {RATE_HZ} -i - -c:v".split()
            _ffmpeg(*raw, *options, str(path), data=numbered_pictures().tobytes())
        case "trimmed":
            _copy(Case(case.codec, case.suffix), folder, ["-ss", "0.8"], [], path)
        case "begun late":
            late = ["-ss", "0.68", "-copyinkf"]
            _copy(Case(case.codec, case.suffix), folder, [], late, path)
        case "joined" | "joined late":
            part = Case(case.codec, case.suffix, "whole" if case.cut == "joined" else "begun late")
            path.write_bytes(2 * make_video(part, folder).read_bytes())
    return path


def _copy(source: Case, folder: Path, before: list[str], after: list[str], path: Path) -> Path:
    _ffmpeg(*before, "-i", str(make_video(source, folder)), "-c", "copy", *after, str(path))
    return path


def decode_by_ffmpeg(path: Path) -> np.ndarray:
    """(N, H, W, 3) uint8: every frame that ffmpeg shows, upright."""
    said, pixels = _ffmpeg(
        *("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
        verbosity="info",
    )
    found = re.search(r"Video: rawvideo.* (\d+)x(\d+)", said)
    assert found, said
    return np.frombuffer(pixels, np.uint8).reshape(-1, int(found[2]), int(found[1]), 3)


def _ffmpeg(*arguments: str, data: bytes = b"", verbosity: str = "error") -> tuple[str, bytes]:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", verbosity, "-hide_banner", "-y", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said
    return said, done.stdout
