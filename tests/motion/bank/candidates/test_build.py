"""The commands on a bank that was built from candidates."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank
from smile_motion.bank.candidates.build import CandidatePlan, Models, build_from_candidates
from smile_motion.bank.candidates.images import PhotographSource
from smile_motion.bank.candidates.segmenters import FullSegmenter
from smile_motion.bank.candidates.types import Category, Goal, Thresholds
from smile_motion.bank.contact_sheet_pages import object_sections, refused_sections
from smile_motion.cli.app import run_app


class Brightness:
    """Scores an object by its mean brightness, from 20 to 40."""

    def score(
        self, images: np.ndarray, alphas: np.ndarray, categories: Sequence[Category]
    ) -> np.ndarray:
        inside = alphas > 128
        light = (images.mean(axis=3) * inside).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1)
        return (20 + light * 20 / 255).astype(np.float32)

    def card(self) -> dict[str, Any]:
        return {"model": "brightness"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> ObjectBank:
    """Two categories of which each photograph is large enough once and too small once."""
    root = tmp_path_factory.mktemp("candidates")
    for number, path in enumerate(sorted(photographs.iterdir())):
        image = cv2.resize(cv2.imread(str(path)), (200, 160), interpolation=cv2.INTER_AREA)
        for size in (20, 70):
            alpha = np.zeros(image.shape[:2], np.uint8)
            cv2.ellipse(alpha, (100, 80), (size, size * 2 // 3), 0, 0, 360, 255, -1, cv2.LINE_AA)
            target = root / "rgba" / ("cat", "rocket")[number % 2] / f"{path.stem}-{size}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), np.dstack([image, alpha]))
    source, categories = PhotographSource.open(root / "rgba", seed=0, largest_px=256)
    plan = CandidatePlan(
        goals=tuple(Goal(category, 4, 6) for category in categories),
        batch=4,
        thresholds=Thresholds(max_distance=-1),
        card={"source": "images", "licence": "MIT"},
    )
    models = Models(source=source, segmenters=[FullSegmenter()], scorer=Brightness())
    build_from_candidates(plan, lambda: models, root / "bank")
    return ObjectBank.open(root / "bank")


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> str:
        code = run_app("smile-motion", "", COMMANDS, ["bank", *map(str, arguments)])
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    return call


def test_info_and_verify_know_what_a_build_writes(
    bank: ObjectBank, run: Callable[..., str]
) -> None:
    assert "are as recorded" in run("verify", bank.path)
    facts = json.loads(run("info", bank.path, "--json"))
    assert (facts["objects"], facts["scores"]["count"]) == (6, 6)
    assert facts["segmenters"] == {"full": 6}
    assert facts["candidates"] == {"made": 12, "accepted": 6, "refused": {"area share below": 6}}
    assert facts["candidates"]["refused"] == facts["card"]["counts"]["refused"]
    told = run("info", bank.path)
    assert "categories that fell short: 2" in told
    assert "refused area share below" in told


def test_sheets_show_every_object_and_every_refused_candidate(
    bank: ObjectBank, run: Callable[..., str]
) -> None:
    shown = object_sections(bank.path)
    assert [len(section.tiles) for section in shown] == [3, 3]
    assert all(20 < (tile.score or 0) < 40 for section in shown for tile in section.tiles)
    refused = [tile for section in refused_sections(bank.path) for tile in section.tiles]
    assert len(refused) == 6
    assert all(tile.image.is_file() for tile in refused)
    assert {(tile.note or "")[:10] for tile in refused} == {"area share"}
    assert "6 of 6 refused candidates" in run("sheet", bank.path, "--refused")


def test_derived_and_exported_banks_claim_no_candidates(
    bank: ObjectBank, run: Callable[..., str], tmp_path: Path
) -> None:
    run("dedup", bank.path, "--max-distance", 32, "--out", "few")
    few = ObjectBank(tmp_path / "few")
    assert 2 <= len(few) < 6
    best = {section.name: section.tiles[0].label for section in object_sections(bank.path)}
    kept = {few.record(number)["id"] for number in range(len(few))}
    assert {f"{category}/{label}" for category, label in best.items()} <= kept
    assert not few.card.keys() & {"counts", "fell_short", "candidates_sha256", "candidates_kept"}
    assert few.card["derived_from"]["counts"] == bank.card["counts"]
    run("export", bank.path, "--out", "exported")
    names = {path.name for path in (tmp_path / "exported").iterdir()}
    assert names == {"README.md", "bank.json", "metadata.jsonl", "images", ".card"}
    assert "license: mit\n" in (tmp_path / "exported/README.md").read_text()
    exported = ObjectBank.open(tmp_path / "exported").card
    assert exported["counts"] == bank.card["counts"]
    assert not exported["candidates_kept"]
    for folder in ("few", "exported"):
        assert "are as recorded" in run("verify", folder)
