"""Tracks of videos that a tracker has computed, as displacements of a clip's tokens.

<tracks>/
  NAME.npz          for each video NAME.mp4, of the same name whatever its folder
    tracks          (F, N, 2) float: x, y of N points in all F frames of the video, its own pixels
    visibility      (F, N) bool, or float of which more than 0.5 is visible
    size            (2,) int: height and width of the video's frames, pixels
    grid            (2,) int, optional: rows and columns, where points began on a regular grid

That is what CoTracker gives for a video, less its batch dimension.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from smile_motion.errors import InputError
from smile_motion.io.options import MotionReading
from smile_motion.tokens import TokenGrid
from smile_motion.truth.token_motion import point_pixels
from smile_motion.video import open_index

LARGEST_BYTES = 1 << 31
"""Of a file, unpacked. Ours."""
_REMEDY = "track this video again"


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoTracks:
    """Points of a video."""

    path: Path
    """The file."""
    positions: np.ndarray
    """(F, N, 2) float32 x, y, pixels of the video."""
    visible: np.ndarray
    """(F, N) bool."""
    size: tuple[int, int]
    """Height and width of the video's frames."""
    grid: tuple[int, int] | None
    """Rows and columns, where points began on a regular grid."""


def read_tracks(path: Path) -> VideoTracks:
    """Read the tracks of a video.

    Raises:
        InputError: The file is missing, damaged, or not of this layout.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; --tracks needs one for each video, by the video's name"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_BYTES:
            raise InputError(f"{path}: {size / 1e9:.1f} GB unpacked; {_REMEDY} with fewer points")
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files if name in _SHAPES}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npz ({error}); {_REMEDY}") from error
    for name, ndim in _SHAPES.items():
        if name not in found and name != "grid":
            raise InputError(
                f"{path}: no {name} in it, {', '.join(found) or 'nothing'} is; {_REMEDY}"
            )
        if name in found and (found[name].ndim != ndim or found[name].dtype.kind not in "fiub"):
            raise InputError(
                f"{path}: {name} is {found[name].dtype} {found[name].shape}; {ndim} dimensions of "
                f"numbers are expected; leave out that of the batch"
            )
    tracks, visibility = found["tracks"], found["visibility"]
    frames, count = tracks.shape[:2]
    if tracks.shape[2] != 2 or visibility.shape != (frames, count) or not count:
        raise InputError(
            f"{path}: tracks {tracks.shape} and visibility {visibility.shape}; expected "
            f"(frames, points, 2) and (frames, points)"
        )
    if not np.isfinite(tracks).all() or np.abs(tracks).max(initial=0) > 1e6:
        raise InputError(f"{path}: tracks hold numbers that are no places in pixels; {_REMEDY}")
    size = tuple(int(side) for side in found["size"])
    grid = tuple(int(side) for side in found.get("grid", ()))
    if len(size) != 2 or min(size) < 1 or len(grid) not in (0, 2):
        raise InputError(f"{path}: size {size} and grid {grid}; expected two numbers each")
    if grid and (min(grid) < 1 or grid[0] * grid[1] != count):
        raise InputError(f"{path}: a grid of {grid[0]} x {grid[1]}, but {count} points; {_REMEDY}")
    return VideoTracks(
        path=path,
        positions=tracks.astype(np.float32),
        visible=visibility > 0.5 if visibility.dtype.kind == "f" else visibility.astype(bool),
        size=(size[0], size[1]),
        grid=(grid[0], grid[1]) if grid else None,
    )


_SHAPES = {"tracks": 3, "visibility": 2, "size": 1, "grid": 1}
"""Dimensions of the arrays of a file."""


@lru_cache(maxsize=4)
def _read_once(path: Path, changed_ns: int) -> VideoTracks:
    return read_tracks(path)


def require_tracks(folder: Path | None, videos: Sequence[Path]) -> None:
    """Try the tracks of a list of videos before a run depends on them.

    Raises:
        InputError: There is no folder, a video has no file in it, two have the same, or that of the
            first is not of that video.
    """
    if folder is None:
        raise InputError("--motion-target official needs tracks: add --tracks DIR")
    if not folder.is_dir():
        raise InputError(f"--tracks {folder}: no such folder")
    of_name: dict[str, Path] = {}
    for video in videos:
        if of_name.setdefault(video.stem, video) != video:
            raise InputError(
                f"--tracks {folder}: {video} and {of_name[video.stem]} would have the same tracks; "
                f"give videos names of their own"
            )
    missing = [name for name in of_name if not (folder / f"{name}.npz").is_file()]
    if missing:
        raise InputError(
            f"--tracks {folder}: no {missing[0]}.npz; {len(missing)} of {len(of_name)} videos have "
            f"no tracks there"
        )
    for video in videos[:1]:
        _of_video(folder, video, len(open_index(video)))


def _of_video(folder: Path, video: Path, length: int) -> VideoTracks:
    """The tracks of a video, as long as it is."""
    path = folder / f"{video.stem}.npz"
    tracks = _read_once(path, path.stat().st_mtime_ns if path.is_file() else 0)
    if len(tracks.positions) != length:
        raise InputError(
            f"{tracks.path}: tracks of {len(tracks.positions)} frames, {video} has {length}; "
            f"{_REMEDY}"
        )
    return tracks


def refine_grid(tracks: VideoTracks, factor: int) -> VideoTracks:
    """Interpolate tracks of a grid to `factor` times as many rows and columns, bilinearly, corners
    aligned (TrackMAE: 14 x 14 to 28 x 28). A new point is visible where all around it are."""
    if tracks.grid is None or factor == 1:
        return tracks
    rows, columns = tracks.grid

    def along(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.linspace(0, count - 1, factor * count)
        low = np.minimum(at.astype(int), max(count - 2, 0))
        return low, np.minimum(low + 1, count - 1), (at - low).astype(np.float32)

    (y0, y1, v), (x0, x1, u) = along(rows), along(columns)
    frames = len(tracks.positions)
    places = tracks.positions.reshape(frames, rows, columns, 2)
    seen = tracks.visible.reshape(frames, rows, columns)
    u, v = u[None, None, :, None], v[None, :, None, None]
    upper = places[:, y0][:, :, x0] * (1 - u) + places[:, y0][:, :, x1] * u
    lower = places[:, y1][:, :, x0] * (1 - u) + places[:, y1][:, :, x1] * u
    whole = seen[:, y0] & seen[:, y1]
    whole = whole[:, :, x0] & whole[:, :, x1]
    return replace(
        tracks,
        positions=(upper * (1 - v) + lower * v).reshape(frames, -1, 2),
        visible=whole.reshape(frames, -1),
        grid=(factor * rows, factor * columns),
    )


def track_displacement(
    folder: Path,
    video: Path,
    *,
    length: int,
    numbers: np.ndarray,
    crop: tuple[int, int, int, int],
    grid: TokenGrid,
    points: int,
    reading: MotionReading,
) -> np.ndarray:
    """Displacements of a clip's tokens from the tracks of its video.

    A token's point moves as the track does that is nearest to it when its slice begins
    (`present`) or in the clip's first frame (`started`); it must be visible there, and no further
    than a token's side. The last slice repeats the one before, as `Truth.token_motion` has it.

    Args:
        folder: Of `NAME.npz`.
        video: The file; its name says which.
        length: Frames of the video.
        numbers: (T,) frames of the video that the clip shows.
        crop: x, y, width, height of what it shows of them, pixels.
        grid: The clip's tokens.

    Returns:
        (slices, rows, columns, points ** 2, 2) float32, pixels of the clip; NaN where no track is.

    Raises:
        InputError: The tracks are missing, damaged, or those of another video.
    """
    tracks = _of_video(folder, video, length)
    x, y, width, height = crop
    if x + width > tracks.size[1] or y + height > tracks.size[0]:
        raise InputError(
            f"{tracks.path}: of a video of {tracks.size[1]} x {tracks.size[0]} px, {video} is "
            f"larger; {_REMEDY}"
        )
    begins = numbers[:: grid.tubelet]
    tracks = replace(
        tracks, positions=tracks.positions[begins], visible=tracks.visible[begins]
    )  # Before they are refined: a video has many more frames than a clip has slices.
    tracks = refine_grid(tracks, points)
    scale = np.array([grid.width / width, grid.height / height], np.float32)
    places = (tracks.positions - np.array([x, y], np.float32) + 0.5) * scale - 0.5
    moved = np.diff(places, axis=0)
    moved = np.concatenate([moved, moved[-1:]])
    pixels = point_pixels(grid, points)
    shape = (*grid.shape, points * points, 2)
    found = np.full(shape, np.nan, np.float32)
    of_slice = [_nearest(places[0], tracks.visible[0], pixels, grid.patch)]
    for s in range(grid.slices):
        if reading == "present" and s:
            of_slice.append(_nearest(places[s], tracks.visible[s], pixels, grid.patch))
        near, chosen = of_slice[-1]
        found[s] = np.where(near[:, None], moved[s, chosen], np.nan).reshape(shape[1:])
    return found


def _nearest(
    places: np.ndarray, visible: np.ndarray, pixels: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find the visible track nearest to each pixel: whether it is within reach, and its number."""
    from scipy.spatial import KDTree

    count = pixels.size // 2
    seen = np.flatnonzero(visible)
    if not len(seen):
        return np.zeros(count, bool), np.zeros(count, np.int64)
    distance, nearest = KDTree(places[seen]).query(pixels.reshape(count, 2))
    return distance <= reach, seen[nearest]
