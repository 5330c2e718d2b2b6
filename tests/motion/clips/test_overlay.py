"""Objects over clips that others load."""

import pickle
import re
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from smile_motion import MotionOverlay, MotionRecipe
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_motion.video import index_video, read_frames
from torchvision import tv_tensors
from torchvision.transforms import v2

DOCS = Path(__file__).parents[3] / "docs/online.md"


@pytest.fixture(scope="module")
def clip(real_videos: dict[str, Path]) -> np.ndarray:
    """(8, 128, 192, 3) uint8 of a real video."""
    frames = read_frames(index_video(real_videos["bikes"]), 10 + np.arange(8))
    return np.ascontiguousarray(frames[:, 40:168, 100:292])


@pytest.fixture
def overlay(small_bank: ObjectBank) -> MotionOverlay:
    return MotionOverlay(bank=small_bank, recipe=MotionRecipe.paper(), seed=3)


def test_objects_are_where_the_truth_says(overlay: MotionOverlay, clip: np.ndarray) -> None:
    before = clip.copy()
    made = overlay(clip, "a video")
    assert (clip == before).all(), "the clip is left as it is"
    changed = (made.frames != clip).any(-1)
    covered = made.truth.ids > 0
    assert covered.any()
    assert (changed & ~covered).mean() < 0.03, "soft edges alone lie outside"
    assert changed[covered].mean() > 0.9
    grid = TokenGrid(frames=8, height=128, width=192)
    assert made.token_coverage.shape == (2, *grid.shape)
    assert (made.token_coverage == made.truth.token_coverage(grid)).all()


def test_a_key_and_an_epoch_are_all_it_depends_on(overlay: MotionOverlay, clip: np.ndarray) -> None:
    first = overlay(clip, "a").frames
    assert (first == overlay(clip, "a").frames).all()
    assert (first != overlay(clip, "b").frames).any()
    assert (first != overlay(clip, "a", epoch=1).frames).any()
    assert (overlay(clip, 4).frames == overlay(clip, 4).frames).all()


@pytest.mark.parametrize(
    ("layout", "axes"), [("TCHW", (0, 3, 1, 2)), ("CTHW", (3, 0, 1, 2)), ("THWC", (0, 1, 2, 3))]
)
@pytest.mark.parametrize("tensor", [False, True])
def test_clips_come_back_as_they_were_given(
    overlay: MotionOverlay, clip: np.ndarray, layout: str, axes: tuple[int, ...], tensor: bool
) -> None:
    expected = overlay(clip, 7).frames.transpose(axes)
    given = np.ascontiguousarray(clip.transpose(axes))
    made = overlay(torch.from_numpy(given) if tensor else given, 7).frames
    assert isinstance(made, torch.Tensor) == tensor
    assert (np.asarray(made) == expected).all()
    named = MotionOverlay(bank=overlay.bank, recipe=overlay.recipe, seed=3, layout=layout)  # type: ignore[arg-type]
    assert (named(given, 7).frames == expected).all()


def test_albumentations_draws_the_keys(overlay: MotionOverlay, clip: np.ndarray) -> None:
    def pipeline(seed: int) -> A.Compose:
        return A.Compose([A.HorizontalFlip(p=1.0), overlay.albumentations()], seed=seed)

    first, again, other = (pipeline(seed)(images=clip)["images"] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    mirrored = clip[:, :, ::-1]
    assert 0.001 < (first != mirrored).any(-1).mean() < 0.9
    with pytest.raises(InputError, match="give a clip as `images`"):
        pipeline(1)(image=clip[0])


def test_torchvision_draws_the_keys(overlay: MotionOverlay, clip: np.ndarray) -> None:
    video = tv_tensors.Video(torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous())
    pipeline = v2.Compose([overlay.torchvision(), v2.ToDtype(torch.float32, scale=True)])
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        out, label = pipeline((video, 5))
        assert isinstance(out, tv_tensors.Video)
        assert label == 5
        made.append(out)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert out.dtype == torch.float32


def test_torchvision_takes_plain_tensors(overlay: MotionOverlay, clip: np.ndarray) -> None:
    plain = torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous()
    made = []
    for given in (plain, tv_tensors.Video(plain)):
        torch.manual_seed(1)
        frames, label = overlay.torchvision()((given, torch.tensor(5)))
        assert type(frames) is type(given)
        assert label.item() == 5
        made.append(torch.as_tensor(frames))
    assert torch.equal(*made)
    assert not torch.equal(made[0], plain)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"label": 5}, "no clip in the sample"),
        (tv_tensors.Image(torch.zeros(3, 32, 32, dtype=torch.uint8)), "no clip in the sample"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "3 axes, expected 4"),
        (torch.zeros(2, 8, 3, 32, 32, dtype=torch.uint8), "5 axes, expected 4"),
        (tv_tensors.Video(torch.zeros(8, 1, 32, 32, dtype=torch.uint8)), "layout TCHW means three"),
        (tv_tensors.Video(torch.zeros(8, 3, 32, 32, dtype=torch.int16)), "a clip of int16; give"),
    ],
)
def test_torchvision_refuses_a_sample_without_a_clip(
    overlay: MotionOverlay, sample: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        overlay.torchvision()(sample)


def test_torchvision_keeps_the_truth_beside_the_clip(
    overlay: MotionOverlay, clip: np.ndarray
) -> None:
    """Ids and boxes go the way of the clip: here both are mirrored."""
    video = tv_tensors.Video(torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous())
    torch.manual_seed(1)
    (frames, truth), label = overlay.torchvision(truth=True)((video, 5))
    assert label == 5
    mirrored, other = v2.RandomHorizontalFlip(p=1.0)((frames, truth))
    torch.manual_seed(1)
    made = overlay(clip, int(torch.randint(2**62, ())))
    assert torch.equal(torch.as_tensor(frames), torch.as_tensor(made.frames).permute(0, 3, 1, 2))
    assert (truth["ids"].numpy() == made.truth.ids).all()
    assert (other["ids"].numpy() == made.truth.ids[:, :, ::-1]).all()
    assert torch.equal(torch.as_tensor(mirrored), torch.as_tensor(frames).flip(-1))
    boxes = other["boxes"].reshape(2, 8, 4).numpy()
    for slot, frame in np.argwhere(~np.isnan(boxes[..., 0])):
        covered = np.flatnonzero((other["ids"][frame] == slot + 1).any(0))
        if len(covered):
            assert boxes[slot, frame, 0] <= covered[0] + 1
            assert boxes[slot, frame, 2] >= covered[-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_clips_keep_every_bit_beside_the_objects(
    overlay: MotionOverlay, clip: np.ndarray, dtype: torch.dtype
) -> None:
    given = (torch.from_numpy(clip).double() / 255 + 0.001).clamp(0, 1).to(dtype)
    made = overlay(given, 7)
    exact = overlay(clip, 7)
    assert made.frames.dtype == dtype
    assert (made.truth.ids == exact.truth.ids).all()
    same = torch.from_numpy((exact.frames == clip).all(-1))
    assert torch.equal(made.frames[same], given[same])
    covered = made.truth.ids > 0
    wrong = (made.frames.double() * 255 - torch.from_numpy(exact.frames)).abs()[covered]
    assert wrong.mean() < 1


def test_sizes_between_tokens_are_taken_where_no_masks_are_asked(overlay: MotionOverlay) -> None:
    made = overlay(np.zeros((5, 50, 70, 3), np.uint8), 0)
    assert made.frames.shape == (5, 50, 70, 3)
    assert made.truth.boxes.shape == (2, 5, 4)
    with pytest.raises(InputError, match="frames 5 is not a positive multiple of 2"):
        _ = made.token_coverage


def test_transforms_pickle_as_spawned_workers_need(
    overlay: MotionOverlay, clip: np.ndarray
) -> None:
    video = tv_tensors.Video(torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous())
    made = []
    transform = overlay.torchvision()
    for one in (transform, pickle.loads(pickle.dumps(transform))):
        torch.manual_seed(1)
        made.append(one(video))
    assert torch.equal(*made)
    pipeline = A.Compose([overlay.albumentations()], seed=4)
    again = pickle.loads(pickle.dumps(pipeline))
    assert (pipeline(images=clip)["images"] == again(images=clip)["images"]).all()
    pickle.dumps(overlay)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((4, 32, 32, 3), -1.5, np.float32), "a clip of float32 from -1.5 to -1.5; objects"),
        (np.full((4, 32, 32, 3), np.nan), "a clip of float64 from nan to nan"),
        (np.zeros((4, 32, 32, 3), np.int64), "a clip of int64; give uint8"),
        (np.zeros((4, 32, 32, 4), np.uint8), "no axis has three colors"),
        (np.zeros((3, 3, 32, 32), np.uint8), "it could be TCHW or CTHW"),
    ],
)
def test_what_is_no_clip_is_refused(
    overlay: MotionOverlay, given: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        overlay(given, 0)
    with pytest.raises(InputError, match="the key -1"):
        overlay(np.zeros((4, 32, 32, 3), np.uint8), -1)


def test_the_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) == 4
    for code in examples:
        names: dict = {}
        exec(code, names)
    assert names["video"].shape == (16, 3, 224, 224)
    exec(examples[0], names)
    data = names["WithObjects"]([torch.zeros(3, 16, 224, 224, dtype=torch.uint8)])
    frames, boxes, coverage = data[0]
    assert frames.shape == (3, 16, 224, 224)
    assert boxes.shape == (2, 16, 4)
    assert coverage.shape == (2, 8, 14, 14)
