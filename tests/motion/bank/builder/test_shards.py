import json
import shutil
import signal
from pathlib import Path

import pytest
from smile_motion.bank import ProceduralSource, build, verify
from smile_motion.bank.builder.build import build_shard
from smile_motion.bank.builder.shards import merge, wait_for_shards
from smile_motion.bank.candidates.build import Models, build_from_candidates
from smile_motion.errors import InputError
from smile_motion.io.output_folders import folder_lock
from smile_motion.runtime.partition import Launched, Partition
from support import forked
from support.candidate_builds import NAMES, TinyModels, files, launch, plan


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Forty procedural objects in three shards."""
    source = ProceduralSource(count=40, seed=5)
    folders = [tmp_path / "parts" / str(index) for index in range(3)]
    for index, folder in enumerate(folders):
        build_shard(source, folder, Partition(index, 3), workers=0)
    return folders


def numbered(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_merged_shards_are_the_bank_that_one_process_builds(
    parts: list[Path], tmp_path: Path
) -> None:
    build(ProceduralSource(count=40, seed=5), tmp_path / "one", workers=0)
    merge(parts[::-1], tmp_path / "merged")
    assert numbered(tmp_path / "merged") == numbered(tmp_path / "one")
    merge(parts, tmp_path / "merged", remove=True)
    assert numbered(tmp_path / "merged") == numbered(tmp_path / "one")
    assert not any(folder.exists() for folder in parts)


@pytest.mark.slow
def test_merged_shards_of_candidates_are_the_bank_that_one_process_builds(
    models: Models, tmp_path: Path
) -> None:
    # Ten wanted of each fill a unit of four batches in two: three units.
    wanted = plan(each=7)
    build_from_candidates(wanted, lambda: models, tmp_path / "one")
    out = tmp_path / "merged"
    folders = [out / "shards" / Partition(index, 2).name for index in range(2)]
    for index, folder in enumerate(folders):
        build_from_candidates(wanted, lambda: models, folder, shard=Partition(index, 2))
        assert json.loads((folder / "metadata.jsonl").read_text().splitlines()[0])
    assert len({path.name for folder in folders for path in folder.glob("images/*")}) <= len(NAMES)
    merge(folders, out, remove=True)
    assert files(out) == files(tmp_path / "one")
    assert [fault for _, fault in verify(out) if fault] == []


def test_shards_that_do_not_fit_are_refused(parts: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="shard 1 of 3 is missing; build it with --shard-index 1"):
        merge([parts[0], parts[2]], out)
    with pytest.raises(InputError, match=r"parts/0: shard 0 of 3, as .*parts/0 is; drop one"):
        merge([parts[0], *parts], out)
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        merge([*parts, tmp_path / "nowhere"], out)
    other = tmp_path / "other"
    build_shard(ProceduralSource(count=40, seed=6), other, Partition(1, 3), workers=0)
    with pytest.raises(InputError, match=r"other: holds a bank made otherwise .*seed 6 there, 5"):
        merge([parts[0], other, parts[2]], out)
    started = tmp_path / "started"
    shutil.copytree(parts[1], started)
    (started / "shard.json").unlink()
    with pytest.raises(InputError, match=r"no shard\.json, so not a finished shard; run its"):
        merge([parts[0], started, parts[2]], out)
    lines = parts[1] / "metadata.jsonl"
    lines.write_text(lines.read_text().replace('"seed": 5', '"seed": 6'))
    with pytest.raises(InputError, match=r"1/metadata\.jsonl: changed since the shard was built"):
        merge(parts, out)
    assert not (out / "bank.json").exists()


def test_a_shard_continues_only_as_itself(parts: list[Path]) -> None:
    source = ProceduralSource(count=40, seed=5)
    before = numbered(parts[1])
    build_shard(source, parts[1], Partition(1, 3), workers=0)
    assert numbered(parts[1]) == before
    with pytest.raises(InputError, match=r"shard \[1, 3\] there, \[2, 3\] asked for"):
        build_shard(source, parts[1], Partition(2, 3), workers=0)
    with pytest.raises(InputError, match="--shard-index runs from 0"):
        Partition(3, 3)


def test_a_merge_that_was_cut_off_continues(parts: list[Path], tmp_path: Path) -> None:
    image = json.loads((parts[2] / "metadata.jsonl").read_text().splitlines()[-1])["file_name"]
    data = (parts[2] / image).read_bytes()
    (parts[2] / image).unlink()
    with pytest.raises(InputError, match="missing; build the bank again"):
        merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged/bank.json").exists()
    (parts[2] / image).write_bytes(data)
    merge(parts, tmp_path / "merged")
    build(ProceduralSource(count=40, seed=5), tmp_path / "one", workers=0)
    assert numbered(tmp_path / "merged") == numbered(tmp_path / "one")


def test_waiting_ends_when_a_process_ended_without_its_shard(
    parts: list[Path], tmp_path: Path
) -> None:
    wait_for_shards(parts, patience_s=0)
    gone = tmp_path / "gone"
    gone.mkdir()
    told: list[tuple[int, int]] = []
    with pytest.raises(InputError, match="its process ended before the shard was finished"):
        wait_for_shards(
            [*parts, gone], patience_s=0, poll_s=0, on_wait=lambda done, of: told.append((done, of))
        )
    assert set(told) == {(3, 4)}
    # While a process holds the lock, however long that takes, nobody gives up on it.
    looks = iter(range(5))

    def look(done: int, of: int) -> None:
        if next(looks) == 4:
            raise RuntimeError("waited long enough")

    with folder_lock(gone), pytest.raises(RuntimeError, match="waited long enough"):
        wait_for_shards([gone], patience_s=0, poll_s=0, on_wait=look)


def test_launched_processes_know_each_other() -> None:
    assert Launched.from_environment({}) is None
    assert Launched.from_environment({"WORLD_SIZE": "1", "RANK": "0"}) is None
    environment = {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}
    assert Launched.from_environment(environment) == Launched(rank=5, world=8, local_rank=1)


@pytest.mark.slow
def test_processes_launched_together_build_the_same_bank(
    tiny_models: TinyModels, models: Models, tmp_path: Path
) -> None:
    out = tmp_path / "together"

    def start(rank: int, dies_at: tuple[str, str, int] | None = None):
        environment = {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
        arguments = tiny_models.arguments(out, tmp_path / "categories.txt", n=35)
        return launch(
            arguments, environment=environment, dies_at=dies_at, log=tmp_path / f"log{rank}"
        )

    # The second process is killed on its way, so the first is ended as launchers do.
    first, second = start(0), start(1, ("os.rename", "candidates/", 20))
    assert second.wait() == -9
    first.wait_for((out / "shards/0-of-2/build.json").exists)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 143
    assert not (out / "bank.json").exists()
    processes = [start(rank) for rank in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "log1").read_text() == ""
    alone_too = launch(tiny_models.arguments(tmp_path / "one", tmp_path / "categories.txt", n=35))
    assert alone_too.wait() == 0
    assert files(out) == files(tmp_path / "one")
    assert not (out / "shards").exists()


@pytest.mark.slow
def test_accelerate_launches_two_processes(tmp_path: Path) -> None:
    words = [
        "--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no",
        "--dynamo_backend=no", "-m", "smile_motion", "build-bank", "--source=procedural", "--n=40",
        "--seed=5", "--workers=0", f"--out={tmp_path / 'launched'}",
    ]  # fmt: skip
    result = forked.run("accelerate.commands.launch", words)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("40 objects in 30 categories") == 1
    build(
        ProceduralSource(count=40, seed=5),
        tmp_path / "one",
        card={"source_requested": "procedural", "source_reason": None},
        workers=0,
    )
    assert numbered(tmp_path / "launched") == numbered(tmp_path / "one")
