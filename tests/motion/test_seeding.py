import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.seeding import Stream, keyed_generator, reused_generator

keys = st.tuples(
    st.integers(0, 2**64 - 1),
    st.sampled_from(Stream),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)


def draw(key: tuple) -> np.ndarray:
    seed, stream, epoch, index, part = key
    return keyed_generator(seed, stream, epoch=epoch, index=index, part=part).random(8)


@given(keys, keys)
def test_generators_agree_exactly_when_their_keys_do(first: tuple, second: tuple) -> None:
    assert (draw(first) == draw(first)).all()
    assert (draw(first) == draw(second)).all() == (first == second)


@given(keys, keys)
def test_lent_generators_draw_the_same(first: tuple, second: tuple) -> None:
    for seed, stream, epoch, index, part in (first, second):
        lent = reused_generator(seed, stream, epoch=epoch, index=index, part=part)
        lent.integers(0, 7, dtype="int32")  # leaves half a number behind
        lent = reused_generator(seed, stream, epoch=epoch, index=index, part=part)
        assert (lent.random(8) == draw((seed, stream, epoch, index, part))).all()


def test_the_numbers_are_part_of_the_format() -> None:
    rng = keyed_generator(7, Stream.MOTION, epoch=2, index=5)
    assert rng.integers(0, 1000, size=4).tolist() == [349, 602, 680, 24]
