"""Put finished evaluations into the paper's tables, beside the published numbers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from smile_motion.cli.app import Outcome

from smile_train.cli.runs import in_first_process

WRITES_BESIDE = True

EXAMPLES = ("smile-train evaluate report runs --out report",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train evaluate report`."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of fine-tunings, probes, SEVERE and similarities, or results.json in them; what is
    below a folder counts. Or a file with several runs, as benchmarks/evidence keeps."""
    out: Path
    """Folder for report.md, report.html and report.csv."""
    row: tuple[str, ...] = ()
    """RUN=ROW: which row a run, or all below a folder, belongs to, where its pre-training does not
    say so: a preset, a model of others (omnimae, videomaev2, mvd, mgmae, mme, sigma, clip, umt,
    viclip, smile-vit-b-1200, smile-vit-b-ssv2, scratch), or own:NAME for a row of its own."""


@in_first_process
def run(options: Options) -> Outcome:
    """Collect, write, and say how many runs went where."""
    from smile_motion.errors import InputError

    from smile_train.evaluation.tables.collect import build_report, find_runs
    from smile_train.evaluation.tables.write import sum_up, write_report

    given: dict[Path, str] = {}
    for words in options.row:
        path, sign, row = words.rpartition("=")
        if not sign or not path or not row:
            raise InputError(f"--row {words}: expected RUN=ROW, such as runs/first=smile-vit-b")
        given[Path(path)] = row
    runs, without = find_runs(options.runs, given)
    for path in without:
        print(f"{path}: no results in it (yet); left out", file=sys.stderr)
    report = build_report(runs)
    written = write_report(report, options.out)
    print(sum_up(report))
    print(*written, sep="\n")
    return Outcome({"written": written, "runs": len(runs), "without_results": without})
