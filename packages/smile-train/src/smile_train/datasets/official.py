"""What adapters of published data sets share: finding files, counting, reading tables."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.files import parse_json
from smile_motion.video.archives import ARCHIVE, locate

from smile_train.datasets.adapter import DatasetPlace
from smile_train.datasets.labelled import LabelledVideo, LabelledVideos, Span, Split, Task


def find_annotation(place: DatasetPlace, *names: str) -> Path:
    """The first of some annotation files that is there, in --annotations or below the root.

    Raises InputError naming them all when none is.
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

    Raises InputError instead of what looking it up raised.
    """
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not understood as annotations of {place.name} "
            f"({type(error).__name__}: {error}); damaged, or of another version: download it again"
        ) from error


def read_csv(path: Path, *columns: str, delimiter: str = ",") -> list[dict[str, str]]:
    """Rows of a table with a header.

    Raises InputError when a column that is needed is not there.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path}: no column {missing[0]!r} (it has {', '.join(reader.fieldnames or ())}); "
                f"annotations of another version?"
            )
        return list(reader)


def read_json(path: Path) -> Any:
    """Read JSON; raises InputError when it is none."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); download it again") from error


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
) -> LabelledVideos:
    """Find the files of a split's samples.

    rows        of each sample its name, its target, and its span, if it is a part of a file.
    candidates  where the file of a name may be, from the data set's folder on; the first one that
                is there is taken.
    keys        of samples by number, where names are not unique.
    Raises InputError when videos are missing and `place.allow_missing` is not given, or when all
    are.
    """
    videos, missing, there = [], [], Listings(place.root)
    for number, (name, target, span) in enumerate(rows):
        path = next((path for path in candidates(name) if there.has(path)), None)
        if path is None:
            missing.append(_below(place.root, next(iter(candidates(name)))))
            continue
        key = keys[number] if keys else name
        found = _below(place.root, path)
        videos.append(LabelledVideo(key=key, path=found, target=target, span=span))
    judge_missing(place, split, missing, len(rows))
    return LabelledVideos(
        name=place.name,
        split=split,
        task=task,
        videos=tuple(videos),
        classes=tuple(classes),
        flip_safe=flip_safe,
        partial=bool(missing),
        missing=bool(missing),
    )


def judge_missing(place: DatasetPlace, split: Split, missing: Sequence[Path], total: int) -> None:
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

    def has(self, path: str) -> bool:
        """Whether a file below the root, or a member of a tar, is there."""
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            place = _below(self.root, folder)
            try:
                self._names[folder] = frozenset(entry.name for entry in place.iterdir())
            except OSError:
                inside = any(parent.suffix == ARCHIVE for parent in (place, *place.parents))
                self._names[folder] = None if inside else frozenset()
        names = self._names[folder]
        return locate(_below(self.root, path)) is not None if names is None else name in names


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")  # where the folder's own name is empty


def only_splits(place: DatasetPlace, split: Split, *splits: Split) -> None:
    """Raise InputError for a split whose labels are not public."""
    if split not in splits:
        raise InputError(
            f"{place.name}: no labels of a {split} split are public; use {' or '.join(splits)}"
        )
