"""From finished objects to a finished bank, or to a finished shard of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smile_motion.bank.builder.journal import conclude
from smile_motion.bank.format import CANDIDATES, CARD, METADATA
from smile_motion.bank.packing import is_packed, pack
from smile_motion.bank.statistics import refusal_counts
from smile_motion.io.files import dump_json, dump_lines, sha256, write_atomically

CATEGORIES = "categories.jsonl"
"""A line per category of a bank made from candidates: what was wanted, tried and accepted."""
SHARD_CARD = "shard.json"
"""What a finished shard of a bank has in the place of the card."""
TIMINGS = "timings"
"""Entry of the card that says how long things took: the only one that may differ between two
builds of the same bank."""


@dataclass(frozen=True, kw_only=True)
class BankManifest:
    """Everything that a build, or a part of it, made."""

    objects: Sequence[Mapping[str, Any]]
    """A record per object, as `metadata.jsonl` has it."""
    candidates: Sequence[Mapping[str, Any]] | None = None
    """A record per candidate, accepted or not; None where objects are made outright."""
    categories: Sequence[Mapping[str, Any]] | None = None
    """A record per category, where there are candidates: see `category_record`."""
    timings: Mapping[str, Any] | None = None
    """How long things took."""

    def ordered(self) -> BankManifest:
        """The same records in the order of a bank's files."""
        by_id = sorted(self.objects, key=lambda record: (record["category"], record["id"]))
        if self.candidates is None or self.categories is None:
            return BankManifest(objects=by_id, timings=self.timings)
        return BankManifest(
            objects=by_id,
            candidates=sorted(self.candidates, key=lambda r: (r["category"], r["attempt"])),
            categories=sorted(self.categories, key=lambda record: record["category"]),
            timings=self.timings,
        )

    def files(self) -> dict[str, bytes]:
        """The bank's files of lines, by name."""
        files = {METADATA: dump_lines(map(dict, self.objects))}
        if self.candidates is not None and self.categories is not None:
            files[CANDIDATES] = dump_lines(map(dict, self.candidates))
            files[CATEGORIES] = dump_lines(map(dict, self.categories))
        return files


def finish(
    out: Path,
    settings: Mapping[str, Any],
    records: BankManifest,
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Write the files of a bank whose images lie there already, and end the build.

    The card comes last: with it the bank is finished.
    """
    records = records.ordered()
    files = records.files()
    for name, data in files.items():
        write_atomically(out / name, data)
    write_atomically(out / CARD, dump_json(_card(settings, records, files)))
    conclude(out)
    pack_if_needed(out, on_progress)


def finish_shard(
    out: Path, settings: Mapping[str, Any], index: int, of: int, records: BankManifest
) -> None:
    """Write the files of a part of a bank, and end its build."""
    records = records.ordered()
    files = records.files()
    for name, data in files.items():
        write_atomically(out / name, data)
    card = {
        "shard": [index, of],
        "settings": settings,
        "sha256": {name: sha256(data) for name, data in files.items()},
        TIMINGS: records.timings,
    }
    write_atomically(out / SHARD_CARD, dump_json(card))
    conclude(out)


def pack_if_needed(out: Path, on_progress: Callable[[str, int, int], None]) -> None:
    """Pack a finished bank's pixels unless they are packed already."""
    if not is_packed(out):
        pack(out, lambda done, total: on_progress("packing pixels", done, total))


def _card(
    settings: Mapping[str, Any], records: BankManifest, files: Mapping[str, bytes]
) -> dict[str, Any]:
    card = {
        **settings,
        "categories": len({record["category"] for record in records.objects}),
        "metadata_sha256": sha256(files[METADATA]),
    }
    if records.candidates is None or records.categories is None:
        return card
    short = [line for line in records.categories if line["accepted"] < line["wanted"]]
    return {
        **card,
        "count": len(records.objects),
        "counts": {
            "made": len(records.candidates),
            "unsafe": sum(bool(record["unsafe"]) for record in records.candidates),
            "refused": dict(sorted(refusal_counts(records.candidates).items())),
            "accepted": len(records.objects),
            "by_segmenter": dict(sorted(Counter(r["segmenter"] for r in records.objects).items())),
        },
        "fell_short": [
            {name: line[name] for name in ("category", "wanted", "tries", "accepted")}
            for line in short
        ],
        "candidates_sha256": sha256(files[CANDIDATES]),
        TIMINGS: records.timings,
    }
