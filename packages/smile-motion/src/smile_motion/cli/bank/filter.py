"""Make a bank with other thresholds from the candidates that a bank stored; no diffusion is run.

With --segmenter or --scorer the stored images are segmented and scored anew by other models;
otherwise no model is run at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from smile_motion.cli.app import Outcome
from smile_motion.cli.bank.options import ScoringOptions, writers
from smile_motion.errors import InputError
from smile_motion.io.options import Count, Groups, Workers

MAKES = "an object bank"

EXAMPLES = (
    "smile-motion bank filter object_banks/photographs --min-score 23 --out object_banks/strict",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile-motion bank filter`. Defaults are what the bank was built with."""

    GROUPS: ClassVar[Groups] = {
        "which candidates become objects": ("scoring",),
        "how fast": ("device", "workers"),
    }

    folder: Annotated[Path, tyro.conf.Positional]
    """The bank's folder; it is not changed."""
    out: Path
    """Folder of the new bank."""
    n: Count | None = None
    """Objects wanted in all, balanced over categories. Default: as many as were wanted before."""
    scoring: Annotated[ScoringOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=ScoringOptions
    )
    device: str = "auto"
    """Where models run: auto, cpu, cuda or cuda:1."""
    workers: Workers | None = None
    """Threads that cut out and write. Default: one per core."""


def run(options: Options) -> Outcome:
    """Filter the candidates and report the new bank."""
    from smile_motion.bank.candidates.refilter import StoredBank, filter_bank, reassess_bank
    from smile_motion.bank.candidates.score import DEFAULT_MODEL, TEXT
    from smile_motion.cli.bank.candidates import candidate_bars
    from smile_motion.runtime.signals import stopped_by_signals

    stored = StoredBank.open(options.folder)
    scoring = options.scoring
    thresholds = scoring.thresholds(stored.thresholds)
    with stopped_by_signals(), candidate_bars("reading") as (on_candidates, on_progress):
        if scoring.segmenter or scoring.scorer or scoring.scorer_pretrained:
            if not scoring.segmenter:
                raise InputError("with another scorer name the segmenters too: add --segmenter")
            bank = reassess_bank(
                stored,
                options.out,
                lambda: scoring.open((), DEFAULT_MODEL, TEXT,
                                     options.device),
                scoring={
                    "judge_batch": scoring.judge_batch,
                    **scoring.fix_threads(options.device),
                },
                thresholds=thresholds,
                fill_holes=scoring.fill_holes,
                count=options.n,
                writers=writers(options.workers),
                on_progress=on_progress,
                on_candidates=on_candidates,
            )  # fmt: skip
        else:
            bank = filter_bank(
                stored,
                options.out,
                thresholds=thresholds,
                fill_holes=scoring.fill_holes,
                count=options.n,
                on_progress=on_progress,
            )
    print(
        f"{options.out}: {len(bank)} objects in {len(bank.categories)} categories, "
        f"{stored.card['count']} before"
    )
    return Outcome({"out": options.out, "objects": len(bank), "categories": len(bank.categories)})
