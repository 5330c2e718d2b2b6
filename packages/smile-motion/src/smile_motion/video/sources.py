"""Sources of videos: a file, a folder, a tar, or a list as the VideoMAE family has them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smile_motion.errors import InputError, shortened
from smile_motion.io.files import read_lines
from smile_motion.io.folders import find_files, is_data
from smile_motion.video.tar import ARCHIVE, is_archive, locate, members


def find_videos(
    source: str | Path, *, remedy: str = "check --videos", keep_missing: bool = False
) -> list[ListedVideo]:
    """Find the videos of a source.

    Args:
        source: A video, a tar of videos, a folder of either (searched recursively, sorted, links
            followed, hidden files skipped), or a list; see `read_list`. Packed videos have the
            labels that they were packed with. A folder that holds nothing but numbered images is a
            video too, and so are animated GIF, WebP and APNG.
        remedy: Remedy named in errors.
        keep_missing: Accept a list that names files which do not exist.

    Raises:
        InputError: The source has no video, or a line of a list names no file.
    """
    # These import NumPy, which no --help needs.
    from smile_motion.video.pictures import is_animation
    from smile_motion.video.shards import require_whole

    source = Path(source)
    if source.is_dir():
        require_whole(source)
        found = _videos_below(source)
        if not found:
            raise InputError(
                f"{source}: no video below it (looked for {', '.join(SUFFIXES)}, animated WebP and "
                f"APNG, and folders of numbered images alone); {remedy}"
            )
        return found
    if not source.is_file():
        raise InputError(f"{source}: no such file or folder; {remedy}")
    if source.suffix.lower() in SUFFIXES or is_animation(source):
        return [ListedVideo(source, None)]
    if is_archive(source):
        found = _videos_in(source)
        if not found:
            raise InputError(f"{source}: no video in it ({', '.join(SUFFIXES)}); {remedy}")
        return found
    return read_list(source, remedy, keep_missing=keep_missing)


def _videos_below(folder: Path) -> list[ListedVideo]:
    from smile_motion.io.images import IMAGE_SUFFIXES
    from smile_motion.video.pictures import ANIMATIONS, is_animation, numbered_images

    found: list[ListedVideo] = []
    is_video: dict[Path, bool] = {}
    for path in find_files(folder, (*SUFFIXES, *ANIMATIONS, *IMAGE_SUFFIXES, ARCHIVE)):
        kind, home = path.suffix.lower(), path.parent
        if is_archive(path):
            found += _videos_in(path)
        elif kind in SUFFIXES:
            found.append(ListedVideo(path, None))
        else:
            if home not in is_video:
                is_video[home] = bool(numbered_images(home))
                found += [ListedVideo(home, None)] * is_video[home]
            if not is_video[home] and is_animation(path):
                found.append(ListedVideo(path, None))
    return found


def _is_there(path: Path) -> bool:
    """Whether a path leads to a file, a member of a tar, or a folder of numbered images."""
    if locate(path) is not None:
        return True
    if not os.path.isdir(path):  # noqa: PTH112 - long lines
        return False
    from smile_motion.video.pictures import numbered_images

    return bool(numbered_images(path))


def _videos_in(archive: Path) -> list[ListedVideo]:
    from smile_motion.video.shards import open_shard

    shard = open_shard(archive)
    if shard is not None:
        return [
            ListedVideo(archive / f"{record.name}.mp4", record.label) for record in shard.records
        ]
    return [
        ListedVideo(archive / name, None)
        for name in members(archive)
        if Path(name).suffix.lower() in SUFFIXES and is_data(name)
    ]


SUFFIXES = (
    *(".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".ts"),
    *(".flv", ".wmv", ".3gp", ".m2ts", ".mts", ".vob", ".ogv", ".gif"),
)
"""Suffixes of videos."""
_PATHS = (
    *("path", "video_path", "filepath", "file_path", "filename", "file_name", "file", "video"),
    *("video_name", "clip", "name", "video_id", "id"),
)
_LABELS = (
    *("label", "class", "target", "category", "label_id", "class_id", "labels", "class_name"),
    *("class_index", "label_index", "category_id", "action", "y"),
)
_OTHERS = (
    *("frames", "num_frames", "n_frames", "total_frames", "nframes", "frame_count", "length"),
    *("start", "start_frame", "begin", "end", "end_frame", "start_time", "end_time", "start_idx"),
    *("duration", "split", "index", "fps", "width", "height", "num_clips", "size"),
)
"""Names of columns, in the order of preference."""
_BETWEEN = re.compile(r"[ \t,;]+")
_AROUND = " \t,;"
_NUMBER = re.compile(r"-?[0-9]+(\.0*)?")


@dataclass(frozen=True)
class ListedVideo:
    """A video of a list or a folder."""

    path: Path
    """Path of the file, or of a member of a tar, as if that were a folder."""
    label: str | None
    """Label that follows the path in a list; None without one."""
    there: bool = True
    """Whether the file exists."""
    line: int = 0
    """Line of the list, from 1; 0 without a list."""


def read_list(source: Path, remedy: str, *, keep_missing: bool = False) -> list[ListedVideo]:
    """Read a list: lines `path`, `path label`, `path,label`, or with a column between the two.

    Relative paths start at the list's folder, and may lead into a tar. A first line may name the
    columns. Of three columns the middle one, a number of frames or a start, is ignored. Paths may
    contain spaces and commas, quoted or not.

    Args:
        source: Path of the list.
        remedy: Remedy named in errors.
        keep_missing: Accept lines that name files which do not exist.

    Raises:
        InputError: The list is empty, or a line names no file.
    """
    what = f"neither a video ({', '.join(SUFFIXES)}) nor a list of some; {remedy}"
    lines = [
        (number, line.strip())
        for number, line in enumerate(read_lines(source, remedy=what, names_files=True), start=1)
        if line.strip()
    ]
    columns = _header(lines[0][1], source.parent) if lines else None
    videos = []
    for number, line in lines[columns is not None :]:
        if columns is not None and (separator := _separator(lines[0][1])):
            path, label, there = _read_row(line, columns, separator, f"{source}:{number}", source)
        else:
            path, label, there = _read_line(line, source.parent)
        if not there and not keep_missing:
            known = shortened(line, 120)
            places = (source.parent / line[:cut] for cut in _cuts(line))
            if any(os.path.isdir(place) for place in places):  # noqa: PTH112 - long lines
                raise InputError(
                    f"{source}:{number}: {known}: names a folder; name videos, or a folder that "
                    f"holds numbered images alone"
                )
            raise InputError(
                f"{source}:{number}: {known}: names no file; "
                f"correct the line, or give paths relative to {source.parent}"
            )
        videos.append(ListedVideo(path, label, there, number))
    if not videos:
        raise InputError(f"{source}: an empty list; write a line per video: path label")
    return _without_middle(videos)


def _header(line: str, folder: Path) -> list[str] | None:
    """Return the names of columns if the first line has them."""
    words = [word.strip("\"' ").lower() for word in _BETWEEN.split(line.lstrip("#").strip(_AROUND))]
    known = set(_PATHS) | set(_LABELS) | set(_OTHERS)
    if not set(words) <= known or not set(words) & set(_PATHS) or locate(folder / line) is not None:
        return None
    return words


def _separator(header: str) -> str | None:
    return next((mark for mark in ",;\t" if mark in header), None)


def _read_row(
    line: str, columns: Sequence[str], separator: str, where: str, source: Path
) -> tuple[Path, str | None, bool]:
    """Parse a row by the columns of the header."""
    row = [field.strip() for field in next(csv.reader([line], delimiter=separator))]
    if len(row) != len(columns):
        raise InputError(
            f"{where}: {shortened(line, 120)}: {len(row)} columns, the first line names "
            f"{len(columns)}; put what holds a {separator!r} in quotation marks"
        )
    path_at = next(columns.index(name) for name in _PATHS if name in columns)
    label_at = next((columns.index(name) for name in _LABELS if name in columns), None)
    path = source.parent / row[path_at]
    return path, (row[label_at] or None) if label_at is not None else None, _is_there(path)


def _read_line(line: str, folder: Path) -> tuple[Path, str | None, bool]:
    """Split a line into path and label: the longest leading part that names a file is the path.

    If none does, the path ends with the suffix of a video, else before the last word.
    """
    if line.startswith('"') and '"' in line[1:]:
        name, _, rest = line[1:].partition('"')
        path = folder / name
        return path, rest.strip(_AROUND).strip('"') or None, _is_there(path)
    cuts = _cuts(line)
    for cut in cuts:
        path = folder / line[:cut].rstrip(_AROUND)
        if _is_there(path):
            return path, line[cut:].strip(_AROUND).strip('"') or None, True
    named = [at for at in reversed(cuts) if line[:at].lower().endswith(SUFFIXES)]
    cut = named[0] if named else cuts[1] if len(cuts) > 1 else len(line)
    path = folder / line[:cut].rstrip(_AROUND)
    return path, line[cut:].strip(_AROUND).strip('"') or None, False


def _cuts(line: str) -> list[int]:
    """Return the positions that a path may end at, the farthest first."""
    return [len(line), *(at for at in range(len(line) - 1, 0, -1) if line[at] in _AROUND)]


def _without_middle(videos: list[ListedVideo]) -> list[ListedVideo]:
    """Take the label from what follows every path, where that is a number and a label.

    `120 3` is; so is `120 walking`, where walking comes with another number as well.
    """
    parts = [_BETWEEN.split(video.label or "") for video in videos]
    if not all(len(words) == 2 and _NUMBER.fullmatch(words[0]) for words in parts):
        return videos
    are_numbers = all(_NUMBER.fullmatch(label) for _, label in parts)
    pairs = {(number, label) for number, label in parts}
    if not are_numbers and len(pairs) == len({label for _, label in parts}):
        return videos
    return [
        ListedVideo(video.path, words[1], video.there, video.line)
        for video, words in zip(videos, parts, strict=True)
    ]
