"""UCF-101 and HMDB-51, whose three official splits are folds.

    UCF/   ucfTrainTestlist/  classInd.txt  trainlist01.txt  testlist01.txt  …
           UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi     (or class folders in UCF/)
    HMDB/  testTrainMulti_7030_splits/  brush_hair_test_split1.txt  …
           brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi    (or in videos/, hmdb51_org/)

UCF-101: 101 classes, 9,537/3,783, 9,586/3,734 and 9,624/3,696 videos. HMDB-51: 51 classes, 70
training and 30 test videos of each. Their test split is called validation here. Flips keep labels.
"""

from __future__ import annotations

from collections.abc import Iterator

from smile_motion.errors import InputError
from smile_motion.io.files import read_lines
from smile_motion.io.folders import find_files

from smile_train.datasets.annotations import (
    DOWNLOAD,
    build_split,
    find_annotation,
    reading,
    require_count,
)
from smile_train.datasets.base import LabeledVideos, Split
from smile_train.datasets.registry import DatasetPlace

UCF_CLASSES, HMDB_CLASSES = 101, 51
UCF_SIZES = {1: (9_537, 3_783), 2: (9_586, 3_734), 3: (9_624, 3_696)}
"""Training and test videos of each fold."""
HMDB_SIZES = (70 * HMDB_CLASSES, 30 * HMDB_CLASSES)
UCF_FOLDERS = ("UCF-101", "videos", "")
HMDB_FOLDERS = ("", "videos", "hmdb51_org", "hmdb51")


def read(
    place: DatasetPlace, split: Split, *, sizes: tuple[int, int] | None = None
) -> LabeledVideos:
    """Read a split of the fold; raises InputError as `open_split` says.

    Args:
        sizes: Training and test videos; the official ones by default.
    """
    if place.fold not in UCF_SIZES:
        raise InputError(f"--fold is {place.fold}; there are folds 1, 2 and 3")
    which = 0 if split == "train" else 1
    if place.name == "ucf101":
        return _read_ucf(place, split, (sizes or UCF_SIZES[place.fold])[which])
    return _read_hmdb(place, split, (sizes or HMDB_SIZES)[which])


def _read_ucf(place: DatasetPlace, split: Split, size: int) -> LabeledVideos:
    inner = "ucfTrainTestlist"
    index = find_annotation(place, "classInd.txt", f"{inner}/classInd.txt")
    lines = [line.split() for line in read_lines(index, remedy=DOWNLOAD) if line.strip()]
    with reading(place, index):
        classes = [name for _, name in sorted((int(number), name) for number, name in lines)]
    require_count(len(classes), UCF_CLASSES, "classes", index)
    # Some releases write HandstandPushups, others HandStandPushups.
    numbers = {name.lower(): number for number, name in enumerate(classes)}
    part = "trainlist" if split == "train" else "testlist"
    name = f"{part}{place.fold:02d}.txt"
    path = find_annotation(place, name, f"{inner}/{name}")
    rows = []
    for line in read_lines(path, remedy=DOWNLOAD):
        if not line.strip():
            continue
        video = line.split()[0]
        label = video.partition("/")[0]
        if label.lower() not in numbers:
            raise InputError(f"{path}: {video}: no class {label} in {index}; files of one release?")
        rows.append((video, numbers[label.lower()], None))
    require_count(len(rows), size, f"{split} videos of fold {place.fold}", path)

    def candidates(name: str) -> Iterator[str]:
        for folder in UCF_FOLDERS:
            for suffix in (".avi", ".mp4"):
                yield f"{folder}/{name.removesuffix('.avi')}{suffix}"

    return build_split(place, split, rows, candidates, classes=classes)


def _read_hmdb(place: DatasetPlace, split: Split, size: int) -> LabeledVideos:
    ending = f"_test_split{place.fold}.txt"
    folder = place.annotations or place.root / "testTrainMulti_7030_splits"
    lists = find_files(folder, (ending,), nested=False) if folder.is_dir() else []
    require_count(len(lists), HMDB_CLASSES, f"files *{ending}", folder)
    classes = [path.name.removesuffix(ending) for path in lists]
    mark = "1" if split == "train" else "2"
    rows, where = [], {}
    for number, path in enumerate(lists):
        for line in read_lines(path, remedy=DOWNLOAD):
            words = line.rsplit(maxsplit=1)
            if len(words) == 2 and words[1] == mark:
                rows.append((words[0], number, None))
                where[words[0]] = classes[number]
    require_count(len(rows), size, f"{split} videos of fold {place.fold}", folder)

    def candidates(name: str) -> Iterator[str]:
        for outer in HMDB_FOLDERS:
            for suffix in (".avi", ".mp4"):
                stem = name.removesuffix(".avi")
                yield f"{outer}/{where[name]}/{stem}{suffix}"

    return build_split(place, split, rows, candidates, classes=classes)
