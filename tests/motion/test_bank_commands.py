import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from smile_motion.bank import ObjectBank, build, verify
from smile_motion.bank.dedup import find_copies
from smile_motion.bank.duplicates import fingerprint
from smile_motion.bank.layout import dump_json, dump_lines, sha256
from smile_motion.bank.new_folder import new_folder
from smile_motion.bank.sources import SourceObject
from smile_motion.bank.statistics import object_score, refusal_counts, score_summary
from smile_motion.bank.subset import subset
from smile_motion.errors import InputError

VARIANTS = ("as it is", "smaller", "recompressed")


@dataclass(frozen=True)
class Repeated:
    """Each photograph three times, as it is, made smaller and recompressed, and in two categories;
    the recompressed one has the best score."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    @property
    def count(self) -> int:
        return 6 * len(self.files)

    def make(self, number: int) -> SourceObject:
        category, rest = divmod(number, 3 * len(self.files))
        place, variant = divmod(rest, 3)
        image = cv2.resize(cv2.imread(str(self.files[place])), (180, 150), interpolation=3)
        if variant == 1:
            image = cv2.resize(image, (120, 100), interpolation=cv2.INTER_AREA)
        if variant == 2:
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        alpha = np.zeros((height, width), np.uint8)
        centre, axes = (width // 2, height // 2), (width // 2 - 1, height // 2 - 1)
        cv2.ellipse(alpha, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        rgba = np.dstack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB), alpha])
        details = {"score": 20.0 + variant, "segmenter": "u2net", "variant": VARIANTS[variant]}
        if category == 1:
            details["fingerprint"] = fingerprint(rgba)
        return SourceObject(f"{rest:06d}", ("inside", "outside")[category], rgba, details)

    def card(self) -> dict[str, Any]:
        counts, choice = {"made": 40}, {"by": "build"}
        return {"source": "photographs", "choice": choice, "counts": counts, "licence": "mit"}


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> ObjectBank:
    return build(Repeated(photographs), tmp_path_factory.mktemp("repeated") / "bank", workers=0)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    def call(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "smile_motion", "bank", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    return call


@pytest.fixture
def copy(repeated: ObjectBank, tmp_path: Path) -> Path:
    """A bank that a test may damage."""
    shutil.copytree(repeated.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_dedup_keeps_the_best_of_what_looks_alike(
    repeated: ObjectBank, tmp_path: Path, run: Callable[..., subprocess.CompletedProcess]
) -> None:
    looked = run("dedup", repeated.path, "--dry-run", "--json")
    assert looked.returncode == 0, looked.stderr
    report = json.loads(looked.stdout)
    assert not list(tmp_path.iterdir())
    assert (report["objects"], report["kept"], report["out"]) == (36, 12, None)
    for pair in report["copies"]:
        (category, one), (kept_category, kept) = (pair[k].split("/") for k in ("id", "copy_of"))
        assert category == kept_category
        assert int(one) // 3 == int(kept) // 3
        assert int(kept) % 3 == 2
    written = run("dedup", repeated.path, "--out", "kept")
    assert written.returncode == 0, written.stderr
    assert "inside/000000 looks like inside/000002" in written.stdout
    assert "and 4 more; --all lists them" in written.stdout
    bank = ObjectBank(tmp_path / "kept")
    assert {bank.record(n)["variant"] for n in range(len(bank))} == {"recompressed"}
    assert len(bank) == 12
    assert bank.card["choice"] == {
        "by": "bank dedup", "hash": "64-bit perceptual hash", "max_distance": 4, "removed": 24,
    }  # fmt: skip
    assert bank.card["derived_from"] == {
        "bank": "bank", "count": 36, "metadata_sha256": repeated.card["metadata_sha256"],
        "choice": {"by": "build"}, "counts": {"made": 40},
    }  # fmt: skip
    assert "counts" not in bank.card
    assert bank.card["licence"] == "mit"
    assert [fault for _, fault in verify(bank.path) if fault] == []
    name = bank.record(0)["file_name"]
    assert (bank.path / name).samefile(repeated.path / name)
    again = run("dedup", repeated.path, "--out", "kept")
    assert again.returncode == 2
    assert "kept: not empty" in again.stderr
    assert "add --out NEW" in run("dedup", repeated.path).stderr
    assert "0 to 32" in run("dedup", repeated.path, "--dry-run", "--max-distance", 40).stderr


def test_recorded_hashes_are_not_computed_again(copy: Path) -> None:
    copies = find_copies(copy, 4)
    assert len(copies) == 24
    shutil.rmtree(copy / "images/outside")
    assert find_copies(copy, 4) == copies
    shutil.rmtree(copy / "images/inside")
    with pytest.raises(InputError, match=r"inside/000000\.png: no such file"):
        find_copies(copy, 4)


def test_subsets_have_the_same_pixels_and_say_where_they_are_from(
    repeated: ObjectBank, tmp_path: Path
) -> None:
    first = subset(repeated.path, [30, 4, 4, 7], tmp_path / "a/first", {"note": "three"})
    assert [first.record(n)["id"] for n in range(3)] == [
        repeated.record(n)["id"] for n in (4, 7, 30)
    ]
    for place, number in enumerate((4, 7, 30)):
        np.testing.assert_array_equal(first.image(place), repeated.image(number))
    np.testing.assert_array_equal(first.size, repeated.size[[4, 7, 30]])
    np.testing.assert_array_equal(first.cover, repeated.cover[[4, 7, 30]])
    assert (first.card["count"], first.card["categories"]) == (3, 2)
    second = subset(first.path, (0,), tmp_path / "second", {"choice": {"by": "hand"}})
    assert second.card["note"] == "three"
    assert second.card["derived_from"]["bank"] == "first"
    assert second.card["derived_from"]["derived_from"]["bank"] == "bank"
    assert second.card["derived_from"]["derived_from"]["choice"] == {"by": "build"}
    assert "choice" not in second.card["derived_from"]
    for keep, message in (((), "none of 36 objects"), ((36,), "no object 36"), ((-1,), "no obj")):
        with pytest.raises(InputError, match=message):
            subset(repeated.path, keep, tmp_path / "third", {})
    assert not (tmp_path / "third").exists()


def test_subsets_of_faulty_banks_leave_nothing(copy: Path, tmp_path: Path) -> None:
    bank = ObjectBank(copy)
    image = copy / bank.record(3)["file_name"]
    image.write_bytes((copy / bank.record(6)["file_name"]).read_bytes())
    with pytest.raises(InputError, match=f"{image.name}: changed since the bank was built"):
        subset(copy, [1, 3], tmp_path / "out", {})
    image.unlink()
    with pytest.raises(InputError, match=f"{image.name}: missing"):
        subset(copy, [1, 3], tmp_path / "out", {})
    with (copy / "metadata.jsonl").open("a") as lines:
        lines.write("\n".join((copy / "metadata.jsonl").read_text().splitlines()[:1]) + "\n")
    with pytest.raises(InputError, match=r"metadata\.jsonl: changed since the bank was built"):
        subset(copy, [1], tmp_path / "out", {})
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_records_that_lead_out_of_the_bank_are_refused(copy: Path, tmp_path: Path) -> None:
    records = [json.loads(line) for line in (copy / "metadata.jsonl").read_text().splitlines()]
    for name in ("../x.png", "/etc/x.png", "images/../../x.png", "packed/x.png", "images", 3):
        (copy / "metadata.jsonl").write_bytes(dump_lines([{**records[0], "file_name": name}]))
        with pytest.raises(InputError, match=r"metadata\.jsonl:1: file name .* not below images/"):
            subset(copy, [0], tmp_path / "out", {})


def test_new_folders_appear_whole_and_exclude_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop_half_way(*, resume: bool) -> None:
        with new_folder(out, resume=resume) as folder:
            (folder / "half").touch()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way(resume=False)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way(resume=True)
    assert not out.exists()
    with new_folder(out, resume=True) as folder:
        assert (folder / "half").exists()
        with pytest.raises(InputError, match="another process is writing it"):
            new_folder(out).__enter__()
    assert [path.name for path in out.iterdir()] == ["half"]
    with pytest.raises(InputError, match="not empty"), new_folder(out):
        raise AssertionError
    # What a killed process left is not taken for part of the next result.
    (tmp_path / ".next.partial/images").mkdir(parents=True)
    (tmp_path / ".next.partial/images/stale.png").touch()
    with new_folder(tmp_path / "next") as folder:
        (folder / "whole").touch()
    assert [path.name for path in (tmp_path / "next").iterdir()] == ["whole"]


def test_pack_packs_what_is_not_current(
    copy: Path, run: Callable[..., subprocess.CompletedProcess]
) -> None:
    pixels = copy / "packed/pixels.bin"
    sound = pixels.read_bytes()
    assert "already current, 36 objects" in run("pack", copy).stdout
    pixels.write_bytes(b"\0" * len(sound))
    assert "already current" in run("pack", copy).stdout
    assert "packed: packed, 36 objects" in run("pack", copy, "--force").stdout
    assert pixels.read_bytes() == sound
    shutil.rmtree(copy / "packed")
    assert "packed: packed" in run("pack", copy).stdout
    assert pixels.read_bytes() == sound


def test_verify_exits_with_1_and_names_what_is_wrong(
    copy: Path, run: Callable[..., subprocess.CompletedProcess]
) -> None:
    bank = ObjectBank(copy)
    sound = run("verify", copy)
    assert (sound.returncode, sound.stderr) == (0, "")
    files = int(re.search(r"all (\d+) files", sound.stdout)[1])  # type: ignore[index]
    assert files == 1 + 36 + len(json.loads((copy / "packed/pack.json").read_text())["sha256"])
    with (copy / "packed/pixels.bin").open("r+b") as pixels:
        pixels.seek(5000)
        pixels.write(b"\x55\xaa")
    (copy / "packed/cover.npy").unlink()
    record = {"category": "inside", "attempt": 3, "accepted": False}
    (copy / "candidates.jsonl").write_bytes(dump_lines([record, record]))
    (copy / "candidates/inside").mkdir(parents=True)
    (copy / "candidates/inside/000003.png").write_bytes(b"torn")
    image = bank.record(0)["file_name"]
    (copy / image).unlink()
    faulty = run("verify", copy, "--json")
    assert faulty.returncode == 1
    faults = json.loads(faulty.stdout)["faults"]
    assert set(faults) == {
        image, "packed/pixels.bin", "packed/cover.npy", "candidates.jsonl",
        "candidates/inside/000003.png",
    }  # fmt: skip
    assert "bank pack" in faults["packed/pixels.bin"]
    assert "twice" in faults["candidates.jsonl"]
    assert "not a readable image (4 bytes)" in faults["candidates/inside/000003.png"]
    said = run("verify", copy)
    assert said.returncode == 1
    assert f"{copy}: 5 of" in said.stderr
    card = json.loads((copy / "bank.json").read_text())
    (copy / "bank.json").write_bytes(dump_json({**card, "candidates_sha256": "0" * 64}))
    assert "candidates.jsonl: differs from the card's hash" in run("verify", copy).stderr
    (copy / "bank.json").write_bytes(dump_json(card))
    (copy / "candidates.jsonl").write_text("{\n")
    assert "jsonl:1: not a candidate's record" in run("verify", copy).stderr
    (copy / "metadata.jsonl").write_text("")
    assert run("verify", copy).returncode == 2


@pytest.fixture(scope="module")
def large_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Card and records of a bank of 1203 categories, as a diffusion build would leave them."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    records = [
        {
            "file_name": f"images/category_{number:04d}/{place:06d}.png",
            "id": f"category_{number:04d}/{place:06d}",
            "category": f"category_{number:04d}",
            "score": round(float(rng.normal(24, 2)), 3),
            "segmenter": "isnet" if place % 3 else "u2net",
            "sha256": "0" * 64,
        }
        for number in range(1203)
        for place in range(1 + number % 7)
    ]
    lines = dump_lines(records)
    (folder / "metadata.jsonl").write_bytes(lines)
    card = {
        "format": 1,
        "source": "stable-diffusion",
        "licence": "CreativeML-OpenRAIL-M",
        "safety": {"denied categories": 12, "checker": "on"},
        "counts": {"made": 6000, "refused": {"score below": 1190}, "accepted": len(records)},
        "fell_short": [
            {"category": f"category_{number:04d}", "wanted": 7, "tries": 28, "accepted": 1}
            for number in range(0, 1203, 7)
        ],
        "segmenters": [{"name": "isnet", "sha256": "ab"}, {"name": "u2net", "sha256": "cd"}],
        "count": len(records),
        "categories": 1203,
        "metadata_sha256": sha256(lines),
    }
    (folder / "bank.json").write_bytes(dump_json(card))
    return folder


def test_info_fits_on_a_screen_or_says_everything(
    large_records: Path, run: Callable[..., subprocess.CompletedProcess]
) -> None:
    told = run("info", large_records)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) < 100
    for words in (
        "categories: 1203, of 1 to 7 objects, median 4",
        "CLIP scores of",
        "categories that fell short: 172; the first 16",
        "refused score below",
        "denied categories",
        "CreativeML-OpenRAIL-M",
        "category_0000",
        "category_1196",
    ):
        assert words in told.stdout
    assert re.search(r"made +│ +6000", told.stdout)
    assert re.search(r"category_0105 +│ 7 +│ 28 +│ 1", told.stdout)
    assert "category_0600" not in told.stdout
    every = run("info", large_records, "--all").stdout
    assert all(f"category_{number:04d}" in every for number in range(1203))
    facts = json.loads(run("info", large_records, "--json").stdout)
    assert len(facts["categories"]) == 1203
    assert facts["scores"]["quantiles"]["0.5"] == pytest.approx(24, abs=0.2)
    assert sum(facts["scores"]["counts"]) == facts["objects"] == facts["scores"]["count"]
    assert facts["segmenters"].keys() == {"isnet", "u2net"}
    assert facts["packed"] is False


def test_scores_come_from_wherever_a_record_has_them() -> None:
    masks = [{"segmenter": "a", "score": 20.0}, {"segmenter": "b", "score": 25.5}]
    assert object_score({"score": 21}) == 21.0
    assert object_score({"masks": masks, "segmenter": "a"}) == 20.0
    assert object_score({"masks": masks, "segmenter": None}) == 25.5
    assert object_score({"masks": []}) is None
    assert score_summary([{}]) is None
    summary = score_summary([{"score": float(n)} for n in range(101)], bins=10)
    assert summary is not None
    assert summary["quantiles"]["0.05"] == 5.0
    assert summary["counts"] == [10] * 9 + [11]
    refused = [
        {"accepted": False, "reason": "score 17.25 below 21.00"},
        {"accepted": False, "reason": "score -1.00 below 19.20"},
        {"accepted": False, "reason": "looks like cat/000003"},
        {"accepted": True, "reason": None},
    ]
    assert refusal_counts(refused) == {"score below": 2, "looks like": 1}


def test_nothing_is_drawn_between_stages() -> None:
    code = """
import sys
from smile_motion.bank.progress import stage_bars
with stage_bars() as on_progress:
    for stage in ("placing", "packing", "placing"):
        for done in range(1, 4):
            on_progress(stage, done, 3)
        sys.stderr.write(f"<after {stage}>")
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # The terminal is closed when the process ends.
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", shown.decode())
    stages = re.findall(r"(placing|packing) [^<]*3/3[^<]*<after (\w+)>", text)
    assert stages == [("placing", "placing"), ("packing", "packing"), ("placing", "placing")]


def test_help_needs_none_of_the_libraries() -> None:
    names = ("sheet", "dedup", "pack", "export", "push", "pull", "info", "verify")
    modules = ", ".join(f"smile_motion.cli.bank_{name}" for name in names)
    code = f"import sys, {modules}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "smile_motion" in loaded
    assert not loaded & {"numpy", "cv2", "PIL", "torch", "huggingface_hub", "rich", "shapely"}
