"""Sorting in compiled loops, against numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.runtime.sorting import rank, select

# Few values, so that many are equal.
KEYS = st.lists(st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 1.0, np.inf]), min_size=1, max_size=70)


@given(KEYS)
def test_equal_keys_keep_their_order(keys: list[float]) -> None:
    assert (rank(np.array(keys)) == np.argsort(keys, kind="stable")).all()


@given(KEYS, st.data())
def test_the_wanted_smallest_is_found(keys: list[float], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, len(keys)))
    assert select(np.array(keys), wanted) == sorted(keys)[wanted - 1]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 196, 1568])
def test_all_sizes_are_sorted(count: int) -> None:
    keys = np.random.default_rng(count).random(count)
    assert (rank(keys) == np.argsort(keys)).all()
    for wanted in (1, count // 2, count):
        if count and wanted:
            assert select(keys.copy(), wanted) == np.sort(keys)[wanted - 1]
