import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.motion.paths import PATHS
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import render
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth.instances import Truth

seeds = st.integers(0, 10_000)
few = settings(max_examples=15, deadline=None)


def draw(bank: ObjectBank, index: int, objects: int = 2) -> MotionPlan:
    rng = keyed_generator(11, Stream.MOTION, index=index)
    return MotionRecipe.paper(objects=objects).plan(rng, bank)


def pixel_box(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])


@given(seeds)
@few
def test_rendering_and_truth_make_the_same_id_map(small_bank: ObjectBank, seed: int) -> None:
    plan = draw(small_bank, seed)
    ids = np.empty((16, 224, 224), np.uint8)
    render(np.zeros((16, 224, 224, 3), np.uint8), plan, small_bank, ids=ids)
    assert (ids == Truth(plan, small_bank).ids).all()


@given(seeds)
@few
def test_boxes_and_masks_agree_within_half_a_pixel(white_bank: ObjectBank, seed: int) -> None:
    """Round objects; the tip of a pointed one can lie between pixel centres."""
    truth = Truth(draw(white_bank, seed, objects=3), white_bank)
    gaps = []
    for slot, masks in enumerate(truth.amodal):
        pointed = white_bank.record(int(truth.plan.objects[slot]))["category"] == "bar"
        for t, mask in enumerate(masks):
            if mask.sum() > 200 and not pointed:
                gaps.append(np.abs(pixel_box(mask) - truth.boxes[slot, t]))
    assume(gaps)  # Else all are pointed, or outside.
    assert np.max(gaps) <= 0.75
    assert np.median(gaps) <= 0.5


@given(seeds)
@few
def test_boxes_of_spiky_objects_exceed_their_masks_by_the_tips_alone(
    small_bank: ObjectBank, seed: int
) -> None:
    truth = Truth(draw(small_bank, seed), small_bank)
    gaps = []
    for slot, masks in enumerate(truth.amodal):
        for t, mask in enumerate(masks):
            if mask.sum() > 50:
                gaps.append(np.abs(pixel_box(mask) - truth.boxes[slot, t]))
    assert np.median(gaps) <= 0.5
    assert np.quantile(gaps, 0.95) <= 3


@given(seeds)
@few
def test_polygons_hold_the_pixels_of_the_masks(small_bank: ObjectBank, seed: int) -> None:
    truth = Truth(draw(small_bank, seed), small_bank)
    y, x = np.mgrid[:224, :224]
    inside = 0
    for slot in range(2):
        for t in (0, 7, 15):
            polygon, mask = truth.polygons[slot][t], truth.amodal[slot, t]
            sure_in = shapely.contains_xy(polygon.buffer(-0.5), x, y)
            sure_out = ~shapely.contains_xy(polygon.buffer(0.5), x, y)
            assert mask[sure_in].sum() >= 0.995 * sure_in.sum()
            inside += sure_in.sum()
            assert (~mask[sure_out]).mean() > 0.9995
            bounds = np.array(polygon.bounds)
            np.testing.assert_allclose(bounds, truth.full_boxes[slot, t], atol=0.5)
    assume(inside)  # Else both objects are outside in these frames.


@given(seeds, st.sampled_from([(2, 16), (1, 8), (4, 32), (8, 14), (16, 224)]))
@few
def test_coverage_sums_to_the_area_of_the_modal_mask(
    small_bank: ObjectBank, seed: int, token: tuple[int, int]
) -> None:
    truth = Truth(draw(small_bank, seed, objects=3), small_bank)
    grid = TokenGrid(tubelet=token[0], patch=token[1])
    coverage = truth.token_coverage(grid)
    assert coverage.shape == (3, *grid.shape)
    assert coverage.max() <= 1 + 1e-6
    for slot in range(3):
        area = (truth.ids == slot + 1).sum()
        assert coverage[slot].sum() * grid.token_pixels == pytest.approx(area, rel=1e-4, abs=0.01)


@given(seeds)
@few
def test_visible_share_counts_what_is_hidden_and_what_is_outside(
    small_bank: ObjectBank, seed: int
) -> None:
    plan = draw(small_bank, seed)
    truth = Truth(plan, small_bank)
    margin = 300
    wide = plan.framed(shift=np.array([margin, margin]), height=824, width=824)
    whole = Truth(wide, small_bank).amodal.sum(axis=(2, 3))
    seen = np.stack([(truth.ids == slot + 1).sum(axis=(1, 2)) for slot in range(2)])
    np.testing.assert_allclose(truth.visible_share, seen / np.maximum(whole, 1), atol=1e-12)


def test_the_upper_object_hides_the_lower(small_bank: ObjectBank) -> None:
    plan = draw(small_bank, 4)
    stacked = MotionPlan(
        **{**vars(plan), "centre": np.broadcast_to(plan.centre[:1], plan.centre.shape)}
    )
    truth = Truth(stacked, small_bank)
    top = int(stacked.order[0, -1])
    assert ((truth.ids == top + 1) == truth.amodal[top]).all()


def test_masks_that_would_fill_the_memory_are_made_one_by_one(
    small_bank: ObjectBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = draw(small_bank, 3, objects=3)
    masks = Truth(plan, small_bank).amodal
    assert masks.any(axis=(1, 2, 3)).all()
    for slot, mask in enumerate(masks):
        assert (Truth(plan, small_bank).silhouette(slot) == mask).all()
    monkeypatch.setattr("smile_motion.truth.instances.LARGEST_MASKS_BYTES", masks.nbytes)
    assert (Truth(plan, small_bank).amodal == masks).all()
    large = draw(small_bank, 3, objects=4)
    with pytest.raises(InputError, match=r"4 objects in 16 frames of 224 x 224 .*silhouette"):
        _ = Truth(large, small_bank).amodal


@given(seeds)
@few
def test_twice_the_size_is_the_same_motion(small_bank: ObjectBank, seed: int) -> None:
    plan = draw(small_bank, seed)
    small, large = Truth(plan, small_bank), Truth(plan.resized(2), small_bank)
    np.testing.assert_allclose((large.full_boxes + 0.5) / 2 - 0.5, small.full_boxes, atol=1e-6)
    halved = large.token_coverage(TokenGrid(height=448, width=448, patch=32))
    np.testing.assert_allclose(halved, small.token_coverage(TokenGrid()), atol=0.06)


def test_an_object_outside_the_frame_has_no_box(small_bank: ObjectBank) -> None:
    plan = draw(small_bank, 0).framed(shift=np.array([1000, 0]), height=224, width=224)
    truth = Truth(plan, small_bank)
    assert np.isnan(truth.boxes).all()
    assert (truth.visible_share == 0).all()
    assert (truth.token_coverage(TokenGrid()) == 0).all()


def test_no_objects_no_truth(small_bank: ObjectBank) -> None:
    truth = Truth(draw(small_bank, 0, objects=0), small_bank)
    assert truth.boxes.shape == (0, 16, 4)
    assert truth.token_coverage(TokenGrid()).shape == (0, 8, 14, 14)
    assert not truth.ids.any()


@given(seeds)
@few
def test_a_mirrored_plan_has_mirrored_pixels_and_truth(small_bank: ObjectBank, seed: int) -> None:
    plan = draw(small_bank, seed)
    mirrored = plan.mirrored()
    behind = np.full((16, 224, 224, 3), 90, np.uint8)
    pixels, other = (render(behind.copy(), each, small_bank) for each in (plan, mirrored))
    difference = np.abs(other[:, :, ::-1].astype(int) - pixels)
    assert np.quantile(difference, 0.99) <= 1
    truth, reflected = Truth(plan, small_bank), Truth(mirrored, small_bank)
    assert (reflected.ids[:, :, ::-1] != truth.ids).mean() < 2e-4
    across = np.array([223, 0, 223, 0]) + np.array([-1, 1, -1, 1]) * truth.boxes[..., [2, 1, 0, 3]]
    np.testing.assert_allclose(reflected.boxes, across, atol=1e-9)
    vectors, towards = truth.flow().vectors, reflected.flow().vectors[:, :, ::-1]
    same = (reflected.ids[:, :, ::-1] == truth.ids)[:-1]
    np.testing.assert_allclose(towards[same] * [-1, 1], vectors[same], atol=1e-3)
    again = mirrored.mirrored()
    np.testing.assert_allclose(again.placement(), plan.placement(), atol=1e-12)


@pytest.mark.parametrize(
    ("frames", "height", "width", "tubelet", "patch"),
    [(1, 32, 48, 1, 16), (8, 112, 112, 2, 16), (32, 96, 320, 4, 32), (5, 60, 36, 5, 12)],
)
def test_any_length_and_frame_and_token(
    small_bank: ObjectBank, frames: int, height: int, width: int, tubelet: int, patch: int
) -> None:
    for recipe in (
        MotionRecipe.paper(),
        MotionRecipe.official(),
        *(MotionRecipe.named("paper", path=path) for path in PATHS),
    ):
        plan = recipe.plan(
            keyed_generator(1, Stream.MOTION), small_bank, frames=frames, size=(height, width)
        )
        ids = np.empty((frames, height, width), np.uint8)
        background = np.zeros((frames, height, width, 3), np.uint8)
        render(background, plan, small_bank, ids=ids)
        truth = Truth(plan, small_bank, ids=ids)
        grid = TokenGrid(frames=frames, height=height, width=width, tubelet=tubelet, patch=patch)
        coverage = truth.token_coverage(grid)
        assert coverage.shape == (2, *grid.shape)
        assert coverage.sum() * grid.token_pixels == pytest.approx((ids > 0).sum(), rel=1e-4)
        inside = truth.boxes[~np.isnan(truth.boxes[..., 0])]
        assert (inside >= -0.5 - 1e-9).all()
        assert (inside <= np.tile([width, height], 2) - 0.5 + 1e-9).all()
