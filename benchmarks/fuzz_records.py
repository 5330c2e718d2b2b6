"""Sound records that builds, evaluations and trainings leave behind, and readers of journals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smile_motion import ObjectBank
from smile_motion.bank.builder.build import MadeObject
from smile_motion.bank.builder.journal import read_journal
from smile_motion.bank.candidates.cutout import CutOut
from smile_motion.bank.candidates.select import Verdict, candidate_record, category_record
from smile_motion.bank.candidates.store import CandidateLine, StoredCandidate
from smile_motion.bank.candidates.types import Candidate, Category, Thresholds
from smile_motion.bank.format import CARD, MaskScore
from smile_motion.io.files import dump_lines
from smile_motion.video.packer import reencode
from smile_motion.video.packing import VideoPacking
from smile_motion.video.shards import ShardWriter


def make_records(root: Path, bank: ObjectBank) -> None:
    """What builds and evaluations leave behind."""
    records = [bank.record(index) for index in range(len(bank))]
    journal = root / "journal"
    journal.mkdir()
    write_lines(journal / "build.jsonl", [r | {"number": n} for n, r in enumerate(records)])
    masks = (MaskScore(segmenter="isnet", score=25.5, area_share=0.4, raw_max=0.9),)
    candidates = [
        Candidate(category="cat", attempt=attempt, prompt="a cat", seed=attempt, unsafe=None,
                  masks=masks)
        for attempt in range(4)
    ]  # fmt: skip
    cut = CutOut(segmenter="isnet", width=9, height=8, area_share=0.5, fingerprint="0" * 16,
                 sha256="ab" * 32)  # fmt: skip
    stored = [StoredCandidate(candidate=one, sizes={"a.png": 9}, cut=cut) for one in candidates]
    write_lines(journal / "candidates/build.jsonl", [one.to_json() for one in stored])
    verdict = Verdict(accepted=True, passed=True, segmenter="isnet", reason=None)
    folder = root / "candidates"
    lines = [candidate_record(one, verdict) for one in candidates]
    write_lines(folder / "candidates.jsonl", lines)
    found = category_record(Category("cat"), 4, 4, [verdict] * 4)
    write_lines(folder / "categories.jsonl", [found])
    segmenters = [{"name": "isnet", "kind": "onnx"}]
    judged = {"batch": 4, "thresholds": asdict(Thresholds()), "fill_holes": False,
              "segmenters": segmenters, "candidates_kept": True}  # fmt: skip
    write(folder / CARD, json.dumps(bank.card | judged))
    (root / "classes").mkdir()
    shutil.copy(root / "results/results.json", root / "classes")
    scores = {"classes": ["a", "b"], "samples": [3, 0], "top1": [50.0, None]}
    write(root / "classes/classes.json", json.dumps(scores))
    annotated = {"categories": [{"name": "bow_(weapon)", "def": "a bow"}, {"name": "cat"}]}
    write(root / "annotations/lvis.json", json.dumps(annotated))
    write_lines(root / "log/log.jsonl", [{"step": step, "loss": 0.5} for step in range(4)])


def pack_video(video: Path, shard: Path) -> None:
    """Pack a video into a shard of its own."""
    shard.parent.mkdir()
    facts, table = reencode(VideoPacking(size=32), video, shard.parent / "one.mp4")
    del facts["bytes"]
    writer = ShardWriter(shard)
    writer.add(shard.parent / "one.mp4", table, **facts, name="a", source="a.mp4", label="1")
    writer.finish()
    (shard.parent / "one.mp4").unlink()


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """Write JSON lines into a folder that may not be there."""
    write(path, dump_lines(records))


def write(path: Path, content: str | bytes) -> None:
    """Write a file into a folder that may not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read_journals(file: Path, _root: Path) -> tuple[Callable[[], object], ...]:
    if file.parent.name == "candidates":

        def take_up() -> None:
            lines = read_journal(file, CandidateLine, unknown="refuse")
            _ = [StoredCandidate.from_json(line) for line in lines]

        return (take_up,)
    return (lambda: read_journal(file, MadeObject),)
