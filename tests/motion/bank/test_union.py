"""Banks united: every object once, under a name of its own, with the cards of all."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank, ProceduralSource, build, verify
from smile_motion.bank.dataset_card import write_dataset_card
from smile_motion.bank.format import read_bank
from smile_motion.bank.union import unite
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.io.files import hash_file


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    """A bank whose objects have the ids of other pictures in `small_bank`."""
    folder = tmp_path_factory.mktemp("another") / "another"
    return build(ProceduralSource(count=12, seed=77), folder, workers=0)


def hashes(folder: Path) -> Counter[str]:
    return Counter(record["sha256"] for record in read_bank(folder)[1])


def test_finished_banks_are_united(
    small_bank: ObjectBank,
    another: ObjectBank,
    split_bank: ObjectBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = [small_bank.path, another.path, split_bank.path]
    shared = {r["id"] for r in read_bank(parts[0])[1]} & {r["id"] for r in read_bank(parts[1])[1]}
    assert shared  # Their names clash, their pictures do not.
    words = ["bank", "merge", *map(str, parts), "--out", str(tmp_path / "all")]
    assert run_app("smile-motion", "", COMMANDS, words) == 0
    assert f"{tmp_path / 'all'}: 48 objects" in capsys.readouterr().out
    card, records = read_bank(tmp_path / "all")
    assert hashes(tmp_path / "all") == sum(map(hashes, parts), Counter())
    assert len({record["id"] for record in records}) == len(records) == 48
    for record in records:
        assert hash_file(tmp_path / "all" / record["file_name"]) == record["sha256"]
    assert [fault for _, fault in verify(tmp_path / "all") if fault] == []
    kept = {r["id"]: r for r in records if r["united_from"] == 0}
    assert kept.keys() == {record["id"] for record in read_bank(parts[0])[1]}
    renamed = {r["id"] for r in records if r["united_from"] == 1} & {
        f"{record['id']}-{record['sha256'][:8]}" for record in read_bank(parts[1])[1]
    }
    assert len(renamed) == len(shared)
    assert [part["metadata_sha256"] for part in card["united_from"]] == [
        read_bank(path)[0]["metadata_sha256"] for path in parts
    ]
    licences = {bank.card["licence"] for bank in (small_bank, another, split_bank)}
    assert len(licences) == 2
    assert all(licence in card["licence"] for licence in licences)
    write_dataset_card(tmp_path / "README.md", card, records, name="all")
    page = (tmp_path / "README.md").read_text()
    assert "license: other" in page
    assert "synthetic" not in page  # since `split_bank` holds photographs
    bank = ObjectBank.open(tmp_path / "all")
    assert set(bank.categories) == {*small_bank.categories, *split_bank.categories}


def test_what_several_banks_have_is_kept_once(
    small_bank: ObjectBank, another: ObjectBank, tmp_path: Path
) -> None:
    once = unite([small_bank.path, another.path], tmp_path / "once")
    again = unite([once.path, another.path], tmp_path / "again")
    assert hashes(again.path) == hashes(once.path)
    assert again.card["duplicates"] == len(another)
    same = unite([small_bank.path, another.path], tmp_path / "same/once")
    assert same.card == once.card
    for name in ("metadata.jsonl", "bank.json"):
        assert (same.path / name).read_bytes() == (once.path / name).read_bytes()


def test_what_cannot_be_united_is_refused_and_leaves_nothing(
    small_bank: ObjectBank,
    another: ObjectBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = Path(shutil.copytree(another.path, tmp_path / "copy"))
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"copy: the same bank as .*another; drop one"):
        unite([another.path, copy], out)
    (copy / another.record(0)["file_name"]).unlink()
    with pytest.raises(InputError, match="missing"):
        unite([small_bank.path, copy], out)
    words = ["bank", "merge", str(another.path), str(tmp_path), "--out", str(out)]
    assert run_app("smile-motion", "", COMMANDS, words) == 2
    assert "is a finished bank and" in capsys.readouterr().err
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))
