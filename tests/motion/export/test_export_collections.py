"""Collections: the same bytes however the work is split, and after whatever went wrong."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from smile_motion import ClipMaker, InputError, MotionRecipe, make_background
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import read_clip
from smile_motion.export import Collection, Videos, WebDataset, render_shard
from support.render_command import index_lines, render, start_render, tree

PACKED = ["--format", "webdataset", "--clips-per-shard", "2"]


@pytest.fixture
def few(small_bank: ObjectBank) -> list[str | Path]:
    return ["--bank", small_bank.path, "--size", "32", "--frames", "2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "workers"),
    [
        (PACKED, 2),
        (["--format", "datasets", "--clips-per-shard", "3"], 0),
        (["--format", "coco"], 2),
        (["--format", "tapvid"], 0),
    ],
)
def test_processes_jobs_and_order_give_the_same_bytes(
    form: list[str], workers: int, few: list, tmp_path: Path
) -> None:
    all_ = [*few, *form, "--n", "7"]
    assert render(*all_, "--workers", "0", "--out", tmp_path / "one") == 0
    expected = tree(tmp_path / "one")
    assert "index.jsonl" in expected
    if workers:
        assert render(*all_, "--workers", workers, "--out", tmp_path / "two") == 0
        assert tree(tmp_path / "two") == expected
    for index in (2, 0, 1):
        job = ["--shard-index", str(index), "--num-shards", "3", "--workers", "0"]
        assert not (tmp_path / "jobs/index.jsonl").exists()
        assert render(*all_, *job, "--out", tmp_path / "jobs") == 0
    assert tree(tmp_path / "jobs") == expected


@pytest.mark.slow
@pytest.mark.parametrize("form", [[], PACKED, ["--format", "datasets"]])
def test_a_broken_video_ends_a_collection_or_is_replaced_as_asked(
    form: list[str],
    few: list,
    real_videos: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name, path in real_videos.items():
        (videos / f"{name}.mp4").symlink_to(path)
    torn = videos / "torn.mp4"
    torn.write_bytes(real_videos["bikes"].read_bytes()[:9000])
    all_ = [*few, *form, "--background", "natural", "--videos", videos, "--n", "8", "--out"]
    assert render(*all_, tmp_path / "one", "--workers", "0") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert str(torn) in said[0]
    assert said[0].endswith("with --allow-broken")
    # What was finished is kept, and is as with the option.
    assert render(*all_, tmp_path / "one", "--workers", "0", "--allow-broken") == 0
    assert "2 of the clips have another file behind them than their own" in (
        out := capsys.readouterr().out
    )
    assert str(torn) in out
    assert render(*all_, tmp_path / "two", "--workers", "2", "--allow-broken") == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    told = {
        number: faults
        for line in index_lines(tmp_path / "one")
        for number, faults in line.get("broken", {}).items()
    }
    assert set(told) == {"2", "5"}  # of three videos in order, the third
    for faults in told.values():
        assert len(faults) == 1
        assert faults[0].startswith(f"{torn}: not a readable video")
    if not form:
        for number in (1, 2):
            path = tmp_path / f"one/clip_{number:06d}.json"
            origin = json.loads(path.read_text())["background"]
            assert Path(origin["file"]).stem in real_videos
            assert ("broken" in origin) == (number == 2)
            bank = ObjectBank(few[1])
            maker = ClipMaker(
                bank=bank,
                recipe=MotionRecipe.paper(),
                background=make_background("natural", videos=videos),
                frames=2,
                size=(32, 32),
                allow_broken=True,
            )
            assert (read_clip(path, bank).frames == maker.make(number).frames).all()


def test_nothing_replaces_a_collection_that_is_broken_as_a_whole(
    few: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(b"no photograph")
    words = [*few, "--background", "places", "--images", tmp_path, "--n", "1", "--workers", "0"]
    assert render(*words, "--allow-broken", "--out", tmp_path / "clips") == 2
    assert "50 files in a row cannot be used, the last: " in capsys.readouterr().err
    assert not list((tmp_path / "clips").glob("clip_*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc fills memory on request")
def test_bytes_do_not_depend_on_what_memory_held_before(few: list, tmp_path: Path) -> None:
    words = [*few, "--size", "64", "--frames", "8", "--workers", "0", "--n", "6", "--out"]
    command = [sys.executable, "-m", "smile_motion", "render", *map(str, words)]
    processes = [
        subprocess.Popen([*command, tmp_path / fill], env=os.environ | {"MALLOC_PERTURB_": fill})
        for fill in ("85", "255")
    ]
    assert [process.wait(timeout=100) for process in processes] == [0, 0]
    assert tree(tmp_path / "85") == tree(tmp_path / "255")


def test_the_last_job_leaves_alone_what_another_last_one_writes(few: list, tmp_path: Path) -> None:
    words = [*few, "--format", "coco", "--n", "2", "--num-shards", "2", "--workers", "0"]
    assert render(*words, "--shard-index", "0", "--out", tmp_path) == 0
    theirs = [tmp_path / f".{name}.0a.tmp" for name in ("index.jsonl", "instances.json")]
    killed = tmp_path / ".clip_000001.0a.tmp"
    for path in (*theirs, killed):
        path.write_text("half")
    assert render(*words, "--shard-index", "1", "--out", tmp_path) == 0
    assert all(path.exists() for path in theirs)
    assert not killed.exists()


def test_a_job_done_again_changes_nothing(few: list, tmp_path: Path, capsys) -> None:
    words = [*few, *PACKED, "--n", "6", "--num-shards", "2", "--workers", "0", "--out", tmp_path]
    assert render(*words, "--shard-index", "0") == 0
    assert "last of the 2 jobs writes the index" in capsys.readouterr().out
    assert render(*words, "--shard-index", "0") == 0
    assert not (tmp_path / "index.jsonl").exists()
    assert render(*words, "--shard-index", "1") == 0
    assert "index.jsonl" in capsys.readouterr().out
    before = tree(tmp_path)
    assert render(*words, "--shard-index", "0") == 0
    assert tree(tmp_path) == before


def test_shards_are_balanced_and_any_process_can_make_any(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    maker = ClipMaker(
        bank=small_bank,
        recipe=MotionRecipe.paper(),
        background=make_background("noise"),
        frames=2,
        size=(32, 32),
    )
    collection = Collection(
        maker=maker, folder=tmp_path, count=10, format=WebDataset(clips_per_shard=4)
    )
    clips = [collection.shard(number).clips for number in range(collection.shards)]
    assert [len(range_) for range_ in clips] == [3, 3, 4]
    assert [index for range_ in clips for index in range_] == list(range(10))
    line = render_shard(1, collection)
    assert (line["first"], line["clips"]) == (3, 3)
    first = tree(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert render_shard(1, pickle.loads(pickle.dumps(collection))) == line
    assert tree(tmp_path) == first
    with pytest.raises(InputError, match="shards 0 to 2"):
        render_shard(3, collection)
    one_by_one = Collection(maker=maker, folder=tmp_path, count=10, format=Videos())
    assert one_by_one.shards == 10


@pytest.mark.parametrize("form", [PACKED, ["--format", "datasets", "--clips-per-shard", "2"],
                                  ["--format", "frames"], ["--format", "mp4"]])  # fmt: skip
def test_what_is_missing_torn_or_changed_is_made_again(
    form: list[str], few: list, tmp_path: Path, capsys
) -> None:
    words = [*few, *form, "--n", "6", "--workers", "0", "--out", tmp_path / "out"]
    assert render(*words) == 0
    whole = tree(tmp_path / "out")
    data = [name for name in whole if name.endswith((".tar", ".parquet", ".png", ".mp4"))]
    for damage in ("missing", "torn", "changed", "empty"):
        path = tmp_path / "out" / data[1]
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            middle = len(content) // 2
            changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            path.write_bytes({"torn": content[:middle], "changed": changed, "empty": b""}[damage])
        assert render(*words) == 0
        assert tree(tmp_path / "out") == whole, damage
    capsys.readouterr()
    assert render(*words) == 0
    assert "6 clips" in (out := capsys.readouterr().out)
    assert f"{3 if form[1] in ('webdataset', 'datasets') else 6} of them there already" in out
    # Without an index, what lies there is read.
    (tmp_path / "out/index.jsonl").unlink()
    assert render(*words) == 0
    assert tree(tmp_path / "out") == whole


def test_fewer_clips_leave_the_index_of_a_larger_collection(few: list, tmp_path: Path) -> None:
    words = [*few, "--workers", "0", "--format", "youtube-vis", "--out", tmp_path]
    assert render(*words, "--n", "5") == 0
    whole = tree(tmp_path)
    assert render(*words, "--n", "2") == 0
    assert tree(tmp_path) == whole
    shutil.rmtree(tmp_path / "clip_000004")
    assert render(*words, "--n", "2") == 0
    lines = (tmp_path / "index.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 3]
    assert len(json.loads((tmp_path / "instances.json").read_text())["videos"]) == 4
    assert render(*words, "--n", "5") == 0
    assert tree(tmp_path) == whole


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "all"])
def test_killed_processes_lose_nothing(victim: str, few: list, tmp_path: Path) -> None:
    words = [*few, *PACKED, "--n", "50", "--out"]
    process = start_render(*words, tmp_path / "out", "--workers", "2")
    process.wait_for(lambda: len(list((tmp_path / "out").glob("shard-*.tar"))) >= 4)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.ppid() != process.pid  # but that of the process which forks them
    ]
    assert len(workers) == 2
    if victim == "worker":
        workers[0].kill()
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    else:
        os.kill(process.pid, signal.SIGKILL)  # its workers are in its session
        process.wait(timeout=20)
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive, "workers outlive the process that started them"
        assert not (tmp_path / "out/index.jsonl").exists()
        assert render(*words, tmp_path / "out", "--workers", "0") == 0
    assert render(*words, tmp_path / "alone", "--workers", "0") == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_whole_shards_alone(number: int, few: list, tmp_path: Path) -> None:
    words = [*few, *PACKED, "--n", "300", "--workers", "2", "--out", tmp_path]
    process = start_render(*words)
    process.wait_for(lambda: list(tmp_path.glob("shard-*.tar")))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    names = set(tree(tmp_path))
    assert {name.split("-")[0] for name in names} == {"render.json", "shard"}
    whole = len(names) - 1
    assert 0 < whole < 150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard-index", "1"], "--num-shards go together"),
        (["--shard-index", "2", "--num-shards", "2"], "runs from 0 to --num-shards - 1"),
        (["--address", "127.0.0.1:1"], "--address has an effect only with --engine ray"),
        (["--engine", "ray", "--workers", "2"], "--workers has an effect only with --engine local"),
        (["--clips-per-shard", "0", "--format", "webdataset"], "--clips-per-shard is 0"),
        (["--lossless", "--format", "frames"], "--lossless has an effect only with --format mp4"),
        (["--points", "0", "--format", "tapvid"], "--points is 0"),
        (["--frames", "1", "--format", "flo"], "flow needs two frames"),
        (["--engine", "ray", "--address", "127.0.0.1:9"], "Ray at 127.0.0.1:9: cannot connect"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], message: str, few: list, tmp_path: Path, capsys
) -> None:
    assert render(*few, *arguments, "--out", tmp_path) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("clip_*"))


def test_collections_made_otherwise_are_not_mixed(few: list, tmp_path: Path, capsys) -> None:
    words = [*few, "--workers", "0", "--out", tmp_path, "--n", "3"]
    assert render(*words, *PACKED) == 0
    for other, told in (
        ([*PACKED, "--n", "5"], "n 3 there, 5 asked for"),
        ([*PACKED, "--clips-per-shard", "1"], "clips_per_shard 2 there, 1 asked for"),
        ([*PACKED, "--seed", "1"], "seed 0 there, 1 asked for"),
        (["--format", "mp4"], "format 'webdataset' there, 'mp4' asked for"),
    ):
        assert render(*words, *other) == 2
        assert told in capsys.readouterr().err
    (tmp_path / "render.json").unlink()
    assert render(*words, *PACKED) == 2
    assert "holds other clips" in capsys.readouterr().err
