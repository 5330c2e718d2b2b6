"""Adapters, each on a miniature of the real layout with real small videos."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from smile_motion.errors import InputError
from smile_train.data.views import TestViews
from smile_train.datasets import (
    DatasetPlace,
    LabeledVideos,
    Span,
    open_split,
)
from smile_train.datasets import charades as charades_adapter
from smile_train.datasets import diving48 as diving48_adapter
from smile_train.datasets import epic as epic_adapter
from smile_train.datasets import finegym as finegym_adapter
from smile_train.datasets import kinetics as kinetics_adapter
from smile_train.datasets import ssv2 as something_adapter
from smile_train.datasets import ucf_hmdb as ucf_hmdb_adapter
from smile_train.datasets import ucf_rc as ucf_rc_adapter
from smile_train.evaluation.predict import ViewShape, read_views
from support.labeled import write_lines

Put = Callable[..., None]


def place(name: str, root: Path, **more: object) -> DatasetPlace:
    return DatasetPlace(name=name, root=root, **more)  # type: ignore[arg-type]


def require_readable(videos: LabeledVideos) -> None:
    shape = ViewShape(frames=4, size=32, stride=1)
    views = read_views(videos.videos[0], shape, TestViews())
    assert views.std() > 5


def test_kinetics(tmp_path: Path, put: Put) -> None:
    header = "label,youtube_id,time_start,time_end,split"
    names = [f"class {number:03d}" for number in range(399)] + ["abseiling"]
    rows = [f"{name},id{number:09d},10,20,train" for number, name in enumerate(names)]
    write_lines(tmp_path / "train.csv", [header, *rows])
    write_lines(
        tmp_path / "validate.csv", [header, "class 001,-x_y,3,13,val", "abseiling,zz,0,10,v"]
    )
    put("val/class 001/-x_y_000003_000013.mp4", "val/abseiling/zz_000000_000010.mkv")
    videos = open_split(place("k400", tmp_path), "validation")
    assert [video.target for video in videos.videos] == [2, 0]
    assert videos.classes[0] == "abseiling"
    assert len(videos.classes) == 400
    assert videos.flip_safe
    assert not videos.partial
    require_readable(videos)
    put("train/class_005/id000000005_000010_000020.mp4", "train/id000000006_000010_000020.mp4")
    with pytest.raises(InputError, match="398 of 400 videos are missing"):
        open_split(place("k400", tmp_path), "train")
    partial = open_split(place("k400", tmp_path, allow_missing=True), "train")
    assert len(partial) == 2
    assert partial.partial
    write_lines(tmp_path / "train.csv", [header, *rows[:-1]])
    with pytest.raises(InputError, match="399 classes, officially 400"):
        open_split(place("k400", tmp_path), "train")


def write_ssv2(root: Path) -> None:
    labels = {f"Moving something {number}": str(number) for number in range(173)}
    labels["Holding something next to something"] = "173"
    (root / "labels").mkdir(parents=True)
    (root / "labels/labels.json").write_text(json.dumps(labels))
    for split, ids in (("train", (11, 12)), ("validation", (13,))):
        entries = [
            {"id": str(i), "template": "Holding [something] next to [something]", "label": "x"}
            for i in ids
        ]
        (root / f"labels/{split}.json").write_text(json.dumps(entries))


def test_something_something(tmp_path: Path, put: Put) -> None:
    write_ssv2(tmp_path)
    put(
        "20bn-something-something-v2/11.webm", "20bn-something-something-v2/12.mp4", "videos/13.mp4"
    )
    with pytest.raises(InputError, match="2 train videos, officially 168,913"):
        open_split(place("ssv2", tmp_path), "train")
    sizes = {"train": 2, "validation": 1}
    for split, count in sizes.items():
        videos = something_adapter.read(place("ssv2", tmp_path), split, sizes=sizes)  # type: ignore[arg-type]
        assert len(videos) == count
        assert {video.target for video in videos.videos} == {173}
        assert not videos.flip_safe
        require_readable(videos)
    with pytest.raises(InputError, match="no labels of a test split are public"):
        open_split(place("ssv2", tmp_path), "test")
    (tmp_path / "labels/train.json").write_text('[{"id": 1, "template": "Folding [something]"}]')
    with pytest.raises(InputError, match="of one release"):
        something_adapter.read(place("ssv2", tmp_path), "train", sizes={"train": 1})
    (tmp_path / "labels/train.json").write_text("[{")
    with pytest.raises(InputError, match="damaged"):
        open_split(place("ssv2", tmp_path), "train")


def write_ucf(root: Path) -> list[str]:
    names = [f"Class{number:03d}" for number in range(101)]
    lists = root / "ucfTrainTestlist"
    write_lines(lists / "classInd.txt", [f"{n + 1} {name}" for n, name in enumerate(names)])
    write_lines(
        lists / "trainlist01.txt", [f"{n}/v_{n}_g08_c01.avi {i}" for i, n in enumerate(names)]
    )
    write_lines(lists / "testlist01.txt", [f"{n}/v_{n}_g01_c01.avi" for n in names[:3]])
    return names


def test_ucf101(tmp_path: Path, put: Put) -> None:
    names = write_ucf(tmp_path)
    put(*(f"UCF-101/{name}/v_{name}_g08_c01.avi" for name in names))
    put(*(f"UCF-101/{name}/v_{name}_g01_c01.mp4" for name in names[:3]))
    ucf = place("ucf101", tmp_path)
    train = ucf_hmdb_adapter.read(ucf, "train", sizes=(101, 3))
    test = ucf_hmdb_adapter.read(ucf, "validation", sizes=(101, 3))
    assert [video.target for video in train.videos] == list(range(101))
    assert [video.target for video in test.videos] == [0, 1, 2]
    assert train.classes == test.classes == tuple(names)
    require_readable(train)
    with pytest.raises(InputError, match="101 train videos of fold 1, officially 9,537"):
        open_split(ucf, "train")
    with pytest.raises(InputError, match=r"none of trainlist02.txt"):
        open_split(place("ucf101", tmp_path, fold=2), "train")
    (tmp_path / "UCF-101/Class002/v_Class002_g01_c01.mp4").unlink()
    with pytest.raises(InputError, match=r"1 of 3 videos are missing.*--allow-missing"):
        ucf_hmdb_adapter.read(ucf, "validation", sizes=(101, 3))


def test_hmdb51(tmp_path: Path, put: Put) -> None:
    for number in range(51):
        name = f"act{number:02d}"
        lines = [f"{name}_a.avi 1 ", f"{name}_b (x).avi 2 ", f"{name}_c.avi 0 "]
        write_lines(tmp_path / f"testTrainMulti_7030_splits/{name}_test_split1.txt", lines)
        put(f"{name}/{name}_a.avi", f"hmdb51_org/{name}/{name}_b (x).avi")
    hmdb = place("hmdb51", tmp_path)
    train = ucf_hmdb_adapter.read(hmdb, "train", sizes=(51, 51))
    test = ucf_hmdb_adapter.read(hmdb, "validation", sizes=(51, 51))
    assert [video.target for video in train.videos] == list(range(51))
    assert test.videos[4].key == "act04_b (x).avi"
    with pytest.raises(InputError, match="51 train videos of fold 1, officially 3,570"):
        open_split(hmdb, "train")
    (tmp_path / "testTrainMulti_7030_splits/act07_test_split1.txt").unlink()
    with pytest.raises(InputError, match=r"50 files .*officially 51"):
        open_split(hmdb, "train")


def write_gym(root: Path) -> tuple[list[str], list[str]]:
    for count, name in ((99, "gym99"), (288, "gym288")):
        lines = [f"Clabel: {n}; set: 1; Glabel: {n}; (FX) leap {n} turn" for n in range(count)]
        write_lines(root / f"annotations/{name}_categories.txt", lines)
    train = [f"vid{n:03d}_E_000001_000009_A_0000_0002" for n in range(99)]
    val = [f"vid{n:03d}_E_000001_000009_A_0003_0005" for n in (6, 7, 74)]
    for name, elements in (("gym99_train_element_v1.0", train), ("gym99_val_element", val)):
        lines = [f"{element} {int(element[3:6])}" for element in elements]
        write_lines(root / f"annotations/{name}.txt", lines)
    return train, val


def test_finegym_and_the_sets_of_severe(tmp_path: Path, put: Put) -> None:
    train, val = write_gym(tmp_path)
    put(*(f"subactions/{element}.mp4" for element in (*train, *val)))
    sizes = {
        "gym99": {"train": (99,), "validation": (3,)},
        "fx-s1": {"train": (11,), "validation": (2,)},
        "ub-s1": {"train": (15,), "validation": (1,)},
    }
    for name, first, classes in (("gym99", 0, 99), ("fx-s1", 6, 11), ("ub-s1", 74, 15)):
        for split in ("train", "validation"):
            videos = finegym_adapter.read(place(name, tmp_path), split, sizes=sizes)  # type: ignore[arg-type]
            assert len(videos.classes) == classes
            assert videos.classes[0] == f"(FX) leap {first} turn"
            assert all(
                int(video.key[3:6]) == first + int(video.target)  # type: ignore[arg-type]
                for video in videos.videos
            )
            assert not videos.flip_safe
            assert videos.name == name
    with pytest.raises(InputError, match="99 train elements, officially 20,484 or 20,485"):
        open_split(place("gym99", tmp_path), "train")
    with pytest.raises(InputError, match="11 train elements, officially 1,882"):
        open_split(place("fx-s1", tmp_path), "train")
    write_lines(tmp_path / "annotations/gym288_train_element_v1.0.txt", [f"{train[0]} 287"])
    assert open_split(place("gym288", tmp_path), "train").videos[0].target == 287
    write_lines(tmp_path / "annotations/gym288_train_element_v1.0.txt", [f"{train[0]} 288"])
    with pytest.raises(InputError, match="has the label 288, there are 288 classes"):
        open_split(place("gym288", tmp_path), "train")


def test_epic_kitchens(tmp_path: Path, put: Put) -> None:
    folder = tmp_path / "annotations"
    for kind, count in (("verb", 97), ("noun", 300)):
        lines = ["id,key,instances", *(f"{n},{kind}{n},[]" for n in range(count))]
        write_lines(folder / f"EPIC_100_{kind}_classes.csv", lines)
    header = ",".join(epic_adapter.COLUMNS)
    rows = [
        "P01_01_0,P01,P01_01,00:00:00.10,00:00:00.50,3,8",
        "P01_01_1,P01,P01_01,00:00:00.40,00:00:00.90,0,8",
    ]
    write_lines(folder / "EPIC_100_train.csv", [header, *rows])
    test = "P02_03_0,P02,P02_03,00:00:00.00,00:00:00.60,96,299"
    write_lines(folder / "EPIC_100_validation.csv", [header, test])
    put("P01/videos/P01_01.MP4", "videos/P02_03.mp4")
    sizes = {"train": 2, "validation": 1}
    expected = {"epic-verb": ([3, 0], 97), "epic-noun": ([8, 8], 300), "epic-action": ([1, 0], 3)}
    for name, (targets, classes) in expected.items():
        videos = epic_adapter.read(place(name, tmp_path), "train", sizes=sizes)  # type: ignore[arg-type]
        assert [video.target for video in videos.videos] == targets
        assert len(videos.classes) == classes
        assert videos.videos[0].span == Span(0.1, 0.5)
        assert [video.key for video in videos.videos] == ["P01_01_0", "P01_01_1"]
        require_readable(videos)
    assert videos.classes == ("verb0 noun8", "verb3 noun8", "verb96 noun299")
    with pytest.raises(InputError, match="2 train actions, officially 67,217"):
        open_split(place("epic-verb", tmp_path), "train")
    write_lines(folder / "EPIC_100_train.csv", ["uid,verb", "1,2"])
    with pytest.raises(InputError, match=r"no column 'narration_id'.*another version"):
        open_split(place("epic-verb", tmp_path), "train")


def test_charades(tmp_path: Path, put: Put) -> None:
    names = [f"c{n:03d} Doing thing {n}" for n in range(157)]
    write_lines(tmp_path / "Charades_v1_classes.txt", names)
    table = ["id,actions", "AAA,c092 11.90 21.20;c003 0.00 12.60;c092 1 2", "BBB,"]
    write_lines(tmp_path / "Charades_v1_train.csv", table)
    put("Charades_v1_480/AAA.mp4", "Charades_v1_480/BBB.mp4")
    videos = charades_adapter.read(place("charades", tmp_path), "train", sizes={"train": 2})
    assert videos.task == "multi-label"
    assert videos.videos[0].target == (3, 92)
    assert videos.targets().sum(1).tolist() == [2, 0]
    assert videos.classes[3] == "Doing thing 3"
    with pytest.raises(InputError, match="2 train videos, officially 7,985"):
        open_split(place("charades", tmp_path), "train")


def write_ucf_rc(root: Path, split: str, counts: dict[str, int]) -> None:
    folder = root / "annotations" / split
    folder.mkdir(parents=True)
    for name, count in counts.items():
        bounds = np.linspace(1, 8, count + 1)[:, None]
        label = {"temporal_bound": bounds, "start_frame": 1, "end_frame": 8, "duration": 8}
        savemat(folder / f"{name}.mat", {"label": label})


def test_ucf_repetitions(tmp_path: Path, put: Put) -> None:
    counts = {"v_BenchPress_g01_c01": 5, "v_JumpRope_g02_c01": 3, "v_Rowing_g02_c03": 1}
    write_ucf_rc(tmp_path, "train", counts)
    put("UCF-101/BenchPress/v_BenchPress_g01_c01.avi", "JumpRope/v_JumpRope_g02_c01.mp4")
    videos = ucf_rc_adapter.read(place("ucf-rc", tmp_path), "train", sizes={"train": (3,)})
    assert videos.task == "count"
    assert {video.key: video.target for video in videos.videos} == {
        "v_BenchPress_g01_c01": 5,
        "v_JumpRope_g02_c01": 3,
    }
    assert videos.videos[0].span == Span(0, 8, "frames")
    with pytest.raises(InputError, match="3 train videos, officially 421 or 422"):
        open_split(place("ucf-rc", tmp_path), "train")
    (tmp_path / "annotations/train/v_Rowing_g02_c03.mat").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not an annotation of UCFRep"):
        open_split(place("ucf-rc", tmp_path), "train")


def test_spoilt_annotations_of_ucf_rc_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "spoilt.mat"
    bounds = {"temporal_bound": [[1.0, 9.0]], "start_frame": float("inf"), "end_frame": 9}
    savemat(path, {"label": bounds})
    endless = path.read_bytes()
    for content in (endless, endless[: len(endless) // 2], b"MATLAB 7.3 MAT-file", b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not an annotation of UCFRep"):
            ucf_rc_adapter._read_annotation(path)


def test_diving48(tmp_path: Path, put: Put) -> None:
    vocabulary = [["Back", f"{n}som", "NoTwis", "PIKE"] for n in range(48)]
    (tmp_path / "Diving48_vocab.json").write_text(json.dumps(vocabulary))
    entries = [{"vid_name": "aa_00078", "label": 26, "start_frame": 0, "end_frame": 123}]
    (tmp_path / "Diving48_V2_test.json").write_text(json.dumps(entries))
    put("rgb/aa_00078.mp4")
    videos = diving48_adapter.read(
        place("diving48", tmp_path), "validation", sizes={"validation": 1}
    )
    assert videos.classes[26] == "Back 26som NoTwis PIKE"
    assert videos.videos[0].target == 26
    with pytest.raises(InputError, match="1 validation videos of version 2, officially 1,970"):
        open_split(place("diving48", tmp_path), "validation")


def test_fields_that_cannot_be_understood_are_named(tmp_path: Path) -> None:
    def refused(read: Callable[..., LabeledVideos], name: str, what: str) -> None:
        root = tmp_path / name
        with pytest.raises(InputError, match=f"{what}.*download it again"):
            read(place(name, root), "train", **({} if name == "k400" else {"sizes": {"train": 1}}))

    write_ssv2(tmp_path / "ssv2")
    (tmp_path / "ssv2/labels/train.json").write_text('[{"id": 1}]')
    refused(something_adapter.read, "ssv2", r"train\.json: \[0\]\.template is missing")

    vocabulary = tmp_path / "diving48/Diving48_vocab.json"
    write_lines(vocabulary, [json.dumps([["Back"]] * 48)])
    (tmp_path / "diving48/Diving48_V2_train.json").write_text('[{"vid_name": "aa"}]')
    refused(diving48_adapter.read, "diving48", r"train\.json: \[0\]\.label is missing")

    rows = [f"class {number},id,ten,20,train" for number in range(400)]
    write_lines(tmp_path / "k400/train.csv", ["label,youtube_id,time_start,time_end,split", *rows])
    refused(kinetics_adapter.read, "k400", r"train\.csv: not understood as .* of k400 .*ten")

    folder = tmp_path / "epic-verb/annotations"
    for kind, count in (("verb", 97), ("noun", 300)):
        lines = ["id,key", *(f"{number},{kind}{number}" for number in range(count))]
        write_lines(folder / f"EPIC_100_{kind}_classes.csv", lines)
    sizes = {"train": 1, "validation": 1}
    for field, what in (("cut", "cut"), ("3", "'0.50' is no time")):
        for part in ("train", "validation"):
            row = f"a,P01,P01_01,00:00:00.10,0.50,{field},8"
            write_lines(folder / f"EPIC_100_{part}.csv", [",".join(epic_adapter.COLUMNS), row])
        with pytest.raises(InputError, match=f"EPIC_100_train.csv: not understood .*{what}"):
            epic_adapter.read(place("epic-verb", tmp_path / "epic-verb"), "train", sizes=sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "check",
    [
        test_kinetics,
        test_something_something,
        test_ucf101,
        test_hmdb51,
        test_finegym_and_the_sets_of_severe,
        test_epic_kitchens,
        test_charades,
        test_diving48,
    ],
)
def test_files_that_an_editor_saved_with_a_mark(
    check: Callable[[Path, Put], None], tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, text: str, encoding: str | None = None) -> None:
        path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))

    monkeypatch.setattr(Path, "write_text", write)
    check(tmp_path, put)


@pytest.mark.parametrize("written", ["HandstandPushups", "HandStandPushups"])
def test_names_that_releases_write_in_other_cases(written: str, tmp_path: Path, put: Put) -> None:
    name = "v_HandStandPushups_g01_c01"
    put(f"UCF-101/HandstandPushups/{name}.avi")
    write_ucf_rc(tmp_path, "train", {f"v_{written}_g01_c01": 3})
    sizes = {"train": (1,)}
    counted = ucf_rc_adapter.read(place("ucf-rc", tmp_path), "train", sizes=sizes)  # type: ignore[arg-type]
    (video,) = counted.videos
    assert video.path == tmp_path / f"UCF-101/HandstandPushups/{name}.avi"
    # Two names that differ by case alone stay two.
    put(f"UCF-101/HandstandPushups/{name.upper()}.avi")
    if written == "HandstandPushups":
        with pytest.raises(InputError, match="1 of 1 videos are missing"):
            ucf_rc_adapter.read(place("ucf-rc", tmp_path), "train", sizes=sizes)  # type: ignore[arg-type]
