"""UCFRep, as the SEVERE benchmark counts repetitions in it (UCF-RC).

    ROOT/  annotations/  train/v_BenchPress_g01_c01.mat  …    val/…
           UCF-101/BenchPress/v_BenchPress_g01_c01.avi         (or class folders in ROOT)

A sample is the stretch of a UCF-101 video from `start_frame` to `end_frame`, its count the cycles
between the `temporal_bound`s; files with fewer than three bounds are left out, as SEVERE does. 421
or 422 training and 105 or 106 test videos (the paper and SEVERE differ by one); the test split is
called validation here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.io.folders import find_files

from smile_train.datasets.annotations import build_split, require_count
from smile_train.datasets.base import LabeledVideos, Span, Split
from smile_train.datasets.registry import DatasetPlace

SIZES: dict[Split, tuple[int, ...]] = {
    "train": (421, 422),
    "validation": (105, 106),
    "test": (105, 106),
}
FOLDERS = ("UCF-101", "videos", "")


def read(
    place: DatasetPlace, split: Split, *, sizes: dict[Split, tuple[int, ...]] | None = None
) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says.

    Args:
        sizes: Allowed numbers of videos; the official ones by default.
    """
    folder = (place.annotations or place.root / "annotations") / (
        "train" if split == "train" else "val"
    )
    files = find_files(folder, (".mat",), nested=False) if folder.is_dir() else []
    if not files:
        raise InputError(
            f"{folder}: no .mat files in it; get UCFRep's annotations and give --annotations"
        )
    found = [(path.stem, *_read_annotation(path)) for path in files]
    require_count(len(found), (sizes or SIZES)[split], f"{split} videos", folder)
    rows = [(name, float(count), span) for name, count, span in found if count >= 2]

    def candidates(name: str) -> Iterator[str]:
        label = name.removeprefix("v_").rsplit("_", 2)[0]
        for outer in FOLDERS:
            for suffix in (".avi", ".mp4"):
                yield f"{outer}/{label}/{name}{suffix}"

    return build_split(place, split, rows, candidates, classes=(), task="count")


def _read_annotation(path: Path) -> tuple[int, Span]:
    """Cycles between bounds, and the frames that they lie in."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    refused = (MatReadError, LookupError, ValueError, TypeError, NotImplementedError)
    try:
        label: Any = loadmat(path)["label"][0, 0]
        bounds = label["temporal_bound"].ravel()
        begin, end = (int(label[name].ravel()[0]) for name in ("start_frame", "end_frame"))
    except (*refused, OverflowError, OSError) as error:
        raise InputError(f"{path}: not an annotation of UCFRep ({error}); get it again") from error
    # Frames are counted from 1, the last one included.
    return len(bounds) - 1, Span(begin - 1, end, "frames")
