"""Schedule the candidates of a build in units, rounds and batches, independent of timing."""

from __future__ import annotations

import hashlib
import heapq
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smile_motion.bank.candidates.select import Verdict, select
from smile_motion.bank.candidates.store import StoredCandidate
from smile_motion.bank.candidates.types import Attempt, Goal, Thresholds


@dataclass(frozen=True)
class Selection:
    """Final selection of a category."""

    goal: Goal
    """What was wanted of it."""
    stored: tuple[StoredCandidate, ...]
    """Its candidates, in the order of attempts."""
    verdicts: tuple[Verdict, ...]
    """A verdict per candidate."""


@dataclass(frozen=True)
class Count:
    """Progress of a build in objects and candidates."""

    wanted: int
    """Objects wanted."""
    accepted: int
    """Objects accepted in the rounds finished so far."""
    planned: int
    """Candidates of all rounds begun so far."""
    finished: int
    """Candidates finished so far."""


class Schedule:
    """Hands out batches, takes finished candidates and selects among them; thread-safe.

    The rounds of a unit depend on its own candidates alone, so that the batches are the same
    however the work is timed, divided or interrupted.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        batch: int,
        thresholds: Thresholds,
        finished: Iterable[StoredCandidate],
    ) -> None:
        """Plan the first rounds.

        Args:
            units: Units of the build, or of its part.
            batch: Candidates per batch.
            thresholds: Thresholds that candidates must reach.
            finished: Candidates of earlier runs, which are not made again.
        """
        self._batch = batch
        self._thresholds = thresholds
        self._states = [_UnitState(unit) for unit in units]
        self._of_category = {
            goal.category.folder: state for state in self._states for goal in state.unit.goals
        }
        self._wanted = sum(goal.wanted for unit in units for goal in unit.goals)
        self._ready: list[tuple[int, int, int, Batch]] = []
        self._changed = threading.Condition()
        self._stopped = False
        for stored in finished:
            state = self._of_category.get(stored.candidate.category)
            if state is not None:
                state.add(stored)
        for state in self._states:
            self._advance(state)

    def take(self, seconds: float | None = None) -> Batch | None:
        """Wait for the next batch, at most `seconds`; None where there is none."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ready or self._stopped or not any(s.open for s in self._states),
                seconds,
            )
            if self._stopped or not self._ready:
                return None
            return heapq.heappop(self._ready)[-1]

    def put(self, finished: Sequence[StoredCandidate]) -> None:
        """Take the finished candidates of a batch."""
        with self._changed:
            touched: dict[int, _UnitState] = {}
            for stored in finished:
                state = self._of_category[stored.candidate.category]
                state.add(stored)
                touched[state.unit.number] = state
            for state in touched.values():
                state.outstanding -= 1
                if not state.outstanding:
                    self._advance(state)
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out no more batches."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def has(self, category: str, attempt: int) -> bool:
        """Whether a candidate is finished."""
        with self._changed:
            return attempt in self._of_category[category].stored[category]

    def count(self) -> Count:
        """Count objects and candidates so far."""
        with self._changed:
            states = self._states
            return Count(
                wanted=self._wanted,
                accepted=sum(state.accepted for state in states),
                planned=sum(state.planned for state in states),
                finished=sum(state.finished for state in states),
            )

    def selections(self) -> list[Selection]:
        """Selections of all categories, once every unit is finished."""
        return [
            Selection(
                goal,
                tuple(_by_attempt(state.stored[folder], state.made[folder])),
                tuple(state.verdicts[folder]),
            )
            for state in self._states
            for goal in state.unit.goals
            for folder in (goal.category.folder,)
        ]

    def _advance(self, state: _UnitState) -> None:
        """Plan rounds until one has candidates to make or the unit is finished."""
        while state.open:
            batches = state.plan(self._batch, self._thresholds)
            state.open = bool(batches)
            for number, batch in enumerate(batches):
                if not all(a.number in state.stored[a.category.folder] for a in batch):
                    key = (state.unit.number, state.round, number)
                    heapq.heappush(self._ready, (*key, batch))
                    state.outstanding += 1
            if state.outstanding:
                return


class _UnitState:
    """State of a unit between rounds."""

    def __init__(self, unit: Unit) -> None:
        folders = [goal.category.folder for goal in unit.goals]
        self.unit = unit
        self.round = -1
        self.open = True
        self.outstanding = 0
        self.accepted = self.planned = self.finished = 0
        self.made: dict[str, int] = dict.fromkeys(folders, 0)
        self.stored: dict[str, dict[int, StoredCandidate]] = {folder: {} for folder in folders}
        self.verdicts: dict[str, list[Verdict]] = {folder: [] for folder in folders}

    def add(self, stored: StoredCandidate) -> None:
        """Take a finished candidate."""
        of_category = self.stored[stored.candidate.category]
        self.finished += stored.candidate.attempt not in of_category
        of_category[stored.candidate.attempt] = stored

    def plan(self, batch: int, thresholds: Thresholds) -> tuple[Batch, ...]:
        """Select among the candidates so far and plan the next round."""
        self.round += 1
        if self.round == 0:
            batches = first_round(self.unit, batch)
        else:
            for goal in self.unit.goals:
                folder = goal.category.folder
                so_far = _by_attempt(self.stored[folder], self.made[folder])
                self.verdicts[folder] = select(
                    [stored.candidate for stored in so_far],
                    [stored.cut for stored in so_far],
                    thresholds,
                    goal.wanted,
                )
            self.accepted = sum(v.accepted for vs in self.verdicts.values() for v in vs)
            passed = {name: sum(v.passed for v in vs) for name, vs in self.verdicts.items()}
            batches = next_round(self.unit, self.made, passed, batch)
        self.planned += sum(map(len, batches))
        for made in batches:
            for attempt in made:
                self.made[attempt.category.folder] += 1
        return batches


SURPLUS = 1.2
"""Candidates per object wanted: about 84 % pass X-Paste's filters."""
BATCHES_PER_UNIT = 4
"""Batches per unit of small categories, so that few candidates are padding."""
LEAST_TRIES = 16
"""Smallest default limit on candidates of a category."""
TRIES_PER_OBJECT = 4
"""Candidates per object wanted after which a category is given up, by default."""
LEAST_RATE = 1 / 8
"""Smallest share of accepted candidates that a round is planned with."""


@dataclass(frozen=True)
class Unit:
    """Categories whose candidates are made together."""

    number: int
    """Number of the unit in the bank, from 0."""
    goals: tuple[Goal, ...]
    """Its categories, with what is wanted of each."""


Batch = tuple[Attempt, ...]


def default_max_tries(wanted: int) -> int:
    """Candidates after which a category is given up."""
    return max(TRIES_PER_OBJECT * wanted, LEAST_TRIES)


def image_seed(seed: int, category: str, attempt: int) -> int:
    """Seed of an image, independent of the category's position in a list.

    Args:
        seed: Seed of the bank.
        category: `Category.folder`.
        attempt: Number of the candidate within the category.

    Returns:
        0 to 2^63 - 1: first 63 bits of the SHA-256 of `seed/category/attempt`.
    """
    digest = hashlib.sha256(f"{seed}/{category}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def plan_units(goals: Sequence[Goal], batch: int) -> tuple[Unit, ...]:
    """Divide a bank into units; neighboring categories share one where each would not fill batches.

    Args:
        goals: Categories, in order, with what is wanted of each.
        batch: Candidates per batch.
    """
    most = max((_first_tries(goal) for goal in goals), default=1)
    together = max(1, math.ceil(BATCHES_PER_UNIT * batch / max(1, most)))
    parts = [tuple(goals[start : start + together]) for start in range(0, len(goals), together)]
    return tuple(Unit(number, part) for number, part in enumerate(parts))


def first_round(unit: Unit, batch: int) -> tuple[Batch, ...]:
    """First candidates of a unit; the last batch is filled up as far as `max_tries` allows."""
    tries = {goal.category.folder: _first_tries(goal) for goal in unit.goals}
    missing = -sum(tries.values()) % batch
    while missing:
        open_goals = [goal for goal in unit.goals if tries[goal.category.folder] < goal.max_tries]
        for goal in open_goals[:missing]:
            tries[goal.category.folder] += 1
        missing -= len(open_goals[:missing])
        if not open_goals:
            break
    return _batches(unit, {}, tries, batch)


def next_round(
    unit: Unit, made: Mapping[str, int], passed: Mapping[str, int], batch: int
) -> tuple[Batch, ...]:
    """Further candidates of the categories that lack objects; none where the unit is finished.

    Args:
        unit: The unit.
        made: Number of candidates so far, by `Category.folder`.
        passed: Number of them that pass, including more than wanted.
        batch: Candidates per batch.
    """
    extra = {}
    for goal in unit.goals:
        folder = goal.category.folder
        lacking = goal.wanted - passed[folder]
        if lacking > 0:
            rate = max(passed[folder] / made[folder], LEAST_RATE) if made[folder] else 1.0
            more = math.ceil(SURPLUS * lacking / rate)
            extra[folder] = max(0, min(more, goal.max_tries - made[folder]))
    return _batches(unit, made, extra, batch)


def _first_tries(goal: Goal) -> int:
    return min(math.ceil(SURPLUS * goal.wanted), goal.max_tries)


def _batches(
    unit: Unit, made: Mapping[str, int], extra: Mapping[str, int], batch: int
) -> tuple[Batch, ...]:
    attempts = [
        Attempt(goal.category, made.get(goal.category.folder, 0) + number)
        for goal in unit.goals
        for number in range(extra.get(goal.category.folder, 0))
    ]
    return tuple(tuple(attempts[start : start + batch]) for start in range(0, len(attempts), batch))


def _by_attempt(stored: Mapping[int, StoredCandidate], count: int) -> list[StoredCandidate]:
    """First `count` candidates of a category, in the order of attempts."""
    return [stored[attempt] for attempt in range(count)]
