import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.truth.instances import Truth


def truth_of(bank: ObjectBank, index: int) -> Truth:
    rng = keyed_generator(31, Stream.MOTION, index=index)
    return Truth(MotionRecipe.paper(objects=3).plan(rng, bank), bank)


@pytest.mark.slow
@given(st.integers(0, 1000), st.integers(0, 15))
@settings(max_examples=10)
def test_tracks_go_where_the_flow_goes(small_bank: ObjectBank, index: int, frame: int) -> None:
    truth = truth_of(small_bank, index)
    y, x = np.nonzero(truth.ids[frame])
    points = np.stack([x, y], axis=1)[::97]
    tracks = truth.track(points, frame)
    assert (tracks.slot == truth.ids[frame, points[:, 1], points[:, 0]] - 1).all()
    np.testing.assert_allclose(tracks.positions[:, frame], points, atol=1e-9)
    assert tracks.visible[:, frame].all()
    if frame < 15:
        flow = truth.flow()
        moved = points + flow.vectors[frame, points[:, 1], points[:, 0]]
        np.testing.assert_allclose(tracks.positions[:, frame + 1], moved, atol=1e-4)
        hidden = flow.occluded[frame, points[:, 1], points[:, 0]]
        assert (tracks.visible[:, frame + 1] == ~hidden).all()


def test_the_background_stays_and_is_hidden_by_what_passes(small_bank: ObjectBank) -> None:
    truth = truth_of(small_bank, 5)
    free = np.argwhere(truth.ids[0] == 0)[::501, ::-1]
    tracks = truth.track(free)
    assert (tracks.slot == -1).all()
    assert (tracks.positions == free[:, None]).all()
    assert (tracks.visible == (truth.ids[:, free[:, 1], free[:, 0]].T == 0)).all()


def test_points_and_frames_outside_are_refused(small_bank: ObjectBank) -> None:
    truth = truth_of(small_bank, 0)
    with pytest.raises(InputError, match="outside the frame"):
        truth.track(np.array([[300, 3]]))
    with pytest.raises(InputError, match="frame is 16"):
        truth.track(np.array([[3, 3]]), frame=16)
