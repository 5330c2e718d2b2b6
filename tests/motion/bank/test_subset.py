import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from smile_motion import ClipMaker, MotionRecipe, make_background, read_plan
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank, draw_from, open_bank, verify
from smile_motion.bank.dedup import find_copies
from smile_motion.bank.subset import subset
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines
from smile_motion.io.output_folders import new_folder


@pytest.mark.slow
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


def shares(bank: ObjectBank, draws: int = 20_000) -> dict[tuple[int, str], float]:
    """Share of the draws that are of each bank and category."""
    drawn = bank.sample(np.random.default_rng(5), draws)
    of_all = len(bank.categories)
    found, counts = np.unique(
        bank.origins[drawn] * of_all + bank.category[drawn], return_counts=True
    )
    return {
        (int(key) // of_all, bank.categories[int(key) % of_all]): float(count / draws)
        for key, count in zip(found, counts, strict=True)
    }


def expected(
    bank: ObjectBank, names: set[str], weights: tuple[float, ...] | None
) -> dict[tuple[int, str], float]:
    """The same, by definition: counted object by object."""
    objects = [
        (int(part), bank.categories[category])
        for part, category in zip(bank.origins, bank.category, strict=True)
        if bank.categories[category] in names
    ]
    found = {}
    for part, name in set(objects):
        if weights is None:
            of_name = [entry for entry in objects if entry[1] == name]
            found[part, name] = of_name.count((part, name)) / len(of_name) / len(names)
        else:
            categories = {one for other, one in objects if other == part}
            found[part, name] = weights[part] / sum(weights) / len(categories)
    return found


@pytest.mark.parametrize("weights", [None, (1.0, 1.0), (2.0, 1.0), (1.0, 30.0)])
def test_objects_are_drawn_by_weight_and_category(
    small_bank: ObjectBank, split_bank: ObjectBank, weights: tuple[float, ...] | None
) -> None:
    both = open_bank(small_bank.path, split_bank.path)
    names = ("cat", *small_bank.categories[1:4])
    for chosen, left in (
        (draw_from(both, weights=weights), set(both.categories)),
        (draw_from(both, categories=names, weights=weights), set(names)),
        (draw_from(both, exclude=names, weights=weights), set(both.categories) - set(names)),
        (draw_from(both, categories=names, exclude=["cat"]), set(names[1:])),
    ):
        by_weight = weights if chosen is not both and left != set(names[1:]) else None
        wanted, found = expected(both, left, by_weight), shares(chosen)
        assert found.keys() == wanted.keys()
        for key, share in wanted.items():  # Five standard deviations.
            assert abs(found[key] - share) < 5 * np.sqrt(share * (1 - share) / 20_000) + 1e-12
        travelled = pickle.loads(pickle.dumps(chosen))
        assert shares(travelled) == found


def test_a_choice_changes_which_objects_alone(
    small_bank: ObjectBank, split_bank: ObjectBank
) -> None:
    both = open_bank(small_bank.path, split_bank.path)
    draws = np.random.default_rng(3).random((2, 500))
    first = (draws[0] * len(both.categories)).astype(int)
    start = np.searchsorted(both.category, np.arange(len(both.categories) + 1))
    by_hand = start[first] + (draws[1] * np.diff(start)[first]).astype(int)
    for bank in (both, draw_from(both)):  # All objects: as without a choice.
        assert (bank.sample(np.random.default_rng(3), 500) == by_hand).all()

    chosen = draw_from(both, weights=(3, 1), categories=["cat", small_bank.categories[0]])
    recipe, behind = MotionRecipe.paper(), make_background("noise")
    made = [
        ClipMaker(bank=bank, recipe=recipe, background=behind, frames=4, size=(64, 64)).plan(2)
        for bank in (both, chosen)
    ]
    assert (made[0].objects != made[1].objects).any()
    assert (made[0].angle_deg == made[1].angle_deg).all()
    assert (draw_from(chosen).sample(np.random.default_rng(3), 500) == by_hand).all()


def test_impossible_choices_are_refused(small_bank: ObjectBank, split_bank: ObjectBank) -> None:
    both = open_bank(small_bank.path, split_bank.path)
    for settings, message in (
        ({"categories": ["bullet_trian"]}, "no category bullet_trian; did you mean bullet_train?"),
        ({"exclude": ["q"]}, "no category q; there are blob-"),
        ({"exclude": both.categories}, "no category is left to draw from"),
        ({"categories": []}, "no category is left to draw from"),
        ({"weights": (1.0,)}, "1 weights for 2 banks"),
        ({"weights": (1.0, 0.0)}, "weights are 1, 0; each is more than 0"),
        ({"weights": (1.0, float("inf"))}, "each is more than 0"),
        ({"weights": (1, 1), "categories": ["cat"]}, "small: has a weight, and no object of"),
    ):
        with pytest.raises(InputError, match=message):
            draw_from(both, **settings)
    with pytest.raises(InputError, match="1 weights for 1 bank;"):
        draw_from(small_bank, weights=[1])


def test_render_draws_from_what_is_chosen(
    small_bank: ObjectBank,
    split_bank: ObjectBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def render(*words: object) -> int:
        few = ("--size", 32, "--frames", 2, "--format", "frames", "--workers", 0, "--n", 6)
        given = ["render", *few, "--bank", small_bank.path, split_bank.path, *words]
        return run_app("smile-motion", "", COMMANDS, [str(word) for word in given])

    out, chosen = tmp_path / "clips", ("--bank-weights", 1, 9, "--exclude-categories", "cat")
    assert render("--out", out, *chosen) == 0
    settings = json.loads((out / "render.json").read_text())
    assert settings["bank_weights"] == [1, 9]
    assert settings["exclude_categories"] == ["cat"]
    both, origins = open_bank(small_bank.path, split_bank.path), []
    for path in out.glob("*/clip.json"):
        for number in read_plan(path, both).objects:  # The bank itself finds all of them.
            assert both.record(int(number))["category"] != "cat"
            origins.append(both.origins[number])
    assert len(origins) == 12
    assert np.mean(origins) > 0.5
    assert render("--out", out, *chosen) == 0
    for others in ((), chosen[:3], ("--bank-weights", 1, 8, "--exclude-categories", "cat")):
        assert render("--out", out, *others) == 2
    assert "holds clips made otherwise (bank_weights [1.0, 9.0] there" in capsys.readouterr().err
    assert render("--out", tmp_path / "no", "--bank-weights", 1) == 2
    assert "--bank-weights are 1 and --bank names 2; give a weight" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
