"""Data of one's own: lists, folders of classes, manifests."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_train.__main__ import COMMANDS
from smile_train.data.views import TestViews
from smile_train.datasets import (
    DatasetPlace,
    LabeledVideo,
    LabeledVideos,
    Span,
    open_split,
    read_manifest,
    write_manifest,
)
from smile_train.datasets.base import require_fitting
from smile_train.evaluation.predict import ViewShape, read_views
from support.labeled import write_lines

Put = Callable[..., None]


def place(name: str, root: Path, **more: object) -> DatasetPlace:
    return DatasetPlace(name=name, root=root, **more)  # type: ignore[arg-type]


def require_readable(videos: LabeledVideos) -> None:
    shape = ViewShape(frames=4, size=32, stride=1)
    views = read_views(videos.videos[0], shape, TestViews())
    assert views.std() > 5


def test_lists_folders_and_manifests(tmp_path: Path, put: Put) -> None:
    put("own/train/a/1.mp4", "own/train/b/2.mp4", "own/val/a/3.mp4", "own/val/b/4.mp4")
    root = tmp_path / "own"
    folder = open_split(place("folder", root), "validation")
    assert [(video.key, video.target) for video in folder.videos] == [
        ("a/3.mp4", 0),
        ("b/4.mp4", 1),
    ]
    write_lines(root / "train.csv", ["train/a/1.mp4 walking", "train/b/2.mp4,running"])
    write_lines(root / "val.txt", ["val/a/3.mp4 running"])
    listed = open_split(place("list", root), "train")
    assert listed.classes == ("running", "walking")
    assert [video.target for video in listed.videos] == [1, 0]
    assert open_split(place("list", root), "validation").videos[0].target == 0
    write_manifest(root / "train.jsonl", listed)
    again = open_split(place("manifest", root), "train")
    assert again == listed or again.sha256 == listed.sha256
    assert again.videos == listed.videos


def test_wrong_lists_are_refused(tmp_path: Path, put: Put) -> None:
    put("train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4")
    with pytest.raises(InputError, match="b is a class of one split only"):
        open_split(place("folder", tmp_path), "validation")
    with pytest.raises(InputError, match="no test split in it"):
        open_split(place("folder", tmp_path), "test")
    write_lines(tmp_path / "train.txt", ["train/a/1.mp4 0", "train/a/1.mp4 0"])
    with pytest.raises(InputError, match="is listed 2 times"):
        open_split(place("list", tmp_path), "train")
    write_lines(tmp_path / "train.txt", ["train/a/1.mp4 0", "train/b/2.mp4"])
    with pytest.raises(InputError, match=r"2\.mp4 has no label"):
        open_split(place("list", tmp_path), "train")
    write_lines(tmp_path / "train.txt", ["train/a/1.mp4 0", "train/b/2.mp4 1"])
    write_lines(tmp_path / "val.txt", ["val/a/3.mp4 7"])
    with pytest.raises(InputError, match="has the label 7, there are 2 classes, 0 to 1"):
        open_split(place("list", tmp_path), "validation")
    write_lines(tmp_path / "train.txt", ["train/a/1.mp4 -1", "train/b/2.mp4 1"])
    with pytest.raises(InputError, match="has the label -1, there are 2 classes, 0 to 1"):
        open_split(place("list", tmp_path), "train")
    (tmp_path / "train.jsonl").write_text('{"name": "x"}\n')
    with pytest.raises(InputError, match="not a manifest"):
        read_manifest(tmp_path / "train.jsonl")


@pytest.mark.parametrize(
    "lines",
    [
        ["path,label", "a.mp4,0", "b.mp4,2", "gone.mp4,1"],
        ["a.mp4 0.0", "b.mp4 2.0", "gone.mp4 1.0"],
        ["a.mp4 64 0", "b.mp4 80 2", "gone.mp4 16 1"],
        ["label,frames,path", '0,64,"a.mp4"', "2,80,b.mp4", "1,16,gone.mp4"],
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_class_numbers_stay(lines: list[str], encoding: str, tmp_path: Path, put: Put) -> None:
    put("a.mp4", "b.mp4")
    (tmp_path / "train.csv").write_text("\n".join(lines), encoding=encoding)
    with pytest.raises(InputError, match="1 of 3 videos are missing"):
        open_split(place("list", tmp_path), "train")
    listed = open_split(place("list", tmp_path, allow_missing=True), "train")
    assert listed.classes == ("0", "1", "2")
    assert [(video.key, video.target) for video in listed.videos] == [("a.mp4", 0), ("b.mp4", 2)]
    if lines[0] != "path,label":
        return
    # An unknown header is not taken for a class, whatever may be missing.
    (tmp_path / "train.csv").write_text("\n".join(["where,what", *lines[1:]]))
    fault = r"missing|train\.csv:1: the label 'what' is no number"
    for allow in (False, True):
        with pytest.raises(InputError, match=fault):
            open_split(place("list", tmp_path, allow_missing=allow), "train")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["a.mp4 999999999"], r"train\.txt: 1,000,000,000 classes or more, at most 100,000 are"),
        (["a.mp4 " + 5000 * "9"], r"train\.txt: 1,000,000,000,000 classes or more"),
        (["a.mp4 3", "b.mp4 walking"], r"train\.txt:2: the label 'walking' is no number, others"),
        (["a.mp4 3", "b.mp4 0.5"], r"train\.txt:2: the label '0\.5' is no number, others are"),
    ],
)
def test_labels_that_cannot_be_are_refused(
    lines: list[str], fault: str, tmp_path: Path, put: Put
) -> None:
    put("a.mp4", "b.mp4")
    write_lines(tmp_path / "train.txt", lines)
    with pytest.raises(InputError, match=fault):
        open_split(place("list", tmp_path), "train")


def test_names_that_are_not_utf_8_go_round_by_a_manifest(tmp_path: Path, put: Put) -> None:
    name = os.fsdecode("Café.mp4".encode("latin-1"))
    put("a.mp4")
    (tmp_path / "a.mp4").rename(tmp_path / name)
    (tmp_path / "train.txt").write_bytes(os.fsencode(f"{name} 0\n"))
    listed = open_split(place("list", tmp_path), "train")
    require_readable(listed)
    write_manifest(tmp_path / "train.jsonl", listed)
    assert open_split(place("manifest", tmp_path), "train").videos == listed.videos


def test_hidden_folders_are_no_classes(tmp_path: Path, put: Put) -> None:
    put("train/a/1.mp4", "train/b/2.mp4", "train/.ipynb_checkpoints/1.mp4", "train/__MACOSX/1.mp4")
    put("train/a/._1.mp4")
    found = open_split(place("folder", tmp_path), "train")
    assert found.classes == ("a", "b")
    assert [video.key for video in found.videos] == ["a/1.mp4", "b/2.mp4"]


def test_missing_videos_are_counted_and_left_out_if_wished(tmp_path: Path, put: Put) -> None:
    put("a.mp4", "b.mp4")
    lines = ["a.mp4 riding a bike", "c d.mp4 eating", "b.mp4,eating", "e.mp4 zumba"]
    write_lines(tmp_path / "train.txt", lines)
    with pytest.raises(InputError, match=r"2 of 4 videos are missing, such as .*/c d\.mp4;"):
        open_split(place("list", tmp_path), "train")
    listed = open_split(place("list", tmp_path, allow_missing=True), "train")
    assert listed.classes == ("eating", "riding a bike", "zumba")
    assert [(video.key, video.target) for video in listed.videos] == [("a.mp4", 1), ("b.mp4", 0)]
    assert listed.partial
    write_manifest(tmp_path / "train.jsonl", replace(listed, partial=False))
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(InputError, match=r"1 of 2 videos are missing.*--allow-missing"):
        open_split(place("manifest", tmp_path), "train")
    kept = open_split(place("manifest", tmp_path, allow_missing=True), "train")
    assert [video.key for video in kept.videos] == ["a.mp4"]
    assert kept.partial


def test_an_empty_class_folder_is_named(tmp_path: Path, put: Put) -> None:
    put("train/a/1.mp4")
    (tmp_path / "train/b").mkdir()
    with pytest.raises(InputError, match=r"train/b: no video below .* put a video of the class"):
        open_split(place("folder", tmp_path), "train")


def test_what_is_learned_is_not_tested(tmp_path: Path, put: Put) -> None:
    put("a.mp4", "b.mp4", "lists/c.mp4")
    write_lines(tmp_path / "lists/train.txt", ["../a.mp4 0", "../b.mp4 1"])
    write_lines(tmp_path / "lists/val.txt", ["c.mp4 1", "../lists/../b.mp4 1"])
    train, test = (
        open_split(place("list", tmp_path / "lists"), split) for split in ("train", "validation")
    )
    with pytest.raises(InputError, match=r"1 of 2 validation samples are in the train .*b\.mp4"):
        require_fitting(train, test)
    spans = (Span(0.0, 0.5), Span(0.5, 1.0))
    parts = [
        replace(train, videos=tuple(replace(video, span=span) for video in train.videos))
        for span in spans
    ]
    require_fitting(*parts)


def test_a_manifest_cut_short_is_refused(tmp_path: Path, second: Path) -> None:
    videos = tuple(LabeledVideo(key=str(n), path=second, target=n % 2) for n in range(4))
    videos += tuple(
        replace(videos[0], key=span.unit, span=span)
        for span in (Span(0.1, 0.9), Span(1, 7, "frames"))
    )
    data = LabeledVideos(name="own", split="train", videos=videos, classes=("a", "b"))
    write_manifest(tmp_path / "m.jsonl", data)
    assert read_manifest(tmp_path / "m.jsonl").videos == videos
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    write_lines(tmp_path / "m.jsonl", lines[:-1])
    with pytest.raises(InputError, match="5 samples of 6"):
        read_manifest(tmp_path / "m.jsonl")
    write_lines(tmp_path / "m.jsonl", [line.replace('"span"', '"span_s"') for line in lines])
    with pytest.raises(InputError, match="span_s is an unknown field"):
        read_manifest(tmp_path / "m.jsonl")


def test_few_samples_are_the_same_each_time(tmp_path: Path, second: Path) -> None:
    videos = tuple(LabeledVideo(key=str(n), path=second, target=n % 3) for n in range(30))
    data = LabeledVideos(name="own", split="train", videos=videos, classes=("a", "b", "c"))
    first, second = (data.few(4, np.random.default_rng(1)) for _ in range(2))
    assert first == second
    assert np.bincount(first.targets()).tolist() == [4, 4, 4]
    assert first.partial
    assert first.sha256 != data.sha256


def test_the_command_writes_a_manifest(
    tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    put("train/a/1.mp4", "train/a/2.mp4", "train/b/3.mp4")
    out = tmp_path / "few.jsonl"
    arguments = ["data", "list", "folder", str(tmp_path), "--few=1", f"--out={out}"]
    assert run_app("smile_train", "", COMMANDS, arguments) == 0
    said = capsys.readouterr().out
    assert "2 samples, single-label" in said
    assert "2 classes, samples of each: 1" in said
    assert len(read_manifest(out)) == 2
