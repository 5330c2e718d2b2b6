"""`smile_train data pack`: real videos, real processes, killed and divided among jobs."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.io.files import hash_file
from smile_motion.video import find_videos, open_index, read_frames
from smile_train.__main__ import COMMANDS
from smile_train.data.packing import find_sources
from smile_train.datasets import open_split
from smile_train.datasets.base import Span
from smile_train.datasets.custom import read_manifest, write_manifest
from smile_train.datasets.registry import DatasetPlace
from support import forked

SMALL = ("--size=64", "--videos-per-shard=2")


def pack(*arguments: object) -> int:
    words = ["data", "pack", *map(str, arguments)]
    return run_app("smile_train", "", COMMANDS, words)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def videos(real_videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three videos, one of them torn."""
    folder = tmp_path_factory.mktemp("pack") / "videos"
    ffmpeg = (imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error")
    for name, path in real_videos.items():
        (folder / name).mkdir(parents=True)
        for start in range(3):
            cut = (*ffmpeg, "-ss", str(start), "-i", path, "-frames:v", "24", "-an")
            subprocess.run([*cut, folder / name / f"{start}.mp4"], check=True)
    torn = folder / "bikes/2.mp4"
    torn.write_bytes(torn.read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def packed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    assert pack(videos, "--out", out, *SMALL, "--workers=0") == 0
    return out


def test_what_is_packed_is_listed(packed: Path, videos: Path) -> None:
    found = find_videos(packed)
    assert [(video.path.relative_to(packed).as_posix(), video.label) for video in found] == [
        ("shard-00000.tar/bigbuckbunny/0.mp4", "bigbuckbunny"),
        ("shard-00000.tar/bigbuckbunny/1.mp4", "bigbuckbunny"),
        ("shard-00001.tar/bigbuckbunny/2.mp4", "bigbuckbunny"),
        ("shard-00001.tar/bikes/0.mp4", "bikes"),
        ("shard-00002.tar/bikes/1.mp4", "bikes"),
    ]
    for video in found:
        assert read_frames(open_index(video.path), [23]).shape[1] == 64
    path, reason = (packed / "broken.txt").read_text().splitlines()[0].split("\t")
    assert path == str(videos / "bikes/2.mp4")
    assert reason.startswith(f"{path}: ")
    lines = [json.loads(line) for line in (packed / "index.jsonl").read_text().splitlines()]
    assert [line["videos"] for line in lines] == [2, 2, 1]
    for line in lines:
        assert hash_file(packed / line["file"]) == line["sha256"]
    about = [json.loads(line) for line in (packed / "videos.jsonl").read_text().splitlines()]
    assert [line["frames"] for line in about] == [24] * 5
    card = (packed / "README.md").read_text()
    worst = min(line["psnr_db"] for line in about)
    assert f"least {worst:.1f} dB" in card
    assert "| videos | 5, 1 more could not be packed |" in card


def test_jobs_make_what_one_would(packed: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    share = (videos, "--out", out, *SMALL, "--workers=0", "--num-shards=2")
    assert pack(*share, "--shard-index=1") == 0
    assert not (out / "index.jsonl").exists()
    with pytest.raises(Exception, match="packing it was not finished"):
        find_videos(out)
    assert pack(*share, "--shard-index=0") == 0
    assert hashes(out) == hashes(packed)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_a_killed_packing_goes_on_to_the_same_bytes(
    packed: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("data", "pack", videos, "--out", out, *SMALL, "--workers=2")
    program = forked.start("smile_train", words)
    wait_for(lambda: any(out.glob("*.tmp*")) or any(out.glob(".shard*")) or any(out.glob("shard*")))
    program.kill()
    program.wait()
    assert not (out / "index.jsonl").exists()
    assert pack(*words[2:]) == 0
    assert hashes(out) == hashes(packed)
    # What was damaged since is made again, and nothing else.
    (out / "shard-00001.tar").write_bytes(b"damaged")
    with pytest.raises(Exception, match=r"changed since it was indexed \(7 bytes"):
        find_videos(out)
    before = (out / "shard-00000.tar").stat().st_mtime_ns
    assert pack(*words[2:]) == 0
    assert hashes(out) == hashes(packed)
    assert (out / "shard-00000.tar").stat().st_mtime_ns == before
    (out / "shard-00002.tar").unlink()
    with pytest.raises(Exception, match=r"missing, index\.jsonl names it"):
        find_videos(out)


def test_lists_keep_labels_and_name_what_is_missing(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "train.csv"
    names = ("bikes/0.mp4", "bigbuckbunny/0.mp4", "bikes/9.mp4", "bikes/0.mp4")
    listed.write_text("".join(f"{videos / name} label {n}\n" for n, name in enumerate(names)))
    assert pack(listed, "--out", tmp_path / "out", *SMALL) == 2
    assert "names no file" in capsys.readouterr().err
    allowed = (listed, "--out", tmp_path / "out", *SMALL, "--allow-missing", "--workers=0")
    assert pack(*allowed) == 0
    assert "bikes/9.mp4: no such video" in capsys.readouterr().out
    assert [(v.path.name, v.label) for v in find_videos(tmp_path / "out")] == [
        ("0.mp4", "label 0"),
        ("0.mp4", "label 1"),
        ("0-2.mp4", "label 3"),
    ]
    listed.write_text(f"{videos / names[0]} other\n")
    assert pack(*allowed) == 2
    assert "holds videos made otherwise" in capsys.readouterr().err
    assert pack(videos, "--out", videos.parent / "videos", *SMALL) == 2


def test_names_suit_archives(videos: Path, tmp_path: Path) -> None:
    odd = tmp_path / "in" / "a" / os.fsdecode(b"v.1 \xff.mp4")
    odd.parent.mkdir(parents=True)
    shutil.copyfile(videos / "bikes/0.mp4", odd)
    shutil.copyfile(videos / "bikes/1.mp4", tmp_path / "in/top.avi")
    first, second = find_sources(tmp_path / "in")
    assert (first.name, first.label) == ("v_1 \\xff", "a") or first.name == "a/v_1 \\xff"
    assert (second.name, second.label) == ("top", None)
    assert pack(tmp_path / "in", "--out", tmp_path / "out", *SMALL, "--workers=0") == 0
    assert [open_index(video.path).rate_hz for video in find_videos(tmp_path / "out")] == [25, 25]


@pytest.mark.slow
def test_training_and_data_sets_read_shards(
    packed: Path, videos: Path, small_bank: ObjectBank, tmp_path: Path
) -> None:
    words = ("--preset=tiny", "--frames=4", "--batch=4", "--workers=1", "--precision=fp32")
    words = (*words, "--background=natural", f"--videos={packed}", "--steps=2", "--log-every=1")
    process = forked.start(
        "smile_train",
        ("pretrain", *words, f"--bank={small_bank.path}", "--out", tmp_path / "run"),
    )
    out, err = process.communicate()
    assert process.wait() == 0, err + out
    losses = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in losses if "loss" in entry][-1] == 2
    root = tmp_path / "data"
    root.mkdir()
    for split in ("train", "validation"):
        (root / split).symlink_to(packed)
    place = DatasetPlace(name="list", root=root)
    split = open_split(place, "train")
    assert split.classes == ("bigbuckbunny", "bikes")
    assert split.targets().tolist() == [0, 0, 0, 1, 1]
    assert read_frames(open_index(split.videos[3].path), [0]).shape[1] == 64


def test_samples_of_a_manifest_are_kept(
    packed: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any data set that `data list` reads: keys, targets, spans and the order of classes."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here/train").symlink_to(videos)
    listed, out = tmp_path / "train.jsonl", tmp_path / "out/train"
    words = ["data", "list", "folder", str(tmp_path / "here"), "--out", str(listed)]
    assert run_app("smile_train", "", COMMANDS, words) == 0
    whole = read_manifest(listed)
    again = replace(whole.videos[0], key="a part", span=Span(0.2, 0.5))
    samples = replace(whole, classes=("b", "a"), videos=(*whole.videos, again))
    write_manifest(listed, samples)
    assert pack(listed, "--out", out, *SMALL, "--workers=0") == 0
    found = open_split(DatasetPlace(name="manifest", root=out.parent), "train")
    kept = samples.only(video.key for video in samples.videos if video.key != "bikes/2.mp4")
    assert found.sha256 == kept.sha256
    assert (found.partial, found.missing, len(found)) == (True, True, 6)
    assert (
        found.videos[-1].path == found.videos[0].path == out / "shard-00000.tar/bigbuckbunny/0.mp4"
    )
    labels = [(video.path.name, video.label) for video in find_videos(out)]
    assert labels == [
        ("0.mp4", "b"),
        ("1.mp4", "b"),
        ("2.mp4", "b"),
        ("0.mp4", "a"),
        ("1.mp4", "a"),
    ]
    first, packed_first = find_videos(packed)[0].path, found.videos[0].path
    assert (read_frames(open_index(first), [9]) == read_frames(open_index(packed_first), [9])).all()

    write_manifest(listed, replace(samples, videos=(replace(again, span=Span(5, 9, "frames")),)))
    assert pack(listed, "--out", tmp_path / "other", "--stride=2") == 2
    assert "spans of frames, whose numbers --stride" in capsys.readouterr().err
    gone = replace(again, key="gone", path=tmp_path / "gone.mp4")
    write_manifest(listed, replace(samples, videos=(gone, *samples.videos)))
    assert pack(listed, "--out", tmp_path / "other") == 2
    assert "gone.mp4 is not there (1 of 7 files are missing)" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_packing_all_that_is_broken_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/no.mp4").write_bytes(b"no video")
    assert pack(tmp_path / "in", "--out", tmp_path / "out") == 2
    assert "none of 1 videos could be packed" in capsys.readouterr().err


def test_json_is_for_machines(videos: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "smile_train", "data", "pack", str(videos / "bikes/0.mp4")]
    words += ["--out", str(tmp_path / "out"), "--json", "--codec=mjpeg", "--workers=0"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["videos"] == 1
    assert facts["frames"] == 24
    assert np.isclose(facts["seconds"], 24 / 25, atol=0.01)
