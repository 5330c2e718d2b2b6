"""EPIC-Kitchens-100: verbs, nouns, and actions.

    ROOT/  annotations/  EPIC_100_train.csv  EPIC_100_validation.csv
                         EPIC_100_verb_classes.csv  EPIC_100_noun_classes.csv
           P01/videos/P01_01.MP4          (or P01/P01_01.MP4, videos/P01_01.MP4, …)

A sample is a stretch of a long video. 67,217 training and 9,668 validation actions, 97 verbs, 300
nouns. Classes of actions are the pairs of a verb and a noun in both splits, ordered by verb, then
noun number. Flips keep labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from smile_train.datasets.annotations import (
    build_split,
    find_annotation,
    only_splits,
    read_csv,
    reading,
    require_count,
)
from smile_train.datasets.base import LabeledVideos, Span, Split
from smile_train.datasets.registry import DatasetPlace

VERBS, NOUNS = 97, 300
SIZES: dict[Split, int] = {"train": 67_217, "validation": 9_668}
COLUMNS = (
    *("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp"),
    *("verb_class", "noun_class"),
)


def read(
    place: DatasetPlace, split: Split, *, sizes: dict[Split, int] | None = None
) -> LabeledVideos:
    """Read a split; raises InputError as `open_split` says.

    Args:
        sizes: Samples of each split. Default: the official numbers.
    """
    only_splits(place, split, "train", "validation")
    verbs = _names(place, "verb", VERBS)
    nouns = _names(place, "noun", NOUNS)
    tables, pairs_of = {}, {}
    for part in ("train", "validation"):
        path = find_annotation(place, f"EPIC_100_{part}.csv")
        tables[part] = read_csv(path, *COLUMNS)
        require_count(len(tables[part]), (sizes or SIZES)[part], f"{part} actions", path)
        with reading(place, path):
            pairs_of[part] = [(int(r["verb_class"]), int(r["noun_class"])) for r in tables[part]]
    pairs = sorted({pair for found in pairs_of.values() for pair in found})
    match place.name:
        case "epic-verb":
            classes, number_of = verbs, {(v, n): v for v, n in pairs}
        case "epic-noun":
            classes, number_of = nouns, {(v, n): n for v, n in pairs}
        case _:
            number_of = {pair: number for number, pair in enumerate(pairs)}
            with reading(place, find_annotation(place, "EPIC_100_train.csv")):
                classes = [f"{verbs[verb]} {nouns[noun]}" for verb, noun in pairs]
    rows, owners = [], {}
    with reading(place, find_annotation(place, f"EPIC_100_{split}.csv")):
        for row, pair in zip(tables[split], pairs_of[split], strict=True):
            span = Span(_seconds(row["start_timestamp"]), _seconds(row["stop_timestamp"]))
            rows.append((row["video_id"], number_of[pair], span))
            owners[row["video_id"]] = row["participant_id"]

    def candidates(name: str) -> Iterator[str]:
        for folder in (f"{owners[name]}/videos", owners[name], "videos", ""):
            for suffix in (".MP4", ".mp4", ".avi"):
                yield f"{folder}/{name}{suffix}"

    keys = {number: row["narration_id"] for number, row in enumerate(tables[split])}
    return build_split(place, split, rows, candidates, classes=classes, keys=keys)


def _names(place: DatasetPlace, kind: str, count: int) -> list[str]:
    path = find_annotation(place, f"EPIC_100_{kind}_classes.csv")
    rows = read_csv(path, "id", "key")
    require_count(len(rows), count, f"{kind}s", path)
    with reading(place, path):
        return [row["key"] for row in sorted(rows, key=lambda row: int(row["id"]))]


def _seconds(text: str) -> float:
    """Seconds of `00:00:05.12`."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if found is None:
        raise ValueError(f"{text!r} is no time such as 00:00:05.12")
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
