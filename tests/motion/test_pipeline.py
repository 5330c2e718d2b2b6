import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from candidate_builds import NAMES, TinyModels, files, launch, plan, wait
from smile_motion.bank import ObjectBank, verify
from smile_motion.bank.candidate_bank import Models, build_from_candidates
from smile_motion.bank.candidate_store import read_candidate_image
from smile_motion.bank.candidates import Category, Mask, Segmenter, Thresholds
from smile_motion.bank.locking import alone
from smile_motion.bank.units import image_seed
from smile_motion.errors import InputError

JOURNAL = "build.jsonl"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels.write(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def models(tiny: TinyModels) -> Models:
    torch.set_num_threads(1)
    return tiny.open()


@pytest.fixture(scope="module")
def bank(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank that was built in one go."""
    out = tmp_path_factory.mktemp("banks") / "straight"
    build_from_candidates(plan(), lambda: models, out)
    return out


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


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def interrupted(models: Models, out: Path) -> Path:
    """Begin a bank whose first segmenter fails after two batches."""
    first, *others = models.segmenters
    broken = Models(
        maker=models.maker,
        segmenters=[FailingSegmenter(first, []), *others],
        scorer=models.scorer,
    )
    with pytest.raises(InputError, match="the model broke"):
        build_from_candidates(plan(), lambda: broken, out)
    return out


def test_a_bank_says_what_became_of_every_candidate(bank: Path) -> None:
    assert [fault for _, fault in verify(bank) if fault] == []
    card = json.loads((bank / "bank.json").read_text())
    objects = read_lines(bank / "metadata.jsonl")
    candidates = read_lines(bank / "candidates.jsonl")
    categories = read_lines(bank / "categories.jsonl")
    assert len(ObjectBank.open(bank)) == len(objects) == card["count"] > 10
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
        stored = bank / "candidates" / record["category"] / f"{record['attempt']:06d}.png"
        assert read_candidate_image(stored).shape == (64, 64, 3)
        assert read_candidate_image(stored.with_suffix(".clipseg.png")).shape == (64, 64)
    assert {path.name for path in bank.iterdir()} == {
        ".lock", "bank.json", "candidates", "candidates.jsonl", "categories.jsonl", "images",
        "metadata.jsonl", "packed",
    }  # fmt: skip


def test_the_first_good_candidates_are_taken_and_the_mask_that_scores_best(bank: Path) -> None:
    for record in read_lines(bank / "metadata.jsonl"):
        assert record["score"] == max(record["scores"].values())
        assert record["scores"][record["segmenter"]] == record["score"]
    for name in NAMES:
        folder = name.replace(" ", "_")
        mine = [r for r in read_lines(bank / "candidates.jsonl") if r["category"] == folder]
        beyond = [r["attempt"] for r in mine if "beyond" in (r["reason"] or "")]
        taken = [r["attempt"] for r in mine if r["accepted"]]
        assert not beyond or (len(taken) == 4 and max(taken) < min(beyond))


def test_seeds_do_not_depend_on_a_categorys_place() -> None:
    assert image_seed(7, "cat", 3) == 2250425793304293478
    seeds = {image_seed(s, c, a) for s in range(9) for c in ("cat", "dog") for a in range(99)}
    assert len(seeds) == 9 * 2 * 99
    assert 0 <= min(seeds) < max(seeds) < 2**63


def test_threads_and_earlier_failures_do_not_matter(
    models: Models, bank: Path, tmp_path: Path
) -> None:
    out = interrupted(models, tmp_path / "bank")
    done = len(read_lines(out / JOURNAL))
    assert 0 < done <= 8
    assert not (out / "bank.json").exists()
    build_from_candidates(plan(), lambda: models, out, writers=1)
    assert files(out) == files(bank)


def test_what_a_stopped_build_lost_is_made_again_and_what_changed_is_named(
    models: Models, bank: Path, tmp_path: Path
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
    assert files(out) == files(bank)
    assert image.read_bytes() == data


def test_a_bank_in_the_making_is_not_for_two(models: Models, tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()

    def never() -> Models:
        raise AssertionError("models were opened")

    with (
        alone(tmp_path / "bank"),
        pytest.raises(InputError, match="another process is building it"),
    ):
        build_from_candidates(plan(), never, tmp_path / "bank")
    # The lock of a process that has ended is no lock, whatever its file.
    (tmp_path / "bank/.lock").write_text("12345")
    build_from_candidates(plan(each=1, names=["cat"]), lambda: models, tmp_path / "bank")


def test_other_settings_are_refused_before_and_after_the_end(
    models: Models, bank: Path, tmp_path: Path
) -> None:
    stricter = plan(thresholds=Thresholds(margin=1.5))
    with pytest.raises(InputError, match=r"made otherwise \(thresholds .*choose another --out"):
        build_from_candidates(stricter, lambda: models, bank)
    out = interrupted(models, tmp_path / "bank")
    with pytest.raises(InputError, match="wanted 20 there, 25 asked for"):
        build_from_candidates(plan(each=5), lambda: models, out)
    before = files(bank)
    build_from_candidates(plan(), lambda: models, bank)
    assert files(bank) == before


def test_threads_of_models_are_the_commands_own(tiny: TinyModels, tmp_path: Path) -> None:
    # Launchers set OMP_NUM_THREADS; the last bit of what a model says depends on its threads.
    arguments = tiny.arguments(tmp_path / "bank", tmp_path / "categories.txt", n=5)
    for environment in ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}):
        process = launch([*arguments, "--cpu-threads=2"], environment=environment)
        process.join()
        assert process.exitcode == 0
    assert json.loads((tmp_path / "bank/bank.json").read_text())["cpu_threads"] == 2
    other = launch(arguments, log=tmp_path / "log")
    other.join()
    assert other.exitcode == 2
    assert "cpu_threads 2 there, 1 asked for" in (tmp_path / "log").read_text()


def test_no_object_at_all_is_said_with_the_reasons(models: Models, tmp_path: Path) -> None:
    picky = plan(each=1, names=["cat"], thresholds=Thresholds(min_raw=1.0))
    with pytest.raises(InputError, match=r"none of 16 candidates was accepted \(.*no confident"):
        build_from_candidates(picky, lambda: models, tmp_path / "bank")
    assert not (tmp_path / "bank/bank.json").exists()


def test_dropped_candidates_leave_the_same_objects(
    models: Models, bank: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bank"
    build_from_candidates(plan(keep_candidates=False), lambda: models, out)
    kept = {name: data for name, data in files(bank).items() if name.startswith("images/")}
    assert {name: data for name, data in files(out).items() if name.startswith("images/")} == kept
    assert not (out / "candidates").exists()


MOMENTS = (
    ("os.rename", "build.json", 1),
    ("os.rename", "candidates/", 40),
    ("os.rename", "cut/", 10),
    ("os.link", "images/", 5),
    ("os.rename", "metadata.jsonl", 1),
    ("os.rename", "bank.json", 1),
    ("os.remove", "build.jsonl", 1),
    ("shutil.rmtree", "cut", 1),
    ("os.rename", "packed", 1),
)
"""What a build is doing when it is killed."""


def reached(out: Path, pattern: str, count: int) -> Callable[[], bool]:
    """Whether so many files, or lines of the journal, are there."""
    if pattern == JOURNAL:
        return lambda: (
            (out / JOURNAL).is_file() and (out / JOURNAL).read_bytes().count(b"\n") >= count
        )
    return lambda: len(list(out.glob(pattern))) >= count


def test_killed_at_any_moment_a_build_ends_in_the_same_bytes(
    tiny: TinyModels, tmp_path: Path
) -> None:
    def command(name: str) -> list[str]:
        return tiny.arguments(tmp_path / name, tmp_path / "categories.txt")

    straight = launch(command("straight"))
    straight.join()
    assert straight.exitcode == 0
    out = tmp_path / "killed"
    for moment in MOMENTS:
        process = launch(command("killed"), dies_at=moment)
        process.join()
        assert process.exitcode == -signal.SIGKILL, moment
    last = launch(command("killed"))
    last.join()
    assert last.exitcode == 0
    assert files(out) == files(tmp_path / "straight")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_signals_stop_a_build_cleanly(
    tiny: TinyModels, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "bank"
    arguments = tiny.arguments(out, tmp_path / "categories.txt", n=100)
    process = launch(arguments, log=tmp_path / "log")
    wait(process, reached(out, JOURNAL, 5))
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == code
    assert (tmp_path / "log").read_text().count("\n") == 1
    assert list(out.rglob("*.tmp")) == []
    assert (out / JOURNAL).read_bytes().endswith(b"\n")
    for record in read_lines(out / JOURNAL):
        for name, size in record["sizes"].items():
            assert (out / name).stat().st_size == size


def test_a_full_disk_stops_a_build_and_loses_nothing(
    tiny: TinyModels, models: Models, bank: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bank"
    arguments = tiny.arguments(out, tmp_path / "categories.txt")
    process = launch(arguments, largest_file=15_000, log=tmp_path / "log")
    process.join()
    assert process.exitcode == 2
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "build.jsonl: File too large" in line
    records = read_lines(out / JOURNAL)
    assert len(records) > 5
    assert list(out.rglob("*.tmp")) == []
    again = launch(arguments)
    again.join()
    assert again.exitcode == 0
    images = {name: data for name, data in files(bank).items() if name.startswith("images/")}
    assert {name: data for name, data in files(out).items() if name.startswith("images/")} == images
