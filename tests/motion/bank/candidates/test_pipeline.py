import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smile_motion.bank import ObjectBank, verify
from smile_motion.bank.builder.journal import JOURNAL
from smile_motion.bank.candidates.build import Models, build_from_candidates
from smile_motion.bank.candidates.schedule import image_seed
from smile_motion.bank.candidates.store import read_candidate_image
from smile_motion.bank.candidates.types import Category, Mask, Segmenter, Thresholds
from smile_motion.errors import InputError
from smile_motion.io.output_folders import folder_lock
from support.candidate_builds import NAMES, TinyModels, files, launch, plan, read_lines


@dataclass(frozen=True)
class FailingSegmenter:
    """A segmenter that breaks at its third batch."""

    segmenter: Segmenter
    batches: list[int]
    name: str = "isnet"

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        self.batches.append(len(images))
        if len(self.batches) == 3:
            raise InputError("the model broke")
        return self.segmenter.segment(images, categories)

    def card(self) -> dict[str, Any]:
        return self.segmenter.card()


def interrupted(models: Models, out: Path) -> Path:
    """Begin a bank whose first segmenter fails after two batches."""
    first, *others = models.segmenters
    broken = Models(
        source=models.source,
        segmenters=[FailingSegmenter(first, []), *others],
        scorer=models.scorer,
    )
    with pytest.raises(InputError, match="the model broke"):
        build_from_candidates(plan(), lambda: broken, out)
    return out


def test_a_bank_says_what_became_of_every_candidate(built_bank: Path) -> None:
    assert [fault for _, fault in verify(built_bank) if fault] == []
    card = json.loads((built_bank / "bank.json").read_text())
    objects = read_lines(built_bank / "metadata.jsonl")
    candidates = read_lines(built_bank / "candidates.jsonl")
    categories = read_lines(built_bank / "categories.jsonl")
    assert len(ObjectBank.open(built_bank)) == len(objects) == card["count"] > 10
    accepted = [record for record in candidates if record["accepted"]]
    assert [record["id"] for record in accepted] == [record["id"] for record in objects]
    assert all((record["reason"] is None) == record["accepted"] for record in candidates)
    order = [(record["category"], record["attempt"]) for record in candidates]
    assert order == sorted(order)
    assert card["counts"]["made"] == len(candidates)
    assert card["counts"]["unsafe"] == sum(record["unsafe"] for record in candidates) > 0
    assert sum(card["counts"]["refused"].values()) == len(candidates) - len(objects)
    for line in categories:
        mine = [record for record in candidates if record["category"] == line["category"]]
        assert [record["attempt"] for record in mine] == list(range(line["tries"]))
        assert sum(record["accepted"] for record in mine) == line["accepted"] <= 4
        short = line["accepted"] < line["wanted"]
        assert short == (line["category"] in [entry["category"] for entry in card["fell_short"]])
        assert not short or line["tries"] == line["max_tries"] == 16
    for record in candidates:
        assert record["prompt"] == f"a photo of a single {record['category'].replace('_', ' ')}"
        assert record["seed"] == image_seed(0, record["category"], record["attempt"])
        assert [mask["segmenter"] for mask in record["masks"]] == ["isnet", "clipseg"]
        stored = built_bank / "candidates" / record["category"] / f"{record['attempt']:06d}.png"
        assert read_candidate_image(stored).shape == (64, 64, 3)
        assert read_candidate_image(stored.with_suffix(".clipseg.png")).shape == (64, 64)
    assert {path.name for path in built_bank.iterdir()} == {
        *("bank.json", "candidates", "candidates.jsonl", "categories.jsonl"),
        *("images", "metadata.jsonl", "packed"),
    }


def test_the_first_good_candidates_are_taken_and_the_mask_that_scores_best(
    built_bank: Path,
) -> None:
    for record in read_lines(built_bank / "metadata.jsonl"):
        assert record["score"] == max(record["scores"].values())
        assert record["scores"][record["segmenter"]] == record["score"]
    for name in NAMES:
        folder = name.replace(" ", "_")
        mine = [r for r in read_lines(built_bank / "candidates.jsonl") if r["category"] == folder]
        beyond = [r["attempt"] for r in mine if "beyond" in (r["reason"] or "")]
        taken = [r["attempt"] for r in mine if r["accepted"]]
        assert not beyond or (len(taken) == 4 and max(taken) < min(beyond))


def test_seeds_do_not_depend_on_a_categorys_place() -> None:
    assert image_seed(7, "cat", 3) == 2250425793304293478
    seeds = {image_seed(s, c, a) for s in range(9) for c in ("cat", "dog") for a in range(99)}
    assert len(seeds) == 9 * 2 * 99
    assert 0 <= min(seeds) < max(seeds) < 2**63


def test_threads_and_earlier_failures_do_not_matter(
    models: Models, built_bank: Path, tmp_path: Path
) -> None:
    out = interrupted(models, tmp_path / "bank")
    done = len(read_lines(out / JOURNAL))
    assert 0 < done <= 8
    assert not (out / "bank.json").exists()
    build_from_candidates(plan(), lambda: models, out, writers=1)
    assert files(out) == files(built_bank)


def test_what_a_stopped_build_lost_is_made_again_and_what_changed_is_named(
    models: Models, built_bank: Path, tmp_path: Path
) -> None:
    out = interrupted(models, tmp_path / "bank")
    first = read_lines(out / JOURNAL)[0]
    image = out / f"candidates/{first['category']}/{first['attempt']:06d}.png"
    data = image.read_bytes()
    image.write_bytes(data[:50])
    with pytest.raises(InputError, match=r"png: 50 bytes, .* were written; delete it and run"):
        build_from_candidates(plan(), lambda: models, out)
    image.unlink()
    with (out / JOURNAL).open("a") as journal:
        journal.write('{"category": "cat", "att')
    (out / "candidates/cat/.000009.png.77.tmp").write_bytes(b"torn")
    build_from_candidates(plan(), lambda: models, out)
    assert files(out) == files(built_bank)
    assert image.read_bytes() == data


def test_a_bank_in_the_making_is_not_for_two(models: Models, tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()

    def never() -> Models:
        raise AssertionError("models were opened")

    with (
        folder_lock(tmp_path / "bank"),
        pytest.raises(InputError, match="another process is writing it"),
    ):
        build_from_candidates(plan(), never, tmp_path / "bank")
    # The lock of a process that has ended is no lock, whatever its file.
    (tmp_path / "bank").mkdir(exist_ok=True)
    (tmp_path / "bank/.lock").write_text("12345")
    build_from_candidates(plan(each=1, names=["cat"]), lambda: models, tmp_path / "bank")


def test_other_settings_are_refused_before_and_after_the_end(
    models: Models, built_bank: Path, tmp_path: Path
) -> None:
    stricter = plan(thresholds=Thresholds(margin=1.5))
    with pytest.raises(InputError, match=r"made otherwise \(thresholds .*choose another --out"):
        build_from_candidates(stricter, lambda: models, built_bank)
    out = interrupted(models, tmp_path / "bank")
    with pytest.raises(InputError, match="wanted 20 there, 25 asked for"):
        build_from_candidates(plan(each=5), lambda: models, out)
    before = files(built_bank)
    build_from_candidates(plan(), lambda: models, built_bank)
    assert files(built_bank) == before


@pytest.mark.slow
def test_threads_of_models_are_the_commands_own(tiny_models: TinyModels, tmp_path: Path) -> None:
    # Launchers set OMP_NUM_THREADS; the last bit of what a model says depends on its threads.
    arguments = tiny_models.arguments(tmp_path / "bank", tmp_path / "categories.txt", n=5)
    for environment in ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}):
        process = launch([*arguments, "--cpu-threads=2"], environment=environment)
        assert process.wait() == 0
    assert json.loads((tmp_path / "bank/bank.json").read_text())["cpu_threads"] == 2
    other = launch(arguments, log=tmp_path / "log")
    assert other.wait() == 2
    assert "cpu_threads 2 there, 1 asked for" in (tmp_path / "log").read_text()


def test_no_object_at_all_is_said_with_the_reasons(models: Models, tmp_path: Path) -> None:
    picky = plan(each=1, names=["cat"], thresholds=Thresholds(min_raw=1.0))
    with pytest.raises(InputError, match=r"none of 16 candidates was accepted \(.*no confident"):
        build_from_candidates(picky, lambda: models, tmp_path / "bank")
    assert not (tmp_path / "bank/bank.json").exists()


def test_dropped_candidates_leave_the_same_objects(
    models: Models, built_bank: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bank"
    build_from_candidates(plan(keep_candidates=False), lambda: models, out)
    kept = {name: data for name, data in files(built_bank).items() if name.startswith("images/")}
    assert {name: data for name, data in files(out).items() if name.startswith("images/")} == kept
    assert not (out / "candidates").exists()
