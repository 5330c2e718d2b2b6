from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from smile_motion.bank.candidates.cutout import CutOut
from smile_motion.bank.candidates.images import prompt_for
from smile_motion.bank.candidates.schedule import (
    Schedule,
    Unit,
    default_max_tries,
    first_round,
    next_round,
    plan_units,
)
from smile_motion.bank.candidates.select import select
from smile_motion.bank.candidates.store import StoredCandidate
from smile_motion.bank.candidates.types import Attempt, Candidate, Category, Goal, Thresholds
from smile_motion.bank.format import MaskScore


def goals(wanted: Sequence[int]) -> tuple[Goal, ...]:
    return tuple(
        Goal(Category(f"thing {number}"), one, default_max_tries(one))
        for number, one in enumerate(wanted)
    )


def candidate(attempt: Attempt, score: float, fingerprint: str) -> StoredCandidate:
    mask = MaskScore("isnet", score, 0.5, 1.0)
    return StoredCandidate(
        candidate=Candidate(attempt.category.folder, attempt.number, "", None, None, (mask,)),
        sizes={},
        cut=CutOut(
            segmenter="isnet", width=9, height=9, area_share=0.5, fingerprint=fingerprint, sha256=""
        ),
    )


def distinct(number: int) -> str:
    """Hashes that differ from one another in many bits."""
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 32))
def test_every_category_is_in_one_unit_and_first_rounds_fill_batches(
    wanted: list[int], batch: int
) -> None:
    units = plan_units(goals(wanted), batch)
    assert [goal for unit in units for goal in unit.goals] == list(goals(wanted))
    assert len({len(unit.goals) for unit in units[:-1]}) <= 1
    for unit in units:
        batches = first_round(unit, batch)
        assert {len(one) for one in batches[:-1]} <= {batch}
        attempts = [attempt for one in batches for attempt in one]
        for goal in unit.goals:
            numbers = [a.number for a in attempts if a.category == goal.category]
            assert numbers == list(range(len(numbers)))
            assert 1.2 * goal.wanted <= len(numbers) <= goal.max_tries
        room = sum(goal.max_tries for goal in unit.goals) - len(attempts)
        assert len(batches[-1]) == batch or room == 0


def test_large_categories_are_units_of_their_own_and_small_ones_share() -> None:
    assert [len(unit.goals) for unit in plan_units(goals([60] * 5), 8)] == [1] * 5
    assert [len(unit.goals) for unit in plan_units(goals([5] * 20), 8)] == [6, 6, 6, 2]


def test_further_rounds_follow_the_share_that_passed() -> None:
    (unit,) = plan_units(goals([10, 10, 10]), 16)
    folders = [goal.category.folder for goal in unit.goals]
    made = dict.fromkeys(folders, 12)
    assert next_round(unit, made, dict.fromkeys(folders, 10), 16) == ()
    passed = dict(zip(folders, (10, 6, 0), strict=True))
    batches = next_round(unit, made, passed, 16)
    assert [len(batch) for batch in batches] == [16, 16, 6]
    extra = [attempt.category.folder for batch in batches for attempt in batch]
    # Six of 12 passed: four more need 1.2 * 4 / (6 / 12) tries. None passed: all that may be.
    assert {folder: extra.count(folder) for folder in folders} == dict(
        zip(folders, (0, 10, 28), strict=True)
    )
    assert batches[0][0].number == 12
    assert next_round(unit, dict.fromkeys(folders, 40), passed, 16) == ()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.data())
def test_batches_do_not_depend_on_the_order_of_work(wanted: list[int], data: st.DataObject) -> None:
    def passes(attempt: Attempt) -> bool:
        return (attempt.number * 7 + len(attempt.category.name)) % 3 == 0

    def make(attempt: Attempt) -> StoredCandidate:
        number = attempt.number + 1000 * int(attempt.category.name.split()[1])
        return candidate(attempt, 30.0 if passes(attempt) else 5.0, distinct(number + 1))

    def run(shuffled: bool, finished: Sequence[StoredCandidate] = ()):
        thresholds = Thresholds(margin=0.0, max_distance=-1)
        schedule = Schedule(plan_units(goals(wanted), 4), 4, thresholds, finished)
        waiting, batches = [], []
        while True:
            while (batch := schedule.take(0)) is not None:
                waiting.append(batch)
                batches.append(batch)
            if not waiting:
                return schedule, batches
            place = data.draw(st.integers(0, len(waiting) - 1)) if shuffled else 0
            schedule.put([make(attempt) for attempt in waiting.pop(place)])

    straight, batches = run(False)
    shuffled, others = run(True)
    assert set(batches) == set(others)
    assert straight.selections() == shuffled.selections()
    # What an earlier run finished, whatever part of it, leaves the same batches to be made.
    everything = [stored for one in straight.selections() for stored in one.stored]
    kept = [stored for stored in everything if data.draw(st.booleans())]
    resumed, rest = run(False, kept)
    assert set(rest) <= set(batches)
    assert resumed.selections() == straight.selections()
    for one in straight.selections():
        accepted = sum(verdict.accepted for verdict in one.verdicts)
        assert accepted == one.goal.wanted or len(one.stored) == one.goal.max_tries
    count = straight.count()
    assert count.planned == count.finished == len(everything)


def test_verdicts_say_why_in_order() -> None:
    cat = Category("cat")
    scores = (30.0, 5.0, 30.0, 29.0, 28.0, 27.0)
    prints = (distinct(1), distinct(2), distinct(1), distinct(4), distinct(5), distinct(6))
    stored = [
        candidate(Attempt(cat, number), score, one)
        for number, (score, one) in enumerate(zip(scores, prints, strict=True))
    ]
    cuts = [one.cut for one in stored]
    cuts[3] = None
    found = select([one.candidate for one in stored], cuts, Thresholds(), 2)
    assert [(verdict.accepted, verdict.passed, verdict.reason) for verdict in found] == [
        (True, True, None),
        (False, False, "score 5.00 below 21.00"),
        (False, False, "looks like cat/000000"),
        (False, False, "next to nothing is left after cleaning"),
        (True, True, None),
        (False, True, "beyond the 2 wanted"),
    ]


def test_prompts_leave_out_a_definition_that_is_not_there() -> None:
    template = "a photo of a single {name}, {definition}, in a white background"
    truck = Category("fire_engine", "a truck that carries firemen. ")
    assert prompt_for(truck, template) == (
        "a photo of a single fire engine, a truck that carries firemen, in a white background"
    )
    assert prompt_for(Category("cat"), template) == "a photo of a single cat, in a white background"
    assert prompt_for(Category("{definition}"), "a {name}") == "a {definition}"


def test_a_unit_at_its_caps_ends() -> None:
    unit = Unit(0, (Goal(Category("cat"), 5, 5),))
    (batch,) = first_round(unit, 8)
    assert len(batch) == 5
    assert next_round(unit, {"cat": 5}, {"cat": 0}, 8) == ()
