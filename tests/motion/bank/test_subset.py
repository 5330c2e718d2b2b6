import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank import ObjectBank, verify
from smile_motion.bank.dedup import find_copies
from smile_motion.bank.subset import subset
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines
from smile_motion.io.output_folders import new_folder


def test_dedup_keeps_the_best_of_what_looks_alike(
    repeated: ObjectBank, tmp_path: Path, run_bank: Callable[..., subprocess.CompletedProcess]
) -> None:
    looked = run_bank("dedup", repeated.path, "--dry-run", "--json")
    assert looked.returncode == 0, looked.stderr
    report = json.loads(looked.stdout)
    assert not list(tmp_path.iterdir())
    assert (report["objects"], report["kept"], report["out"]) == (36, 12, None)
    for pair in report["copies"]:
        (category, one), (kept_category, kept) = (pair[k].split("/") for k in ("id", "copy_of"))
        assert category == kept_category
        assert int(one) // 3 == int(kept) // 3
        assert int(kept) % 3 == 2
    written = run_bank("dedup", repeated.path, "--out", "kept")
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
    again = run_bank("dedup", repeated.path, "--out", "kept")
    assert again.returncode == 2
    assert "kept: not empty" in again.stderr
    assert "add --out NEW" in run_bank("dedup", repeated.path).stderr
    assert "0 to 32" in run_bank("dedup", repeated.path, "--dry-run", "--max-distance", 40).stderr


def test_recorded_hashes_are_not_computed_again(bank_copy: Path) -> None:
    copies = find_copies(bank_copy, 4)
    assert len(copies) == 24
    shutil.rmtree(bank_copy / "images/outside")
    assert find_copies(bank_copy, 4) == copies
    shutil.rmtree(bank_copy / "images/inside")
    with pytest.raises(InputError, match=r"inside/000000\.png: missing"):
        find_copies(bank_copy, 4)


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
    np.testing.assert_array_equal(first.hull, repeated.hull[[4, 7, 30]])
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


def test_subsets_of_faulty_banks_leave_nothing(bank_copy: Path, tmp_path: Path) -> None:
    bank = ObjectBank(bank_copy)
    image = bank_copy / bank.record(3)["file_name"]
    image.write_bytes((bank_copy / bank.record(6)["file_name"]).read_bytes())
    with pytest.raises(InputError, match=f"{image.name}: changed since the bank was built"):
        subset(bank_copy, [1, 3], tmp_path / "out", {})
    image.unlink()
    with pytest.raises(InputError, match=f"{image.name}: missing"):
        subset(bank_copy, [1, 3], tmp_path / "out", {})
    with (bank_copy / "metadata.jsonl").open("a") as lines:
        lines.write("\n".join((bank_copy / "metadata.jsonl").read_text().splitlines()[:1]) + "\n")
    with pytest.raises(InputError, match=r"metadata\.jsonl: changed since the bank was built"):
        subset(bank_copy, [1], tmp_path / "out", {})
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_records_that_lead_out_of_the_bank_are_refused(bank_copy: Path, tmp_path: Path) -> None:
    records = [json.loads(line) for line in (bank_copy / "metadata.jsonl").read_text().splitlines()]
    for name in ("../x.png", "/etc/x.png", "images/../../x.png", "packed/x.png", "images"):
        (bank_copy / "metadata.jsonl").write_bytes(dump_lines([{**records[0], "file_name": name}]))
        with pytest.raises(InputError, match=r"metadata\.jsonl:1: file name .* not below images/"):
            subset(bank_copy, [0], tmp_path / "out", {})


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
