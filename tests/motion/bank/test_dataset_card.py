import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank, verify
from smile_motion.bank.dataset_card import hub_license
from smile_motion.bank.format import read_card
from smile_motion.bank.hub import export_bank, neutral_name
from smile_motion.bank.union import unite
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_datasets_reads_pixels_alpha_and_labels(
    split_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    out = tmp_path / "exported"
    export_bank(split_bank.path, out)
    by_folder = load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "a"))
    by_card = load_dataset(str(out), cache_dir=str(tmp_path / "b"))
    for loaded in (by_folder, by_card):
        assert list(loaded) == ["train"]
        objects = {row["id"]: row for row in loaded["train"]}
        assert len(objects) == len(split_bank) == 6
        for index in range(len(split_bank)):
            record = split_bank.record(index)
            row = objects[record["id"]]
            assert row["image"].mode == "RGBA"
            np.testing.assert_array_equal(np.asarray(row["image"]), split_bank.image(index))
            assert row["category"] == record["category"]


def test_what_is_exported_is_a_bank_as_well(split_bank: ObjectBank, tmp_path: Path) -> None:
    out = tmp_path / "exported"
    export_bank(split_bank.path, out, name="cut-outs")
    assert {path.split("/")[0] for path in contents(out)} == {
        "README.md", "bank.json", "metadata.jsonl", "images", ".card",
    }  # fmt: skip
    assert [fault for _, fault in verify(out) if fault] == []
    again = ObjectBank.open(out)
    assert again.categories == split_bank.categories
    np.testing.assert_array_equal(again.pixels, split_bank.pixels)
    readme = (out / "README.md").read_text()
    assert 'pretty_name: "cut-outs"\nlicense: other\n' in readme
    assert "![objects by category](.card/sheet.png)" in readme
    assert "License: that of the original images." in readme
    assert Image.open(out / ".card/sheet.png").width > 300
    # The second generation keeps the first one's card and bytes.
    export_bank(out, tmp_path / "twice")
    packed = {name for name in contents(out) if name.startswith("packed/")}
    assert contents(tmp_path / "twice") == {
        name: data for name, data in contents(out).items() if name not in packed
    }


def test_names_are_changed_only_where_they_must_be() -> None:
    for name in ("images/cat/000001.png", "images/trainer/latest.png", "images/contest-x/1.png"):
        assert neutral_name(name) == name
    assert neutral_name("images/bullet_train/1.png") == "images/bullet_train~/1.png"
    assert neutral_name("images/test_tube/val.png") == "images/test~_tube/val~.png"


@pytest.mark.parametrize(
    ("licence", "identifier"),
    [
        ("CC0-1.0: generated from random numbers, no rights reserved", "cc0-1.0"),
        ("CreativeML-OpenRAIL-M", "creativeml-openrail-m"),
        ("whose CreativeML Open RAIL-M licence restricts the use", "other"),
        ("CreativeML Open RAIL-M", "creativeml-openrail-m"),
        ("openrail++ of the model", "openrail++"),
        ("mitigated", "other"),
        ("that of the original images", "other"),
        (None, "other"),
    ],
)
def test_licences_have_the_hubs_identifiers(licence: str | None, identifier: str) -> None:
    assert hub_license(licence) == identifier


def test_faulty_banks_and_taken_folders_are_not_written_to(
    split_bank: ObjectBank, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        export_bank(split_bank.path, tmp_path / "taken")
    bank = tmp_path / "bank"
    shutil.copytree(split_bank.path, bank)
    image = bank / split_bank.record(2)["file_name"]
    image.write_bytes((bank / split_bank.record(0)["file_name"]).read_bytes())
    with pytest.raises(InputError, match=f"{image.name}: changed since the bank was built"):
        export_bank(bank, tmp_path / "out")
    image.unlink()
    with pytest.raises(InputError, match=f"{image.name}: missing"):
        export_bank(bank, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank", "taken"]


def test_license_and_attribution_go_with_the_objects(
    split_bank: ObjectBank,
    small_bank: ObjectBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*words: object) -> int:
        return run_app("smile-motion", "", COMMANDS, [str(word) for word in words])

    own, said = tmp_path / "own", "CC-BY-4.0: our | lab's"
    build = ("build-bank", "--source", "folder", "--from", split_bank.path.parent / "rgba")
    build = (*build, "--workers", 0, "--out", own)
    assert run(*build, "--license", said, "--attribution", "Jane Doe <example.org>") == 0
    card = read_card(own)
    assert (card["licence"], card["attribution"]) == (said, "Jane Doe <example.org>")
    assert run(*build, "--license", "MIT") == 2
    assert "holds a bank made otherwise (licence" in capsys.readouterr().err
    export_bank(own, tmp_path / "exported")
    readme = tmp_path / "exported/README.md"
    assert "license: cc-by-4.0\n" in readme.read_text()
    assert "Attribution: Jane Doe &lt;example.org&gt;." in readme.read_text()

    both = unite([own, small_bank.path], tmp_path / "both")
    assert both.card["attribution"] == "Jane Doe <example.org>"
    for form, banks in (
        ("frames", (both.path,)),
        ("coco", (own, small_bank.path)),
        ("coco", (own,)),
    ):
        out = tmp_path / f"clips {form} {len(banks)}"
        few = ("--n", 1, "--frames", 2, "--size", 32, "--format", form, "--workers", 0)
        assert run("render", *few, "--bank", *banks, "--out", out) == 0
        page = DatasetCard.load(out / "README.md")
        assert page.data.to_dict()["library_name"] == "smile-motion"
        if form == "coco":
            found = json.loads((out / "instances.json").read_text())
            (stated,) = found["licenses"]
            assert {image["license"] for image in found["images"]} == {stated["id"]}
            assert stated["attribution"] == "Jane Doe <example.org>"
            assert said in stated["name"]
            if banks == (own,):
                assert stated["name"] == said
                assert stated["url"] == "https://creativecommons.org/licenses/by/4.0/"
                continue
        assert page.data.license == "other"
        lines = page.text.splitlines()
        assert (
            "* Objects of the bank own: CC-BY-4.0: our \\| lab's (cc-by-4.0). "
            "Attribution: Jane Doe &lt;example.org&gt;."
        ) in lines
        named = f"* Objects of the bank {small_bank.path.name}: CC0-1.0"
        assert any(line.startswith(named) for line in lines)
        assert "| background | NoiseBackground |" in lines
    for options, message in (
        (("--source", "procedural", "--license", "MIT"), "--license has an effect only with"),
        (("--source", "folder", "--from", tmp_path, "--license", " "), "--license is empty"),
    ):
        assert run("build-bank", *options, "--out", tmp_path / "no") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
