"""Build a bank of objects that are selected from candidate images."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smile_motion.bank.builder.build import make_folder
from smile_motion.bank.builder.journal import (
    JOURNAL,
    Journal,
    conclude,
    read_journal,
    start,
    sweep,
)
from smile_motion.bank.builder.manifest import BankManifest, finish, finish_shard, pack_if_needed
from smile_motion.bank.builder.shards import is_finished, require_finished_alike
from smile_motion.bank.candidates.cutout import Cutting, segmenters_of_own_alpha
from smile_motion.bank.candidates.images import ImageSource
from smile_motion.bank.candidates.pipeline import Pipeline, Progress, timings
from smile_motion.bank.candidates.schedule import Schedule, Selection, plan_units
from smile_motion.bank.candidates.select import candidate_record, category_record, object_record
from smile_motion.bank.candidates.store import (
    CUT,
    CandidateLine,
    StoredCandidate,
    cut_name,
    is_there,
)
from smile_motion.bank.candidates.types import Goal, Scorer, Segmenter, Thresholds
from smile_motion.bank.format import CANDIDATE_IMAGES, CARD, FORMAT, read_card
from smile_motion.bank.statistics import refusal_counts
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, sha256
from smile_motion.io.output_folders import LOCK, folder_lock, place_file
from smile_motion.io.schema import require_same
from smile_motion.runtime.partition import Partition
from smile_motion.runtime.progress import OnProgress


@dataclass(frozen=True, kw_only=True)
class CandidatePlan:
    """What a build makes, and all that determines it besides the models."""

    goals: tuple[Goal, ...]
    """Categories of which objects are wanted."""
    batch: int
    """Images per batch."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """Thresholds that candidates must reach."""
    fill_holes: bool = False
    """Fill holes of objects; see `cutout.clean`."""
    keep_candidates: bool = True
    """Keep the candidates' images and masks in the finished bank."""
    card: dict[str, Any] = field(default_factory=dict)
    """Further entries of the card, as JSON values, such as the source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Models:
    """Models that make and assess candidates."""

    source: ImageSource
    """Makes the images."""
    segmenters: Sequence[Segmenter]
    """Each segments every image."""
    scorer: Scorer
    """Scores every mask."""


def build_from_candidates(
    plan: CandidatePlan,
    open_models: Callable[[], Models],
    out: Path,
    *,
    shard: Partition | None = None,
    writers: int | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
    on_candidates: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Build a bank or one part of it, or resume its build.

    The result depends on the plan and the models alone, neither on threads, interruptions nor the
    division into parts.

    Args:
        plan: What to make.
        open_models: Opens the models; called once the folder's lock is held.
        out: Folder of the bank, or of the part.
        shard: The part to build: units `shard.index`, `shard.index + shard.of`, …; all by default.
        writers: Number of threads that cut out and write; one per core by default, at most 8.
        on_progress: Called with (stage, done, total) while the bank is finished.
        on_candidates: Called with the progress of candidates.

    Raises:
        InputError: `out` contains something else, another process is building it, a model cannot
            be used, or no candidate is accepted.
    """
    if plan.batch < 1:
        raise InputError(f"--batch {plan.batch}: expected at least 1 image")
    make_folder(out)
    with folder_lock(out, required=True):
        try:
            models = open_models()
            settings = _settings(plan, models)
        except InputError:
            _leave_nothing(out)
            raise
        if (out / CARD).is_file():
            require_same(read_card(out), settings, out, what="a bank")
        elif shard is not None and is_finished(out):
            require_finished_alike(out, settings, shard)
        else:
            _build(plan, models, settings, out, shard, writers, on_progress, on_candidates)
        sweep(out)
        conclude(out)
        if (out / CUT).is_dir():
            shutil.rmtree(out / CUT)
        if not plan.keep_candidates and (out / CANDIDATE_IMAGES).is_dir():
            shutil.rmtree(out / CANDIDATE_IMAGES)
        if shard is None:
            pack_if_needed(out, on_progress)


def _build(
    plan: CandidatePlan,
    models: Models,
    settings: dict[str, Any],
    out: Path,
    shard: Partition | None,
    writers: int | None,
    on_progress: OnProgress,
    on_candidates: Callable[[Progress], None],
) -> None:
    part = {} if shard is None else {"shard": [shard.index, shard.of]}
    start(out, {**settings, **part})
    units = plan_units(plan.goals, plan.batch)
    if shard is not None:
        units = units[shard.index :: shard.of]
    finished = map(
        StoredCandidate.from_json, read_journal(out / JOURNAL, CandidateLine, unknown="refuse")
    )
    schedule = Schedule(
        units, plan.batch, plan.thresholds, (one for one in finished if is_there(out, one))
    )
    with Journal(out / JOURNAL) as journal:
        pipeline = Pipeline(
            bank=out,
            source=models.source,
            segmenters=models.segmenters,
            scorer=models.scorer,
            cutting=Cutting(
                thresholds=plan.thresholds,
                fill_holes=plan.fill_holes,
                own_alpha=segmenters_of_own_alpha(settings["segmenters"]),
            ),
            schedule=schedule,
            journal=journal,
            **({} if writers is None else {"writers": max(1, writers)}),
        )
        progress = pipeline.run(on_candidates)
    selections = schedule.selections()
    records = _records(selections, timings(progress, models.source.stage))
    if shard is None and not records.objects:
        raise InputError(none_accepted(out, records.candidates or ()))
    _place(selections, out, on_progress)
    if shard is None:
        finish(out, settings, records, on_progress)
    else:
        finish_shard(out, settings, shard.index, shard.of, records)


def _leave_nothing(out: Path) -> None:
    """Remove a folder in which no build was started."""
    if [path.name for path in out.iterdir()] == [LOCK]:
        (out / LOCK).unlink()
        out.rmdir()


def none_accepted(out: Path, candidates: Iterable[Any]) -> str:
    """Message that no candidate was accepted, with the reasons."""
    reasons = refusal_counts(list(candidates))
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return (
        f"{out}: none of {sum(reasons.values())} candidates was accepted ({why}); loosen the "
        f"thresholds, use other models, and choose another --out"
    )


def _settings(plan: CandidatePlan, models: Models) -> dict[str, Any]:
    """Everything that determines the bank, as its card and an unfinished build record it."""
    names = Counter(segmenter.name for segmenter in models.segmenters)
    if not names:
        raise InputError("no segmenter; name at least one with --segmenter")
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise InputError(
            f"two segmenters are named {twice[0]!r}; name one of them, as in other={twice[0]}.onnx"
        )
    settings = {
        "format": FORMAT,
        **plan.card,
        **models.source.card(),
        "wanted": sum(goal.wanted for goal in plan.goals),
        "wanted_sha256": _digest(plan.goals),
        "batch": plan.batch,
        "segmenters": [segmenter.card() for segmenter in models.segmenters],
        "scorer": models.scorer.card(),
        "thresholds": asdict(plan.thresholds),
        "fill_holes": plan.fill_holes,
        "candidates_kept": plan.keep_candidates,
    }
    return json.loads(dump_json(settings))


def _digest(goals: Sequence[Goal]) -> str:
    """Hash of the categories, in order, with what is wanted of each."""
    lines = (
        f"{goal.category.folder}\t{goal.category.name}\t{goal.category.definition}\t"
        f"{goal.wanted}\t{goal.max_tries}\n"
        for goal in goals
    )
    return sha256("".join(lines).encode())


def _records(selections: Sequence[Selection], times: dict[str, Any]) -> BankManifest:
    objects, candidates, categories = [], [], []
    for one in selections:
        goal = one.goal
        for stored, verdict in zip(one.stored, one.verdicts, strict=True):
            candidates.append(candidate_record(stored.candidate, verdict))
            if verdict.accepted and stored.cut is not None:
                objects.append(object_record(stored.candidate, stored.cut, goal.category))
        categories.append(category_record(goal.category, goal.wanted, goal.max_tries, one.verdicts))
    return BankManifest(
        objects=objects, candidates=candidates, categories=categories, timings=times
    )


def _place(selections: Sequence[Selection], out: Path, on_progress: OnProgress) -> None:
    """Move accepted cut-outs to the bank's images."""
    accepted = [
        stored
        for one in selections
        for stored, verdict in zip(one.stored, one.verdicts, strict=True)
        if verdict.accepted
    ]
    for done, stored in enumerate(accepted, start=1):
        cut = out / cut_name(stored.candidate.category, stored.candidate.attempt)
        if stored.cut is None or sha256(cut.read_bytes()) != stored.cut.sha256:
            raise InputError(
                f"{cut}: changed since it was written; delete it and run the build again, which "
                f"makes it anew"
            )
        image = out / f"images/{stored.candidate.id}.png"
        image.unlink(missing_ok=True)
        place_file(cut, image)
        on_progress("placing images", done, len(accepted))
