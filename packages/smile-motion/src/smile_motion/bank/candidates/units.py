"""How a bank's candidates are divided into units, rounds and batches, none depending on timing.

unit      one category, or neighbouring ones where each needs little
  round   candidates made before the unit is judged; another follows while objects are lacking
    batch candidates made together: on a GPU the last bit of one may depend on the others
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smile_motion.bank.candidates.types import Category

SURPLUS = 1.2
"""Candidates per object wanted: about 84 % survive X-Paste's filters."""
BATCHES_PER_UNIT = 4
"""Batches that a unit of small categories fills, so that few candidates only pad the last."""
LEAST_TRIES = 16
"""The cap on tries is at least this, however few objects are wanted."""
TRIES_PER_OBJECT = 4
"""Tries per object wanted at which a category is given up, by default."""
LEAST_RATE = 1 / 8
"""No lower share of accepted candidates is reckoned with when a round is planned."""


@dataclass(frozen=True)
class Goal:
    """What is wanted of a category."""

    category: Category
    """The category."""
    wanted: int
    """Objects, at least 1."""
    max_tries: int
    """Candidates after which it is given up."""


@dataclass(frozen=True)
class Attempt:
    """A candidate to be made."""

    category: Category
    """Its category."""
    number: int
    """Within the category, from 0."""


@dataclass(frozen=True)
class Unit:
    """Categories whose candidates are made together."""

    number: int
    """Among the bank's units, from 0."""
    goals: tuple[Goal, ...]
    """What is wanted."""


Batch = tuple[Attempt, ...]


def default_max_tries(wanted: int) -> int:
    """Candidates after which a category is given up."""
    return max(TRIES_PER_OBJECT * wanted, LEAST_TRIES)


def image_seed(seed: int, category: str, attempt: int) -> int:
    """Seed of one image, from 0 to 2^63 - 1; the category's place in a list does not matter.

    category  `Category.folder`.
    """
    digest = hashlib.sha256(f"{seed}/{category}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def plan_units(goals: Sequence[Goal], batch: int) -> tuple[Unit, ...]:
    """Divide a bank: neighbours share a unit where a category alone leaves batches unfilled.

    batch  candidates made together.
    """
    most = max((_first_tries(goal) for goal in goals), default=1)
    together = max(1, math.ceil(BATCHES_PER_UNIT * batch / max(1, most)))
    parts = [tuple(goals[start : start + together]) for start in range(0, len(goals), together)]
    return tuple(Unit(number, part) for number, part in enumerate(parts))


def first_round(unit: Unit, batch: int) -> tuple[Batch, ...]:
    """The candidates to begin with; the last batch is filled up as far as tries allow."""
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
    """More candidates of those categories that lack objects; none when the unit is finished.

    made    candidates so far by `Category.folder`.
    passed  how many of them are good enough, more than wanted included.
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
