"""The SEVERE benchmark in miniature: its eight experiments, counting, several labels."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat
from smile_motion.cli.app import run_app
from smile_motion.video import index_video, read_frames, write_video
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import read_run_config
from smile_train.evaluation.results import Results
from smile_train.evaluation.severe import EXPERIMENTS, as_markdown, severe_mean
from support.labeled import write_lines

QUICK = ["--epochs=1", "--batch=4", "--workers=0", "--precision=fp32", "--track=none"]
Put = Callable[..., None]


def write_eight(root: Path, put: Put) -> list[str]:
    """All data sets with annotations of the official sizes, and videos for a few samples."""
    labels = {f"Moving something {number}": str(number) for number in range(174)}
    (root / "ssv2").mkdir()
    (root / "ssv2/labels.json").write_text(json.dumps(labels))
    for split, count in (("train", 168_913), ("validation", 24_777)):
        first = 0 if split == "train" else 500_000
        entries = [
            {"id": str(first + n), "template": f"Moving something {n % 174}"} for n in range(count)
        ]
        (root / f"ssv2/{split}.json").write_text(json.dumps(entries))
        put(*(f"ssv2/videos/{first + n}.webm" for n in range(4)))

    names = [f"(FX) leap {number}" for number in range(99)]
    lines = [f"Clabel: {n}; set: 1; Glabel: {n}; {name}" for n, name in enumerate(names)]
    write_lines(root / "gym/annotations/gym99_categories.txt", lines)
    for part, count, sets in (("train", 20_484, (1_882, 3_511)), ("val", 8_521, (777, 1_471))):
        labels_of = [6 + n % 11 for n in range(sets[0])] + [74 + n % 15 for n in range(sets[1])]
        labels_of += [n % 6 for n in range(count - len(labels_of))]
        elements = [f"{part}{n:05d}_E_A" for n in range(count)]
        pairs = zip(elements, labels_of, strict=True)
        write_lines(
            root / f"gym/annotations/gym99_{part}_element.txt", [f"{e} {n}" for e, n in pairs]
        )
        kept = [*elements[:4], *elements[sets[0] : sets[0] + 4]]
        put(*(f"gym/subactions/{element}.mp4" for element in kept))

    classes = [f"Class{number:03d}" for number in range(101)]
    lists = root / "ucf/ucfTrainTestlist"
    write_lines(lists / "classInd.txt", [f"{n + 1} {name}" for n, name in enumerate(classes)])
    for part, count in (("train", 9_537), ("test", 3_783)):
        files = [f"{classes[n % 101]}/v_{part}{n:05d}.avi" for n in range(count)]
        write_lines(lists / f"{part}list01.txt", files)
        put(*(f"ucf/UCF-101/{name}" for name in files[:4]))

    for part, count in (("train", 421), ("val", 105)):
        folder = root / "rc/annotations" / part
        folder.mkdir(parents=True)
        bounds = {"temporal_bound": np.arange(1, 5)[:, None], "start_frame": 1, "end_frame": 8}
        for number in range(count):
            savemat(folder / f"v_Rowing_{part}{number}_c01.mat", {"label": bounds})
        put(*(f"rc/Rowing/v_Rowing_{part}{number}_c01.avi" for number in range(4)))

    write_lines(
        root / "charades/Charades_v1_classes.txt", [f"c{n:03d} act {n}" for n in range(157)]
    )
    for part, count in (("train", 7_985), ("test", 1_863)):
        rows = [f"{part}{n},c{n % 157:03d} 0 1;c{n % 7:03d} 1 2" for n in range(count)]
        write_lines(root / f"charades/Charades_v1_{part}.csv", ["id,actions", *rows])
        put(*(f"charades/Charades_v1_480/{part}{n}.mp4" for n in range(4)))
    pairs = (("ssv2", "ssv2"), ("finegym", "gym"), ("ucf101", "ucf"), ("ucf-rc", "rc"))
    given = [f"--{option}={root / name}" for option, name in pairs]
    return [*given, f"--charades={root / 'charades'}"]


@pytest.mark.slow
def test_the_eight_experiments_and_their_mean(
    checkpoint: Path, tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_eight(tmp_path, put)
    out = tmp_path / "severe"
    arguments = ["evaluate", "severe", str(checkpoint), f"--out={out}", *QUICK, *data]
    assert run_app("smile_train", "", COMMANDS, arguments) == 2
    assert "168,909 of 168,913 videos are missing" in capsys.readouterr().err
    arguments += ["--allow-missing"]
    assert run_app("smile_train", "", COMMANDS, arguments) == 0
    said = capsys.readouterr().out
    found = {name: Results.read(out / name) for name in EXPERIMENTS}
    assert len(found["ucf-1000"].config) > 20
    assert found["ucf-1000"].config["few"] == 10
    assert found["gym-1000"].config["few"] == 11
    assert found["charades"].metrics.keys() == {"map", "last_map"}
    assert found["charades"].config["views"] == "10x3"
    assert all(results.partial for results in found.values())
    assert all(results.samples == (8 if "gym" in name else 4) for name, results in found.items())
    table = json.loads((out / "severe.json").read_text())
    values = [
        found[name].metrics[entry.metric] for name, entry in EXPERIMENTS.items() if name != "ucf-rc"
    ]
    values.append(100 * (1 - found["ucf-rc"].metrics["mae"]))
    assert table["mean"] == pytest.approx(np.mean(values))
    assert "| ssv2 (partial) | domain | top1 |" in said
    assert "| ucf-1000 (partial) | samples | top1 |" in said, "its test videos are missing"
    assert "| **Mean** (partial) |" in said
    assert f"(off by at most one: {found['ucf-rc'].metrics['off_by_one']:.1f} %)" in said
    for name, results in found.items():
        assert any(line.startswith("epochs") for line in results.ours)
        assert f"* {name}, ours: {', '.join(results.ours)}" in said
        assert table["experiments"][name]["ours"] == list(results.ours)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert run_app("smile_train", "", COMMANDS, arguments) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    arguments += ["--seed=1"]
    assert run_app("smile_train", "", COMMANDS, arguments) == 2
    assert "another configuration (seed 0 there, 1 asked for)" in capsys.readouterr().err


@pytest.mark.slow
def test_an_experiment_killed_before_its_first_checkpoint_starts_again(
    checkpoint: Path, tmp_path: Path, put: Put
) -> None:
    data = write_eight(tmp_path, put)
    out = tmp_path / "severe"
    first = ["evaluate", "severe", str(checkpoint), f"--out={out}", *QUICK, *data]
    first += ["--allow-missing", "--experiments", "charades", "ucf-rc"]
    leftover = out / "ucf-rc/checkpoints/.step_00000001.1.tmp"
    leftover.mkdir(parents=True)
    (out / "charades/checkpoints/step_00000001").mkdir(parents=True)
    annotations = tmp_path / "rc/annotations"
    annotations.rename(tmp_path / "elsewhere")  # The second experiment ends there.
    assert run_app("smile_train", "", COMMANDS, first) != 0
    table = json.loads((out / "severe.json").read_text())
    assert list(table["experiments"]) == ["charades"], "what is done is in the table already"
    assert table["mean"] is None
    (tmp_path / "elsewhere").rename(annotations)
    assert run_app("smile_train", "", COMMANDS, first) == 0
    assert set(json.loads((out / "severe.json").read_text())["experiments"]) == {
        "charades",
        "ucf-rc",
    }


def test_few_samples_by_design_are_not_called_partial(tmp_path: Path) -> None:
    results = Results(
        protocol="finetune", dataset="ucf101", split="validation", samples=3783, partial=True,
        metrics={"top1": 50.0}, main_metric="top1", checkpoint={"source": "", "sha256": ""},
    )  # fmt: skip
    assert "| ucf-1000 | samples |" in as_markdown({"ucf-1000": results})
    assert "| ssv2 (partial) | domain |" in as_markdown({"ssv2": results})
    lacking = replace(results, missing=True)
    assert "| ucf-1000 (partial) | samples |" in as_markdown({"ucf-1000": lacking})


def test_a_data_set_that_is_not_given_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "severe", str(checkpoint), f"--out={tmp_path / 'severe'}"]
    assert run_app("smile_train", "", COMMANDS, arguments) == 2
    assert "ssv2: no folder for ssv2" in capsys.readouterr().err
    assert not (tmp_path / "severe").exists()


def test_the_mean_is_that_of_table_6() -> None:
    """VideoMAE's row of the paper, as far as its mean tells: counting enters as 100 (1 - error)."""
    values = dict.fromkeys(EXPERIMENTS, 60.0) | {"ucf-rc": 0.4}
    assert severe_mean(values) == pytest.approx(60)
    assert severe_mean({"ssv2": 1.0}) is None


def write_cycles(path: Path, images: np.ndarray, period: int, frames: int) -> None:
    """Moments of a real video, back and forth, `period` frames a cycle."""
    place = np.abs((np.arange(frames) * 2 / period) % 2 - 1)
    write_video(path, images[np.rint(place * (len(images) - 1)).astype(int)], rate_hz=25)


@pytest.mark.slow
def test_counting_is_learned(
    checkpoint: Path, tmp_path: Path, real_videos: dict[str, Path]
) -> None:
    """Slow and fast cycles: a head that counts beats the best constant rate by far."""
    index = index_video(real_videos["bikes"])
    for split, count in (("train", 16), ("validation", 6)):
        lines = []
        for number in range(count):
            first = 12 * number + (6 if split == "validation" else 0)
            images = read_frames(index, [first, first + 60])
            small = np.stack([cv2.resize(image[:, 184:456], (64, 64)) for image in images])
            period = (6, 24)[number % 2]
            name = f"{split}{number}.mp4"
            write_cycles(tmp_path / name, small, period, 48)
            lines.append({"key": name, "path": name, "target": 48 / period})
        head = {
            "name": "cycles", "split": split, "task": "count", "classes": [],
            "flip_safe": True, "partial": False, "samples": count,
        }  # fmt: skip
        write_lines(tmp_path / f"{split}.jsonl", [json.dumps(line) for line in (head, *lines)])
    out = tmp_path / "run"
    arguments = [
        *("finetune", str(checkpoint), "--dataset=manifest", "--preset=ucf-rc"),
        *(f"--data={tmp_path}", f"--out={out}", "--frames=8", "--stride=2", "--epochs=60"),
        *("--batch=8", "--base-lr=3e-2", "--layer-decay=1", "--no-augment", "--segments=3"),
        *("--workers=0", "--precision=fp32", "--track=none", "--validate-every=60"),
    ]
    assert run_app("smile_train", "", COMMANDS, arguments) == 0
    results = Results.read(out)
    # Of rates that differ fourfold, the logarithm of a constant is wrong by 0.69 at least.
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").open()]
    assert np.mean(losses[-2:]) < 0.4
    found = np.load(out / "predictions.npz")
    rates = dict(zip(found["keys"].tolist(), found["scores"][:, 0], strict=True))
    fast, slow = ([rates[f"validation{n}.mp4"] for n in range(first, 6, 2)] for first in (0, 1))
    assert np.mean(fast) > 1.5 * np.mean(slow), "of videos that it has not seen"
    assert results.main_metric == "mae"
    assert read_run_config(out / "last/config.json")["model"] == "repetitioncounter"
