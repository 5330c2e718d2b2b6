import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank
from smile_motion.bank.statistics import object_score, refusal_counts, score_summary
from smile_motion.cli.app import run_app
from smile_motion.io.files import dump_json, dump_lines, sha256


@pytest.mark.slow
def test_pack_packs_what_is_not_current(
    bank_copy: Path, run_bank: Callable[..., subprocess.CompletedProcess]
) -> None:
    pixels = bank_copy / "packed/pixels.bin"
    sound = pixels.read_bytes()
    assert "already current, 36 objects" in run_bank("pack", bank_copy).stdout
    pixels.write_bytes(b"\0" * len(sound))
    assert "already current" in run_bank("pack", bank_copy).stdout
    assert "packed: packed, 36 objects" in run_bank("pack", bank_copy, "--force").stdout
    assert pixels.read_bytes() == sound
    shutil.rmtree(bank_copy / "packed")
    assert "packed: packed" in run_bank("pack", bank_copy).stdout
    assert pixels.read_bytes() == sound


def test_verify_exits_with_1_and_names_what_is_wrong(
    bank_copy: Path, run_bank: Callable[..., subprocess.CompletedProcess]
) -> None:
    bank = ObjectBank(bank_copy)
    sound = run_bank("verify", bank_copy)
    assert (sound.returncode, sound.stderr) == (0, "")
    files = int(re.search(r"all (\d+) files", sound.stdout)[1])  # type: ignore[index]
    assert files == 1 + 36 + len(json.loads((bank_copy / "packed/pack.json").read_text())["sha256"])
    with (bank_copy / "packed/pixels.bin").open("r+b") as pixels:
        pixels.seek(5000)
        pixels.write(b"\x55\xaa")
    (bank_copy / "packed/cover.npy").unlink()
    record = {"category": "inside", "attempt": 3, "accepted": False} | {
        "id": "inside/000003", "prompt": "", "seed": None, "unsafe": None, "masks": [],
        "segmenter": None, "reason": None,
    }  # fmt: skip
    (bank_copy / "candidates.jsonl").write_bytes(dump_lines([record, record]))
    (bank_copy / "candidates/inside").mkdir(parents=True)
    (bank_copy / "candidates/inside/000003.png").write_bytes(b"torn")
    image = bank.record(0)["file_name"]
    (bank_copy / image).unlink()
    faulty = run_bank("verify", bank_copy, "--json")
    assert faulty.returncode == 1
    faults = json.loads(faulty.stdout)["faults"]
    assert set(faults) == {
        image, "packed/pixels.bin", "packed/cover.npy", "candidates.jsonl",
        "candidates/inside/000003.png",
    }  # fmt: skip
    assert "bank pack" in faults["packed/pixels.bin"]
    assert "twice" in faults["candidates.jsonl"]
    assert "not a readable image (4 bytes)" in faults["candidates/inside/000003.png"]
    said = run_bank("verify", bank_copy)
    assert said.returncode == 1
    assert f"{bank_copy}: 5 of" in said.stderr
    card = json.loads((bank_copy / "bank.json").read_text())
    (bank_copy / "bank.json").write_bytes(dump_json({**card, "candidates_sha256": "0" * 64}))
    assert "candidates.jsonl: differs from the card's hash" in run_bank("verify", bank_copy).stderr
    (bank_copy / "bank.json").write_bytes(dump_json(card))
    (bank_copy / "candidates.jsonl").write_text("{\n")
    assert "jsonl:1: not JSON" in run_bank("verify", bank_copy).stderr
    (bank_copy / "metadata.jsonl").write_text("")
    assert run_bank("verify", bank_copy).returncode == 2


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
    large_records: Path, run_bank: Callable[..., subprocess.CompletedProcess]
) -> None:
    told = run_bank("info", large_records)
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
    every = run_bank("info", large_records, "--all").stdout
    assert all(f"category_{number:04d}" in every for number in range(1203))
    facts = json.loads(run_bank("info", large_records, "--json").stdout)
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
from smile_motion.runtime.progress import stage_bars
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
    modules = ", ".join(f"smile_motion.cli.bank.{name}" for name in names)
    code = f"import sys, {modules}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "smile_motion" in loaded
    assert not loaded & {"numpy", "cv2", "PIL", "torch", "huggingface_hub", "rich", "shapely"}


def test_half_a_name_is_answered_with_the_commands_that_begin_with_it(
    capsys: pytest.CaptureFixture,
) -> None:
    names = [command.name for command in COMMANDS if command.name.startswith("bank ")]
    for words, code in ((["--help"], 0), ([], 2), (["melt"], 2)):
        assert run_app("smile-motion", "Banks.", COMMANDS, ["bank", *words]) == code
        told = capsys.readouterr()
        listing, nothing = (told.err, told.out) if code else (told.out, told.err)
        assert re.findall(r"^  (\w+(?: \w+)?)  ", listing, re.MULTILINE) == names
        assert nothing == ""
        assert ("there is no command" in listing) == bool(code)
