"""The manifest of a build: write the records and card of a finished bank, or of a part of one."""

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
"""File with a line per category of a bank made from candidates: objects wanted, tried, accepted."""
SHARD_CARD = "shard.json"
"""Card of a finished part of a bank."""
TIMINGS = "timings"
"""Entry of the card with durations: the only one that may differ between two builds of a bank."""


@dataclass(frozen=True, kw_only=True)
class BankManifest:
    """Records of everything that a build, or a part of one, made."""

    objects: Sequence[Mapping[str, Any]]
    """Records of objects: lines of `metadata.jsonl`."""
    candidates: Sequence[Mapping[str, Any]] | None = None
    """Records of candidates, accepted or not; None where the source makes objects directly."""
    categories: Sequence[Mapping[str, Any]] | None = None
    """Records of categories, where there are candidates; see `category_record`."""
    timings: Mapping[str, Any] | None = None
    """Durations; see `pipeline.timings`."""

    def ordered(self) -> BankManifest:
        """The same records, in the order of a bank's files."""
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
        """Contents of the bank's JSON Lines files, by name."""
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
    """Write the records and card of a bank whose images are in place, and pack it.

    The card is written last: a bank with a card is finished.

    Args:
        out: Folder of the bank.
        settings: Settings of the build, which become entries of the card.
        records: What was built.
        on_progress: Called with (stage, done, total).
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
    """Write the records and card of part `index` of `of` of a bank."""
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
    """Pack a finished bank unless its packed form is current."""
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
