"""What adapters of published data sets share: finding files, counting, reading tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from smile_motion.errors import InputError
from smile_motion.io.files import read_text
from smile_motion.io.folders import is_data
from smile_motion.io.schema import LARGEST_BYTES, read
from smile_motion.video.tar import is_archive, locate

from smile_train.datasets.base import LabeledVideo, LabeledVideos, Span, Split, Task
from smile_train.datasets.registry import DatasetPlace

Schema = TypeVar("Schema")
DOWNLOAD = "download it again"
"""What to do about a damaged annotation file."""


def find_annotation(place: DatasetPlace, *names: str) -> Path:
    """The first of some annotation files that is there, in --annotations or below the root.

    Raises:
        InputError: Naming them all when none is.
    """
    folders = [place.annotations] if place.annotations else [place.root, *_likely(place.root)]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    where = place.annotations or place.root
    raise InputError(
        f"{where}: none of {', '.join(names)} in it; download the annotations of {place.name} and "
        f"say where they are with --annotations"
    )


def _likely(root: Path) -> list[Path]:
    names = ("annotations", "labels", "annotation", "lists")
    return [root / name for name in names if (root / name).is_dir()]


@contextmanager
def reading(place: DatasetPlace, path: Path) -> Iterator[None]:
    """Name data set and file where a field is not there or cannot be understood.

    Raises:
        InputError: Instead of what looking it up raised.
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not understood as annotations of {place.name} "
            f"({type(error).__name__}: {error}); damaged, or of another version: download it again"
        ) from error


def read_csv(path: Path, *columns: str, delimiter: str = ",") -> list[dict[str, str]]:
    """Rows of a table with a header.

    Raises:
        InputError: A column that is needed is not there.
    """
    text = io.StringIO(read_text(path, remedy=DOWNLOAD), newline="")
    reader = csv.DictReader(text, delimiter=delimiter)
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path}: no column {missing[0]!r} (it has {', '.join(reader.fieldnames or ())}); "
                f"annotations of another version?"
            )
        return list(reader)
    except csv.Error as error:
        raise InputError(f"{path}: no table of commas ({error}); {DOWNLOAD}") from error


def read_json(path: Path, schema: type[Schema]) -> Schema:
    """Read JSON by a schema; what it does not name is left out.

    Raises:
        InputError: A part that is needed is not there, or something else.
    """
    remedy = f"damaged, or of another version: {DOWNLOAD}"
    return read(path, schema, remedy=remedy, unknown="ignore", largest=LARGEST_BYTES)


def require_count(found: int, expected: Iterable[int] | int, what: str, where: Path) -> None:
    """Raise InputError when a count is not an official one."""
    allowed = [expected] if isinstance(expected, int) else list(expected)
    if found not in allowed:
        official = " or ".join(f"{count:,}" for count in allowed)
        raise InputError(
            f"{where}: {found:,} {what}, officially {official}; annotations of another version, or "
            f"cut short: download them again"
        )


def build_split(
    place: DatasetPlace,
    split: Split,
    rows: Sequence[tuple[str, Any, Span | None]],
    candidates: Callable[[str], Iterable[str]],
    *,
    classes: Sequence[str],
    task: Task = "single-label",
    flip_safe: bool = True,
    keys: Mapping[int, str] | None = None,
) -> LabeledVideos:
    """Find the files of a split's samples.

    Args:
        rows: Name, target and, where it is a part of a file, span of each sample.
        candidates: Where the file of a name may be, from the data set's folder on; the first one
            that is there is taken.
        keys: Keys of samples by number, where names are not unique.

    Raises:
        InputError: Videos are missing and `place.allow_missing` is not given, or when all are.
    """
    videos, missing, there = [], [], Listings(place.root)
    for number, (name, target, span) in enumerate(rows):
        paths = tuple(candidates(name))
        path = next(filter(there.has, paths), None)
        if path is None:  # HandstandPushups, HandStandPushups; clip.MP4
            path = next(filter(None, map(there.alike, paths)), None)
        if path is None:
            missing.append(paths[0])
            continue
        key = keys[number] if keys else name
        found = _below(place.root, path)
        videos.append(LabeledVideo(key=key, path=found, target=target, span=span))
    if missing:
        missing[0] = str(_below(place.root, missing[0]))
    refuse_missing(place, split, missing, len(rows))
    return LabeledVideos(
        name=place.name,
        split=split,
        task=task,
        videos=tuple(videos),
        classes=tuple(classes),
        flip_safe=flip_safe,
        partial=bool(missing),
        missing=bool(missing),
    )


def refuse_missing(place: DatasetPlace, split: Split, missing: Sequence[str], total: int) -> None:
    """Raise InputError when all of a split's videos are missing, or some that may not be."""
    if missing and (not place.allow_missing or len(missing) == total):
        raise InputError(
            f"{place.name}, {split}: {len(missing):,} of {total:,} videos are missing, such as "
            f"{missing[0]}; check --data, or leave them out with --allow-missing"
        )


class Listings:
    """Which files there are, a listing for each folder: to ask for every one of a hundred thousand
    takes minutes on a network's disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[str, frozenset[str] | None] = {}
        self._alike: dict[str, tuple[str, dict[str, str | None]]] = {}

    def has(self, path: str) -> bool:
        """Whether a file below the root, or a member of a tar, is there."""
        folder, _, name = path.rpartition("/")
        names = self._listed(folder)
        return locate(_below(self.root, path)) is not None if names is None else name in names

    def alike(self, path: str) -> str | None:
        """The path that differs from one at most by case, if there is just one."""
        folder, _, name = path.rpartition("/")
        if folder not in self._alike:
            self._alike[folder] = self._fold(folder)
        there, names = self._alike[folder]
        found = names and names.get(name.lower())
        return f"{there}/{found}" if found else None

    def _fold(self, folder: str) -> tuple[str, dict[str, str | None]]:
        """The folder that is there in place of one, and its names by themselves without case."""
        there = folder
        if folder and not self._listed(folder):
            found = self.alike(folder)
            if found is None or found == folder:
                return folder, {}
            there = found
        alike: dict[str, str | None] = {}
        for name in self._listed(there) or ():
            alike[name.lower()] = None if name.lower() in alike else name
        return there, alike

    def _listed(self, folder: str) -> frozenset[str] | None:
        """Names in a folder; None inside a tar."""
        if folder not in self._names:
            place = _below(self.root, folder)
            try:
                names = (entry.name for entry in place.iterdir())
                self._names[folder] = frozenset(name for name in names if is_data(name))
            except OSError:
                inside = any(map(is_archive, (place, *place.parents)))
                self._names[folder] = None if inside else frozenset()
        return self._names[folder]


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")  # where the folder's own name is empty


def only_splits(place: DatasetPlace, split: Split, *splits: Split) -> None:
    """Raise InputError for a split whose labels are not public."""
    if split not in splits:
        raise InputError(
            f"{place.name}: no labels of a {split} split are public; use {' or '.join(splits)}"
        )
