import json
import pickle
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from PIL import Image
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import FolderSource, ObjectBank, ProceduralSource, build, verify
from smile_motion.bank.builder.procedural import CATEGORIES
from smile_motion.bank.candidates.images import PhotographSource
from smile_motion.bank.packed_object import make_levels, trace_silhouette
from smile_motion.cli.app import run_app
from smile_motion.cli.bank.build import Options, ShardOptions, _build_there
from smile_motion.errors import InputError
from smile_motion.io.images import find_photographs
from smile_motion.runtime.workers import run_in_processes
from smile_motion.seeding import Stream, keyed_generator
from support import forked


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a bank but the lock, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def build_bank(*arguments: str | Path) -> int:
    """Run the command in this process; returns its exit code."""
    return run_app("smile-motion", "", COMMANDS, ["build-bank", *map(str, arguments)])


@pytest.fixture
def cut_outs(tmp_path: Path, photographs: Path) -> Path:
    """Real photographs cut out by ellipses: PNG and WebP, in two categories and at the root."""
    root = tmp_path / "rgba"
    for number, path in enumerate(sorted(photographs.iterdir())):
        image = cv2.imread(str(path))
        alpha = np.zeros(image.shape[:2], np.uint8)
        height, width = alpha.shape
        axes = (width // 3, height // 4)
        cv2.ellipse(
            alpha, (width // 2, height // 2), axes, 20.0 * number, 0, 360, 255, -1, cv2.LINE_AA
        )
        folder = (root / "animal", root / "thing", root)[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        suffix = "webp" if number == 4 else "png"
        cv2.imwrite(str(folder / f"{number}.{suffix}"), np.dstack([image, alpha]))
    return root


def test_procedural_objects_are_distinct_cropped_and_balanced(small_bank: ObjectBank) -> None:
    assert len(small_bank) == 30
    assert small_bank.categories == tuple(sorted(CATEGORIES))
    pictures = set()
    for index in range(len(small_bank)):
        rgba = small_bank.image(index)
        assert max(rgba.shape[:2]) == 256
        alpha = rgba[..., 3]
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert edge.any()
        assert 0.05 < (alpha > 127).mean() < 0.99
        assert ((alpha > 0) & (alpha < 255)).any()
        pictures.add(rgba.tobytes())
    assert len(pictures) == 30


def test_levels_halve_and_keep_the_premultiplied_mean() -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (200, 256, 4), np.uint8)
    levels = make_levels(rgba)
    assert [level.shape[1] - 2 for level in levels] == [256, 128, 64, 32, 16, 8]
    mean = (rgba[..., :3].astype(float) * rgba[..., 3:] / 255).mean((0, 1))
    for level in levels:
        for edge in (level[0], level[-1], level[:, 0], level[:, -1]):
            assert not edge.any()
        inside = level[1:-1, 1:-1].astype(float)
        np.testing.assert_allclose(inside[..., :3].mean((0, 1)), mean, atol=1)
        assert (inside[..., :3] <= inside[..., 3:]).all()


def test_large_images_are_bounded_in_the_pack() -> None:
    levels = make_levels(np.full((300, 600, 4), 255, np.uint8))
    assert levels[0].shape == (130, 258, 4)


def test_silhouettes_run_between_the_pixels_and_keep_holes() -> None:
    y, x = np.mgrid[:102, :102].astype(float)
    radius = np.hypot(x - 50.5, y - 50.5)
    alpha = 255 * np.clip(40.5 - radius, 0, 1) * np.clip(radius - 19.5, 0, 1)
    rings, holes = trace_silhouette(alpha.astype(np.uint8))
    assert holes == [False, True]
    ring = shapely.Polygon(rings[0] * 100, [rings[1] * 100])
    assert ring.area == pytest.approx(np.pi * (40**2 - 20**2), rel=0.005)
    assert ring.bounds == pytest.approx((-40, -40, 40, 40), abs=0.2)


def test_outlines_agree_with_the_stored_alpha(small_bank: ObjectBank) -> None:
    for index in range(len(small_bank)):
        alpha = small_bank.image(index)[..., 3]
        area = small_bank.outline(index).area * alpha.size
        assert area == pytest.approx((alpha > 127).sum(), rel=0.02)


def test_sampling_is_uniform_over_categories_then_objects(cut_outs: Path, tmp_path: Path) -> None:
    bank = build(FolderSource.open(cut_outs), tmp_path / "bank", workers=0)
    assert bank.categories == ("animal", "object", "thing")
    drawn = bank.sample(keyed_generator(0, Stream.MOTION), 30_000)
    shares = np.bincount(bank.category[drawn]) / len(drawn)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.02)
    objects = np.bincount(drawn, minlength=len(bank))
    assert (objects > 0).all()


def test_names_of_categories_may_hold_what_ends_lines_elsewhere(
    cut_outs: Path, tmp_path: Path
) -> None:
    folder = next(path for path in sorted(cut_outs.iterdir()) if path.is_dir())
    folder.rename(cut_outs / "odd\u2028name\x85")
    bank = build(FolderSource.open(cut_outs), tmp_path / "bank", workers=0)
    shutil.rmtree(bank.path / "packed")
    assert "odd\u2028name\x85" in ObjectBank.open(bank.path).categories


def test_a_bank_travels_to_other_processes_as_its_path(small_bank: ObjectBank) -> None:
    data = pickle.dumps(small_bank)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert (again.pixels == small_bank.pixels).all()


def test_opening_packs_what_is_not_packed_or_no_longer(cut_outs: Path, tmp_path: Path) -> None:
    bank = build(FolderSource.open(cut_outs), tmp_path / "bank", workers=0)
    before = files(bank.path / "packed")
    shutil.rmtree(bank.path / "packed")
    assert files(ObjectBank.open(bank.path).path / "packed") == before


def test_a_bank_changed_since_it_was_built_is_refused(cut_outs: Path, tmp_path: Path) -> None:
    bank = build(FolderSource.open(cut_outs), tmp_path / "bank", workers=0)
    metadata = bank.path / "metadata.jsonl"
    text = metadata.read_text()
    metadata.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"metadata\.jsonl: changed since the bank was built"):
        ObjectBank.open(bank.path)
    metadata.write_text(text)
    assert len(ObjectBank.open(bank.path)) == len(bank)
    image = bank.path / bank.record(0)["file_name"]
    image.write_bytes((bank.path / bank.record(1)["file_name"]).read_bytes())
    shutil.rmtree(bank.path / "packed")
    with pytest.raises(InputError, match=f"{image.name}: changed since the bank was built"):
        ObjectBank.open(bank.path)


def test_a_build_does_not_depend_on_its_processes(tmp_path: Path) -> None:
    source = ProceduralSource(count=40, seed=5)
    build(source, tmp_path / "one", workers=0)
    build(source, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_processes_are_started_for_many_objects_and_in_no_task_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(work: Any, numbers: Any, *, workers: int, chunk: int) -> Any:
        asked.append(workers)
        return run_in_processes(work, numbers, workers=0, chunk=chunk)

    monkeypatch.setattr("smile_motion.bank.builder.build.run_in_processes", note)
    monkeypatch.setattr("smile_motion.bank.builder.build.available_cores", lambda: 2)
    monkeypatch.setattr("smile_motion.bank.builder.build.WORTH_A_PROCESS", 4)
    build(ProceduralSource(count=3), tmp_path / "few")
    build(ProceduralSource(count=9), tmp_path / "many")
    options = Options(
        source="procedural", n=18, out=tmp_path / "there", shard=ShardOptions(num_shards=2)
    )
    _build_there(options, 1)
    _build_there(replace(options, out=tmp_path / "asked", workers=3), 0)
    assert asked == [0, 2, 0, 3]


@pytest.mark.slow
def test_a_killed_build_continues_to_the_same_bytes(tmp_path: Path) -> None:
    words = ["build-bank", "--source=procedural", "--n=60", "--seed=3", "--workers=0", "--out"]
    for wanted in (10, 30):
        process = forked.start("smile_motion", [*words, tmp_path / "killed"])

        def has_begun(wanted: int = wanted) -> bool:
            return len(list((tmp_path / "killed").glob("images/*/*.png"))) >= wanted

        process.wait_for(has_begun, every_s=0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/bank.json").exists()
    with pytest.raises(InputError, match="not a finished bank"):
        ObjectBank.open(tmp_path / "killed")
    for name in ("killed", "straight"):
        assert forked.run("smile_motion", [*words, tmp_path / name]).returncode == 0
    assert files(tmp_path / "killed") == files(tmp_path / "straight")


def test_two_builds_of_one_bank_exclude_each_other(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "bank").mkdir()
    with (tmp_path / "bank/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is writing it"):
            build(ProceduralSource(count=2), tmp_path / "bank", workers=0)


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    build(ProceduralSource(count=2), tmp_path / "bank", workers=0)
    with pytest.raises(InputError, match="count 2 there, 3 asked for"):
        build(ProceduralSource(count=3), tmp_path / "bank", workers=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(InputError, match=r"notes\.txt and is no bank"):
        build(ProceduralSource(count=3), tmp_path / "full", workers=0)


def test_verify_names_every_wrong_file(cut_outs: Path, tmp_path: Path) -> None:
    bank = build(FolderSource.open(cut_outs), tmp_path / "bank", workers=0)
    assert [fault for _, fault in verify(bank.path) if fault] == []
    changed, missing, torn = (bank.path / bank.record(i)["file_name"] for i in range(3))
    changed.write_bytes((bank.path / bank.record(4)["file_name"]).read_bytes())
    missing.unlink()
    torn.write_bytes(b"")
    (bank.path / "images/stray.png").touch()
    faults = {Path(name).name: fault for name, fault in verify(bank.path) if fault}
    assert faults[changed.name] == "differs from its recorded hash"
    assert faults[missing.name] == "missing"
    assert "empty" in faults[torn.name]
    assert "not listed" in faults["stray.png"]
    assert len(faults) == 4


def test_lists_select_files_and_numbers_balance_categories(cut_outs: Path, tmp_path: Path) -> None:
    chosen = FolderSource.open(cut_outs, count=3)
    assert len({Path(file).parent for file in chosen.files}) == 3
    (tmp_path / "list.txt").write_text("animal/0.png\nthing/1.png\n")
    listed = FolderSource.open(cut_outs, list_file=tmp_path / "list.txt")
    assert listed.files == ("animal/0.png", "thing/1.png")
    for line in ("animal/9.png", "../list.txt"):
        (tmp_path / "list.txt").write_text(f"animal/0.png\n{line}\n")
        with pytest.raises(InputError, match=r"list\.txt:2: "):
            FolderSource.open(cut_outs, list_file=tmp_path / "list.txt")
    with pytest.raises(InputError, match="6 images, fewer than --n 7"):
        FolderSource.open(cut_outs, count=7)


def test_images_without_transparency_are_no_objects_and_counted(
    cut_outs: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in photographs.iterdir():
        shutil.copy(path, cut_outs / "animal")
    palette = Image.open(photographs / "chelsea.png").quantize(64)
    palette.save(cut_outs / "animal/flat.png")
    palette.save(cut_outs / "animal/clear.png", transparency=palette.getpixel((0, 0)))
    palette.save(cut_outs / "scan.tif")
    words = ["--source", "folder", "--workers", "0", "--from"]
    assert build_bank(*words, cut_outs, "--out", tmp_path / "bank") == 0
    assert (
        "images left out: 3 .jpg files, 1 .tif files, 4 without transparency; cut objects out of "
        "photographs with --source images"
    ) in capsys.readouterr().out.splitlines()
    bank = ObjectBank(tmp_path / "bank")
    assert len(bank) == 7  # six cut-outs and `clear`
    assert bank.card["left_out"] == {".jpg files": 3, ".tif files": 1, "without transparency": 4}

    assert build_bank(*words, photographs, "--out", tmp_path / "none") == 2
    said = capsys.readouterr().err.splitlines()
    assert "no image or video with transparency below it (3 .jpg files, 3 without" in said[-1]
    assert "--source images" in said[-1]
    assert not (tmp_path / "none").exists()

    (tmp_path / "list.txt").write_text("animal/0.png\nanimal/flat.png\n")
    with pytest.raises(InputError, match=r"list\.txt:2: animal/flat\.png: has no transparency"):
        FolderSource.open(cut_outs, list_file=tmp_path / "list.txt")

    Image.open(photographs / "chelsea.png").convert("RGBA").save(cut_outs / "animal/full.png")
    with pytest.raises(InputError, match=r"full\.png: opaque to its corners"):
        build(FolderSource.open(cut_outs), tmp_path / "other", workers=0)


def test_photographs_that_are_not_used_are_counted(
    photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    category = Path(shutil.copytree(photographs, tmp_path / "photographs/cat"))
    Image.open(photographs / "chelsea.png").save(category / "a.tif")
    shutil.copy(photographs / "chelsea.png", category.parent)
    source, _ = PhotographSource.open(category.parent, seed=0, largest_px=64)
    assert source.card()["files"] == 6
    assert source.card()["left_out"] == {"in no folder named by category": 1, ".tif files": 1}
    assert len(find_photographs(category.parent)) == 7
    assert "left out: 1 .tif files; of images .jpg" in caplog.text


@pytest.mark.parametrize(
    ("harm", "message"),
    [("empty", "empty"), ("torn", "not a readable image"), ("clear", "no opaque pixel")],
)
def test_images_that_cannot_be_used_are_named(
    cut_outs: Path, tmp_path: Path, harm: str, message: str
) -> None:
    path = cut_outs / "animal/0.png"
    match harm:
        case "empty":
            path.write_bytes(b"")
        case "torn":
            path.write_bytes(path.read_bytes()[:2000])
        case "clear":
            cv2.imwrite(str(path), np.zeros((20, 20, 4), np.uint8))
    with pytest.raises(InputError, match=message) as caught:
        build(FolderSource.open(cut_outs), tmp_path / "bank", workers=0)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "bank/bank.json").exists()


def test_datasets_reads_a_bank_as_it_is(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    loaded = load_dataset(
        "imagefolder", data_dir=str(small_bank.path), split="train", cache_dir=str(tmp_path)
    )
    assert len(loaded) == 30
    assert set(loaded["category"]) == set(CATEGORIES)
    assert loaded[0]["image"].mode == "RGBA"


@pytest.mark.slow
def test_the_commands_say_what_is_there(small_bank: ObjectBank, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return forked.run("smile_motion", arguments, cwd=tmp_path)

    info = run("bank", "info", str(small_bank.path), "--json")
    assert json.loads(info.stdout)["card"]["source"] == "procedural"
    assert "star-cells" in run("bank", "info", str(small_bank.path)).stdout
    assert "as recorded" in run("bank", "verify", str(small_bank.path)).stdout
    auto = run("build-bank", "--n", "3", "--out", "auto", "--workers", "0")
    assert "source: procedural, because" in auto.stderr
    card = json.loads((tmp_path / "auto/bank.json").read_text())
    assert card["source_requested"] == "auto"
    assert "Stable Diffusion" in card["source_reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build-bank", "--n", "0"], "--n is 0"),
        (["build-bank", "--source", "folder"], "add --from DIR"),
        (["build-bank", "--source", "folder", "--from", "nowhere"], "nowhere: no such folder"),
        (["build-bank", "--source", "stable-diffusion", "--categories", "x.txt"], "no such file"),
        (["build-bank", "--source", "stable-diffusion", "--preset", "modern"], "add --model"),
        (["build-bank", "--source", "images"], "add --from DIR"),
        (["build-bank", "--source", "procedural", "--shard-index", "1"], "give both"),
        (["build-bank", "--source", "procedural", "--out", "file/bank"], "a file is in the way"),
        (["bank", "info", "nowhere"], "nowhere: no such folder"),
        (["bank", "verify", "."], "no bank.json"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = forked.run("smile_motion", arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
