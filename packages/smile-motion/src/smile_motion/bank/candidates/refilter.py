"""Build a bank from the stored candidates of another, without running the diffusion model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from smile_motion.bank.builder.manifest import CATEGORIES, TIMINGS, BankManifest, finish
from smile_motion.bank.candidates.build import (
    CandidatePlan,
    Models,
    build_from_candidates,
    none_accepted,
)
from smile_motion.bank.candidates.categories import quotas
from smile_motion.bank.candidates.cutout import (
    CutOut,
    Cutting,
    cut_out,
    describe_cut,
    segmenters_of_own_alpha,
)
from smile_motion.bank.candidates.images import StoredSource
from smile_motion.bank.candidates.pipeline import Progress
from smile_motion.bank.candidates.select import (
    Verdict,
    candidate_record,
    category_record,
    object_record,
    select,
    select_masks,
)
from smile_motion.bank.candidates.store import (
    candidate_from_json,
    image_name,
    mask_name,
    read_candidate_image,
)
from smile_motion.bank.candidates.types import (
    Candidate,
    Category,
    Goal,
    Scorer,
    Segmenter,
    Thresholds,
)
from smile_motion.bank.format import (
    BUILD_AGAIN,
    CARD,
    Name,
    read_candidates,
    read_card,
    read_metadata,
)
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.subset import CHOICE, ORIGIN
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically
from smile_motion.io.images import PNG_PHOTOGRAPH, encode_png
from smile_motion.io.output_folders import new_folder, place_file
from smile_motion.io.schema import parse_record, read_records
from smile_motion.runtime.devices import available_cores
from smile_motion.runtime.progress import OnProgress
from smile_motion.runtime.tasks import map_in_threads

_RESULTS = (
    "categories", "metadata_sha256", "count", "counts", "fell_short", "candidates_sha256", TIMINGS,
)  # fmt: skip
"""Entries of a card that are results of its build."""
_MODELS = (
    "segmenters", "scorer", "thresholds", "fill_holes", "batch", "wanted", "wanted_sha256",
    "judge_batch", "cpu_threads",
)  # fmt: skip
"""Entries of a card that a build with other models determines anew."""


@dataclass(frozen=True, kw_only=True)
class _CategoryLine:
    """A line of `categories.jsonl`: what was wanted of a category, and the result."""

    category: Name
    name: Name
    definition: str | None
    sense: Annotated[int, Ge(1)]
    wanted: Annotated[int, Ge(0)]
    max_tries: Annotated[int, Ge(0)]
    tries: Annotated[int, Ge(0)]
    passed: Annotated[int, Ge(0)]
    accepted: Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class _SegmenterCard:
    """Fields of a segmenter's card that are read."""

    name: str
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class _CandidateCard:
    """Fields of the card of a bank made from candidates that are read."""

    batch: Annotated[int, Ge(1)]
    thresholds: Thresholds
    fill_holes: bool
    segmenters: list[_SegmenterCard]
    candidates_kept: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredBank:
    """A bank with its stored candidates."""

    folder: Path
    """Folder of the bank."""
    card: Mapping[str, Any]
    """Its card."""
    categories: Sequence[Mapping[str, Any]]
    """Lines of `categories.jsonl`."""
    candidates: Mapping[str, Sequence[Mapping[str, Any]]]
    """Lines of `candidates.jsonl` by category, in the order of attempts."""

    @classmethod
    def open(cls, folder: Path) -> StoredBank:
        """Read a bank and its stored candidates.

        Args:
            folder: Folder of the bank.

        Raises:
            InputError: It has no candidates, or their images were not kept.
        """
        card = read_card(folder)
        by_category: dict[str, list[Mapping[str, Any]]] = {}
        for record in read_candidates(folder):
            by_category.setdefault(record["category"], []).append(record)
        if not card.get("candidates_kept"):
            raise InputError(
                f"{folder}: the candidates' images are not kept in this bank; filter the bank "
                f"that it was made from, or build it without --drop-candidates"
            )
        path = folder / CATEGORIES
        try:
            categories = read_records(path, _CategoryLine, remedy=BUILD_AGAIN, unknown="refuse")
        except FileNotFoundError as error:
            raise InputError(f"{path}: missing; {BUILD_AGAIN}") from error
        parse_record(card, _CandidateCard, source=str(folder / CARD), remedy=BUILD_AGAIN)
        for records in by_category.values():
            records.sort(key=lambda record: record["attempt"])
        return cls(folder=folder, card=card, categories=categories, candidates=by_category)

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds of its build."""
        return Thresholds(**self.card["thresholds"])

    def goals(self, count: int | None) -> tuple[Goal, ...]:
        """Objects wanted of each category: as in its build, or of `count` in all."""
        wanted = [line["wanted"] for line in self.categories]
        if count is not None:
            wanted = quotas(count, len(self.categories))
        return tuple(
            Goal(Category(line["name"], line["definition"], line["sense"]), one, line["max_tries"])
            for line, one in zip(self.categories, wanted, strict=True)
            if one
        )

    def origin(self) -> dict[str, Any]:
        """Entry of the new bank's card that describes this bank."""
        names = ("count", "metadata_sha256", "candidates_sha256", CHOICE, ORIGIN)
        known = {name: self.card[name] for name in names if name in self.card}
        return {"bank": self.folder.resolve().name, **known}


def filter_bank(
    stored: StoredBank,
    out: Path,
    *,
    thresholds: Thresholds,
    fill_holes: bool | None = None,
    count: int | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> ObjectBank:
    """Select from stored candidates anew and write the resulting bank; no model is run.

    The settings of the first build give the same objects.

    Args:
        stored: The bank with its candidates.
        out: Folder of the new bank.
        thresholds: Thresholds that candidates must reach.
        fill_holes: Fill holes of objects; as in the first build by default.
        count: Objects wanted in all; as in the first build by default.
        on_progress: Called with (stage, done, total).

    Returns:
        The new bank.

    Raises:
        InputError: `out` exists, a stored image cannot be read, or no candidate is accepted.
    """
    holes = bool(stored.card["fill_holes"] if fill_holes is None else fill_holes)
    own_alpha = segmenters_of_own_alpha(stored.card["segmenters"])
    cutting = Cutting(thresholds=thresholds, fill_holes=holes, own_alpha=own_alpha)
    former = {}
    if holes == stored.card["fill_holes"]:
        former = {record["id"]: record for record in read_metadata(stored.folder)}
    goals = stored.goals(count)
    objects, candidates, categories = [], [], []
    with new_folder(out) as folder:
        for done, goal in enumerate(goals, start=1):
            records = stored.candidates.get(goal.category.folder, ())
            of_category = [candidate_from_json(record) for record in records]
            found = _cut_all(stored.folder, of_category, cutting, former)
            cuts = [one[0] if one else None for one in found]
            verdicts = select(of_category, cuts, thresholds, goal.wanted)
            for candidate, verdict, one in zip(of_category, verdicts, found, strict=True):
                candidates.append(candidate_record(candidate, verdict))
                if verdict.accepted and one is not None:
                    objects.append(object_record(candidate, one[0], goal.category))
                    _write_image(stored.folder, folder, objects[-1]["file_name"], one[1])
            categories.append(_category(goal, verdicts))
            on_progress("deciding on categories", done, len(goals))
        if not objects:
            raise InputError(none_accepted(out, candidates))
        settings = {
            **{name: value for name, value in stored.card.items() if name not in _RESULTS},
            "wanted": sum(goal.wanted for goal in goals),
            "thresholds": {**vars(thresholds)},
            "fill_holes": holes,
            "candidates_kept": False,
            CHOICE: {"by": "bank filter"},
            ORIGIN: stored.origin(),
        }
        new = BankManifest(objects=objects, candidates=candidates, categories=categories)
        finish(folder, settings, new, on_progress)
    return ObjectBank(out)


def reassess_bank(
    stored: StoredBank,
    out: Path,
    open_judges: Callable[[], tuple[Sequence[Segmenter], Scorer]],
    *,
    scoring: Mapping[str, Any],
    thresholds: Thresholds,
    fill_holes: bool | None = None,
    count: int | None = None,
    writers: int | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
    on_candidates: Callable[[Progress], None] = lambda progress: None,
) -> ObjectBank:
    """Segment and score stored images with other models, and build the resulting bank.

    As many stored candidates are used as are needed. An interrupted build is resumed.

    Args:
        stored: The bank with its candidates.
        out: Folder of the new bank.
        open_judges: Opens the segmenters and the scorer.
        scoring: Entries of the card on how they run: `judge_batch` and optionally `cpu_threads`.
        thresholds: Thresholds that candidates must reach.
        fill_holes: Fill holes of objects; as in the first build by default.
        count: Objects wanted in all; as in the first build by default.
        writers: Number of threads that cut out and write; see `build_from_candidates`.
        on_progress: Called with (stage, done, total) while the bank is finished.
        on_candidates: Called with the progress of candidates.

    Returns:
        The new bank.

    Raises:
        InputError: As for `build_from_candidates`.
    """
    goals = tuple(
        replace(goal, max_tries=len(stored.candidates.get(goal.category.folder, ())))
        for goal in stored.goals(count)
    )
    kept = {
        name: value
        for name, value in stored.card.items()
        if name not in (*_RESULTS, *_MODELS, "format", "candidates_kept")
    }
    plan = CandidatePlan(
        goals=goals,
        batch=stored.card["batch"],
        thresholds=thresholds,
        fill_holes=bool(stored.card["fill_holes"] if fill_holes is None else fill_holes),
        card={
            **kept,
            **scoring,
            CHOICE: {"by": "bank filter, other models"},
            ORIGIN: stored.origin(),
        },
    )
    records = {
        (category, record["attempt"]): record
        for category, of_category in stored.candidates.items()
        for record in of_category
    }

    def open_models() -> Models:
        segmenters, scorer = open_judges()
        source = StoredSource(bank=stored.folder, records=records)
        return Models(source=source, segmenters=segmenters, scorer=scorer)

    build_from_candidates(
        plan,
        open_models,
        out,
        writers=writers,
        on_progress=on_progress,
        on_candidates=on_candidates,
    )
    return ObjectBank(out)


def _cut_all(
    bank: Path,
    candidates: Sequence[Candidate],
    cutting: Cutting,
    former: Mapping[str, Mapping[str, Any]],
) -> list[tuple[CutOut, bytes | None] | None]:
    """Cut out the candidates that pass by score; without bytes where the old image is the same."""
    decisions = select_masks(candidates, cutting.thresholds)

    def one(number: int) -> tuple[CutOut, bytes | None] | None:
        candidate, decision = candidates[number], decisions[number]
        if decision.reason is not None or decision.segmenter is None:
            return None
        old = former.get(candidate.id)
        if old is not None and old["segmenter"] == decision.segmenter:
            names = ("segmenter", "width", "height", "area_share", "fingerprint", "sha256")
            return CutOut(**{name: old[name] for name in names}), None
        place = candidate.category, candidate.attempt
        score = next(m for m in candidate.masks if m.segmenter == decision.segmenter)
        image = read_candidate_image(bank / image_name(*place))
        alpha = read_candidate_image(bank / mask_name(*place, score.segmenter))
        if alpha.shape != image.shape[:2]:
            raise InputError(
                f"{bank / mask_name(*place, score.segmenter)}: {alpha.shape[1]} x "
                f"{alpha.shape[0]} px, its image {image.shape[1]} x {image.shape[0]}; build the "
                f"bank again"
            )
        rgba = cut_out(image, alpha, score, cutting)
        if rgba is None:
            return None
        data = encode_png(rgba, PNG_PHOTOGRAPH)
        return describe_cut(rgba, data, score.segmenter), data

    return list(map_in_threads(one, range(len(candidates)), threads=available_cores()))


def _write_image(bank: Path, folder: Path, file_name: str, data: bytes | None) -> None:
    if data is None:
        place_file(bank / file_name, folder / file_name)
    else:
        write_atomically(folder / file_name, data)


def _category(goal: Goal, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return category_record(goal.category, goal.wanted, goal.max_tries, verdicts)
