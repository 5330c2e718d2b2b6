"""Objects from a tree of images that already have transparency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smile_motion.bank.layout import read_rgba
from smile_motion.bank.sources import SourceObject
from smile_motion.errors import InputError
from smile_motion.file_tree import find_files
from smile_motion.files import dump_lines, sha256
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.text_files import read_lines

SUFFIXES = (".png", ".webp")
LARGEST_STORED_PX = 512
"""Objects with a longer side are made smaller."""
ROOT_CATEGORY = "object"
"""Category of files that lie in no folder of their own."""


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """RGBA images; the category is the name of the folder that a file lies in."""

    root: Path
    """Folder that `files` are relative to."""
    files: tuple[str, ...]
    """Chosen files, sorted."""

    @classmethod
    def open(
        cls, root: Path, *, list_file: Path | None = None, count: int | None = None, seed: int = 0
    ) -> FolderSource:
        """Find the images.

        list_file  lines such as `category/0.png`, relative to `root`, select files.
        count      how many to take, balanced over categories; all of them by default.
        Raises InputError when there are none, fewer than `count`, or a line names no file.
        """
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder of RGBA images with --from")
        if list_file is not None:
            files = _listed(root, list_file)
        else:
            found = find_files(root, SUFFIXES)
            files = sorted(path.relative_to(root).as_posix() for path in found)
        if not files:
            raise InputError(f"{root}: no {' or '.join(SUFFIXES)} file below it; check --from")
        if count is not None and count > len(files):
            raise InputError(
                f"{root}: {len(files)} images, fewer than --n {count}; lower --n or leave it out"
            )
        if count is not None:
            files = _balanced(files, count, seed)
        return cls(root=root, files=tuple(files))

    @property
    def count(self) -> int:
        """How many objects there are."""
        return len(self.files)

    def make(self, number: int) -> SourceObject:
        """Read, crop and bound one image.

        Raises InputError when it cannot be read or has no opaque pixel.
        """
        file = self.files[number]
        rgba = read_rgba(self.root / file)
        rows = np.flatnonzero((rgba[..., 3] > 0).any(axis=1))
        columns = np.flatnonzero((rgba[..., 3] > 0).any(axis=0))
        rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        # The index keeps apart files whose names differ in suffix or in folders above.
        name = f"{Path(file).stem}-{number:06d}"
        return SourceObject(name, _category(file), _bounded(rgba), {"original": file})

    def card(self) -> dict[str, Any]:
        """What the bank's card says of the source."""
        listed = sha256(dump_lines({"file": file} for file in self.files))
        return {
            "source": "folder",
            "folder": self.root.name,
            "files": len(self.files),
            "files_sha256": listed,
            "licence": "that of the original images",
        }


def _category(file: str) -> str:
    parent = Path(file).parent.name
    return parent or ROOT_CATEGORY


def _listed(root: Path, list_file: Path) -> list[str]:
    files = []
    lines = read_lines(list_file, remedy="check --list", names_files=True)
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
            raise InputError(f"{list_file}:{number}: {name}: no such file below {root}")
        files.append(Path(name).as_posix())
    return sorted(set(files))


def _balanced(files: list[str], count: int, seed: int) -> list[str]:
    """Take one random file of each category in turn until there are enough."""
    groups: dict[str, list[str]] = {}
    for file in files:
        groups.setdefault(_category(file), []).append(file)
    queues = []
    for index, category in enumerate(sorted(groups)):
        rng = keyed_generator(seed, Stream.OBJECT, index=index)
        queues.append([groups[category][place] for place in rng.permutation(len(groups[category]))])
    turns = [
        queue[turn]
        for turn in range(max(map(len, queues)))
        for queue in queues
        if turn < len(queue)
    ]
    return sorted(turns[:count])


def _bounded(rgba: np.ndarray) -> np.ndarray:
    factor = LARGEST_STORED_PX / max(rgba.shape[:2])
    if factor >= 1:
        return np.ascontiguousarray(rgba)
    height, width = (max(1, round(side * factor)) for side in rgba.shape[:2])
    alpha = rgba[..., 3:].astype(np.float32) / 255
    premultiplied = np.dstack([rgba[..., :3] * alpha, alpha])
    small = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
    straight = small[..., :3] / np.maximum(small[..., 3:], 1e-6)
    return np.rint(np.dstack([straight, small[..., 3:] * 255])).clip(0, 255).astype(np.uint8)
