import itertools
import math

from hypothesis import given
from hypothesis import strategies as st
from smile_motion.bank.candidates.select import select_mask, select_masks
from smile_motion.bank.candidates.types import Candidate, Thresholds
from smile_motion.bank.format import MaskScore

PAPER = Thresholds()


def mask(score: float, *, name: str = "a", area: float = 0.4, raw: float = 0.9) -> MaskScore:
    return MaskScore(segmenter=name, score=score, area_share=area, raw_max=raw)


def candidate(*masks: MaskScore, attempt: int = 0, unsafe: bool | None = False) -> Candidate:
    return Candidate(
        category="teapot", attempt=attempt, prompt="", seed=attempt, unsafe=unsafe, masks=masks
    )


def reasons(*candidates: Candidate) -> list[str | None]:
    return [decision.reason for decision in select_masks(candidates, PAPER)]


def test_the_mask_with_the_highest_score_is_chosen() -> None:
    best = select_mask([mask(20), mask(25, name="b"), mask(25, name="c"), mask(30, raw=0.5)], PAPER)
    assert best is not None
    assert best.segmenter == "b"
    assert select_mask([mask(30, raw=0.2), mask(-1), mask(math.nan)], PAPER) is None
    assert select_mask([], PAPER) is None


def test_scores_of_21_pass_and_those_near_the_best_of_a_low_category() -> None:
    assert reasons(candidate(mask(21.0)), candidate(mask(20.99)), candidate(mask(30))) == [
        None,
        "score 20.99 below 21.00",
        None,
    ]
    # The best of the category is 18: what is within 1 of it passes.
    assert reasons(candidate(mask(18)), candidate(mask(17)), candidate(mask(16.9))) == [
        None,
        None,
        "score 16.90 below 17.00",
    ]
    assert reasons(candidate(mask(3))) == [None]


def test_areas_are_bounded_at_both_ends() -> None:
    shares = (0.05, 0.0499, 0.95, 0.951)
    assert reasons(*(candidate(mask(25, area=share)) for share in shares)) == [
        None,
        "area share 0.050 below 0.05",
        None,
        "area share 0.951 above 0.95",
    ]


def test_what_a_safety_checker_marked_counts_for_nothing() -> None:
    marked = candidate(mask(40), unsafe=True)
    assert reasons(marked, candidate(mask(18))) == ["marked by the safety checker", None]


def test_an_image_in_which_nothing_was_found_is_refused() -> None:
    assert reasons(candidate(mask(25, raw=0.3), mask(26, raw=0.5))) == [
        "no confident mask: raw maximum 0.50, above 0.5 asked for"
    ]
    assert reasons(candidate(mask(-1, raw=0.9, area=0))) == [
        "no confident mask has a score: all are empty"
    ]


@given(st.lists(st.floats(-1, 40), min_size=1, max_size=5))
def test_decisions_do_not_depend_on_the_order(scores: list[float]) -> None:
    candidates = [candidate(mask(score), attempt=n) for n, score in enumerate(scores)]
    expected = {
        c.attempt: d for c, d in zip(candidates, select_masks(candidates, PAPER), strict=True)
    }
    for order in itertools.islice(itertools.permutations(candidates), 24):
        for one, decision in zip(order, select_masks(order, PAPER), strict=True):
            assert decision == expected[one.attempt]
