"""Objects from a folder of images, animations and videos that have an alpha channel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.bank.builder.sources import SourceObject
from smile_motion.bank.format import read_rgba, shrink
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, read_lines, sha256
from smile_motion.io.folders import find_files
from smile_motion.io.images import (
    IMAGE_SUFFIXES,
    UNREAD_SUFFIXES,
    count_types,
    say_counts,
)
from smile_motion.io.options import MOST_POSES
from smile_motion.seeding import Stream, keyed_generator

SUFFIXES = (".png", ".webp", ".gif", ".apng")
"""Suffixes of images, which may be animated."""
LARGEST_STORED_PX = 512
"""Longest side of a stored object, pixels; larger ones are reduced."""
ROOT_CATEGORY = "object"
"""Category of files that are in no subfolder."""
_OPAQUE = ("without transparency", "videos without alpha that can be decoded")
"""Reasons of leaving out an image and a video."""
CUT_OUT = "cut objects out of photographs with --source images"


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """RGBA images of a folder; the name of a file's folder is its category.

    Of animated images, and of videos with alpha, the frames become the poses of one object.
    """

    root: Path
    """Folder that `files` are relative to."""
    files: tuple[str, ...]
    """Selected files, sorted."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of files that were left out, by reason."""
    poses: int = MOST_POSES
    """Largest number of poses of an object; 1 for still objects alone."""

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        list_file: Path | None = None,
        count: int | None = None,
        seed: int = 0,
        poses: int = MOST_POSES,
    ) -> FolderSource:
        """Find the images and videos below a folder; those without transparency are left out.

        Args:
            root: Folder of the images.
            list_file: Text file that selects images, one per line, relative to `root`, such as
                `category/0.png`.
            count: Number of images to take, balanced over categories; all by default.
            seed: Seed of the choice among more images than `count`.
            poses: Largest number of poses of an animated object, of whose frames so many are taken,
                evenly spaced; 1 takes the first alone.

        Raises:
            InputError: There are no images, fewer than `count`, a line names a file that is missing
                or has no transparency, or `poses` is out of range.
        """
        from smile_motion.bank.builder.animations import VIDEOS, has_alpha

        if not 1 <= poses <= MOST_POSES:
            raise InputError(f"--poses is {poses}; an object has 1 to {MOST_POSES}")
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder of RGBA images with --from")
        if list_file is not None:
            files, left_out = _listed(root, list_file), {}
        else:
            read = (*SUFFIXES, *VIDEOS)
            found = find_files(root, {*IMAGE_SUFFIXES, *UNREAD_SUFFIXES, *read})
            kept, opaque = [], Counter[str]()
            for path in found:
                if path.suffix.lower() not in read:
                    continue
                if has_alpha(path):
                    kept.append(path)
                else:
                    opaque[_OPAQUE[path.suffix.lower() in VIDEOS]] += 1
            left_out = count_types(path for path in found if path.suffix.lower() not in read)
            left_out |= dict(sorted(opaque.items(), reverse=True))
            files = sorted(path.relative_to(root).as_posix() for path in kept)
        if not files:
            there = f" ({say_counts(left_out)}; {CUT_OUT})" if left_out else ""
            raise InputError(
                f"{root}: no image or video with transparency below it{there}; check --from"
            )
        if count is not None and count > len(files):
            raise InputError(
                f"{root}: {len(files)} images, fewer than --n {count}; lower --n or leave it out"
            )
        if count is not None:
            files = _balanced(files, count, seed)
        return cls(root=root, files=tuple(files), left_out=left_out, poses=poses)

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.files)

    def make(self, number: int) -> SourceObject:
        """Read image or video `number`, crop it to its alpha and bound its size.

        Raises:
            InputError: It cannot be read, has no opaque pixel, or only opaque ones.
        """
        from smile_motion.bank.builder.animations import AnimatedFile, read_poses_of

        file = self.files[number]
        # The number tells apart files that differ only in suffix or in a folder above.
        name = f"{Path(file).stem}-{number:06d}"
        moving = AnimatedFile.open(self.root / file)
        if moving.count > 1 or Path(file).suffix.lower() not in (".png", ".webp", ".apng"):
            poses, details = read_poses_of(moving, most=self.poses, largest_px=LARGEST_STORED_PX)
            if len(poses) == 1:
                return SourceObject(name, _category(file), poses[0], {"original": file})
            return SourceObject(name, _category(file), poses, {"original": file, **details})
        rgba = read_rgba(self.root / file)
        if rgba[..., 3].min() == 255:
            raise InputError(
                f"{self.root / file}: opaque to its corners; remove it, give it a transparent "
                f"border if it is an object, or {CUT_OUT}"
            )
        rows = np.flatnonzero((rgba[..., 3] > 0).any(axis=1))
        columns = np.flatnonzero((rgba[..., 3] > 0).any(axis=0))
        rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return SourceObject(
            name,
            _category(file),
            shrink(np.ascontiguousarray(rgba), LARGEST_STORED_PX),
            {"original": file},
        )

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the source."""
        listed = sha256(dump_lines({"file": file} for file in self.files))
        return {
            "source": "folder",
            "folder": self.root.name,
            "files": len(self.files),
            "files_sha256": listed,
            "licence": "that of the original images",
            **({"left_out": self.left_out} if self.left_out else {}),
            **({"poses": self.poses} if self.poses != MOST_POSES else {}),
        }


def _category(file: str) -> str:
    parent = Path(file).parent.name
    return parent or ROOT_CATEGORY


def _listed(root: Path, list_file: Path) -> list[str]:
    from smile_motion.bank.builder.animations import has_alpha

    files = []
    lines = read_lines(list_file, remedy="check --list", names_files=True)
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
            raise InputError(f"{list_file}:{number}: {name}: no such file below {root}")
        if not has_alpha(path):
            raise InputError(f"{list_file}:{number}: {name}: has no transparency; {CUT_OUT}")
        files.append(Path(name).as_posix())
    return sorted(set(files))


def _balanced(files: list[str], count: int, seed: int) -> list[str]:
    """Take one random file of each category in turn until there are `count`."""
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
