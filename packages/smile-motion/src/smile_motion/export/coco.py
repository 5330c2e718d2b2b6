"""Clips as PNG frames with masks in the JSON of COCO or YouTube-VIS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from smile_motion.bank.dataset_card import license_url
from smile_motion.export.base import ClipFolders, Line, NumberedClip, clip_name
from smile_motion.export.png_folders import FRAME_NAME, frame_files
from smile_motion.io.files import replacing
from smile_motion.io.schema import read_record

if TYPE_CHECKING:
    from smile_motion.clips.clip import ClipMaker

ANNOTATIONS = "annotations.json"
"""File of a clip's part of the collection's JSON."""
LICENSE_ID = 1
"""Number of the license of all images."""
Layout = Literal["coco", "youtube-vis"]
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class _RunLengths:
    """A mask as compressed run lengths of pycocotools."""

    size: tuple[int, int]
    counts: str


@dataclass(frozen=True, kw_only=True)
class _Thing:
    """An object of a clip: its visible part in each frame."""

    category_id: Annotated[int, Ge(1)]
    segmentations: list[_RunLengths | None]
    bboxes: list[tuple[float, float, float, float] | None]
    areas: list[Annotated[int, Ge(1)] | None]


@dataclass(frozen=True, kw_only=True)
class _Annotations:
    """A clip's part of the collection's JSON."""

    objects: list[_Thing]


@dataclass(frozen=True, kw_only=True)
class Coco(ClipFolders):
    """`clip_000000/frames/00000.png`, and one JSON for all clips, `instances.json`.

    Masks are the visible parts of objects, run-length encoded; boxes are theirs: x, y, width,
    height with the upper left corner of a pixel at integers. Categories are numbered from 1 in the
    bank's order. The one license is that of the bank, with the attribution that it asks for.
    """

    contents: ClassVar[str] = (
        "`clip_000000/frames/00000.png`, `clip.json` with plan and truth; `instances.json` "
        "has the masks of all clips."
    )

    layout: Layout
    """COCO has an annotation per object and frame; YouTube-VIS one per object and clip."""

    needs: ClassVar[tuple[str, ...]] = ("pycocotools",)

    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Encode the frames and masks of a clip."""
        plan, bank = clip.clip.plan, clip.clip.truth.bank
        objects = [
            {
                "category_id": int(bank.category[index]) + 1,
                **_masks(clip.clip.truth.ids == slot + 1),
            }
            for slot, index in enumerate(plan.objects)
        ]
        data = json.dumps({"objects": objects}).encode()
        return frame_files(clip.clip.frames) | {ANNOTATIONS: data}

    def finish(self, folder: Path, maker: ClipMaker, lines: list[Line]) -> tuple[str, ...]:
        """Write the JSON of all clips from their parts, one at a time."""
        indexes = [line["index"] for line in lines]
        categories = [
            {"id": number, "name": name, "supercategory": "object"}
            for number, name in enumerate(maker.bank.categories, start=1)
        ]
        info = {"description": f"{len(indexes)} clips of moving objects", "version": "1"}
        if self.layout == "coco":
            things, rows = ("images", _images), _per_frame
        else:
            things, rows = ("videos", _videos), _per_clip

        with (
            replacing(folder / "instances.json") as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            stated = json.dumps([_license(maker)], ensure_ascii=False)
            file.write(f'{{"info": {json.dumps(info)}, "licenses": {stated},\n')
            _dump(file, things[0], things[1](indexes, maker))
            _dump(file, "annotations", rows(folder, indexes, maker))
            file.write(f'"categories": {json.dumps(categories, ensure_ascii=False)}}}\n')
        return ("instances.json", *super().finish(folder, maker, lines))


def _masks(masks: np.ndarray) -> dict[str, list[Any]]:
    """Run lengths, boxes and areas of (T, H, W) bool masks; None for empty masks."""
    from pycocotools import mask as coder

    encoded: Any = coder.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    areas: list[int] = np.asarray(coder.area(encoded)).tolist()
    boxes: list[list[float]] = np.asarray(coder.toBbox(encoded)).tolist()
    return {
        "segmentations": [
            {"size": entry["size"], "counts": entry["counts"].decode()} if area else None
            for entry, area in zip(encoded, areas, strict=True)
        ],
        "bboxes": [box if area else None for box, area in zip(boxes, areas, strict=True)],
        "areas": [area or None for area in areas],
    }


def _dump(file: IO[str], name: str, rows: Rows) -> None:
    """Write a member of a JSON object whose value is a long list, row by row."""
    file.write(f'"{name}": [')
    for number, row in enumerate(rows):
        file.write((",\n" if number else "\n") + json.dumps(row))
    file.write("],\n")


def _license(maker: ClipMaker) -> dict[str, Any]:
    """The license of the objects; the files behind them have their own."""
    card = maker.bank.card
    said = card.get("licence")
    stated = {"id": LICENSE_ID, "name": said or "not stated", "url": license_url(said)}
    named = card.get("attribution")
    return stated | ({"attribution": named} if named else {})


def _images(indexes: list[int], maker: ClipMaker) -> Rows:
    height, width = maker.size
    for index in indexes:
        for t, name in enumerate(_frame_names(index, maker)):
            yield {
                "id": _image_id(index, t, maker),
                "file_name": name,
                "height": height,
                "width": width,
                "license": LICENSE_ID,
                "video_id": index + 1,
                "frame_id": t,
            }


def _videos(indexes: list[int], maker: ClipMaker) -> Rows:
    height, width = maker.size
    for index in indexes:
        yield {
            "id": index + 1,
            "file_names": _frame_names(index, maker),
            "height": height,
            "width": width,
            "license": LICENSE_ID,
            "length": maker.frames,
        }


def _per_frame(folder: Path, indexes: list[int], maker: ClipMaker) -> Rows:
    number = 0
    for track, (index, thing) in enumerate(_objects(folder, indexes), start=1):
        for t, mask in enumerate(thing["segmentations"]):
            if mask is not None:
                number += 1
                yield {
                    "id": number,
                    "image_id": _image_id(index, t, maker),
                    "category_id": thing["category_id"],
                    "segmentation": mask,
                    "bbox": thing["bboxes"][t],
                    "area": thing["areas"][t],
                    "iscrowd": 0,
                    "track_id": track,
                }


def _per_clip(folder: Path, indexes: list[int], maker: ClipMaker) -> Rows:
    height, width = maker.size
    for track, (index, thing) in enumerate(_objects(folder, indexes), start=1):
        if any(thing["areas"]):
            yield {
                "id": track,
                "video_id": index + 1,
                "height": height,
                "width": width,
                "length": maker.frames,
                "iscrowd": 0,
                **thing,
            }


def _objects(folder: Path, indexes: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    for index in indexes:
        path = folder / clip_name(index) / ANNOTATIONS
        remedy = f"delete {path.parent} and render again, which makes it anew"
        part = read_record(path, _Annotations, remedy=remedy, unknown="refuse")
        for thing in part["objects"]:
            yield index, thing


def _frame_names(index: int, maker: ClipMaker) -> list[str]:
    return [f"{clip_name(index)}/frames/{FRAME_NAME.format(t)}.png" for t in range(maker.frames)]


def _image_id(index: int, t: int, maker: ClipMaker) -> int:
    return index * maker.frames + t + 1
