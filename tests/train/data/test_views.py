"""Which frames and squares are looked at, and what augmentation does to them."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.errors import InputError
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.video import index_video, read_frames
from smile_train.data.augmentation import augment, draw_area_crop, mix, seeded
from smile_train.data.views import (
    TestViews,
    clip_frames,
    frame_range,
    square_crops,
    training_frames,
)
from smile_train.datasets import LabeledVideo, Span
from smile_train.evaluation.predict import ViewShape, read_views


@given(
    st.integers(1, 400),
    st.integers(1, 32),
    st.integers(1, 8),
    st.sampled_from(["dense", "uniform"]),
    st.integers(0, 2**32),
)
def test_training_frames_are_frames_in_order(
    count: int, frames: int, stride: int, sampling: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    places = training_frames(count, frames=frames, stride=stride, sampling=sampling, rng=rng)  # type: ignore[arg-type]
    assert places.shape == (frames,)
    assert (np.diff(places) >= 0).all()
    assert places[0] >= 0
    assert places[-1] < count
    if sampling == "dense" and count > stride * (frames - 1):
        assert (np.diff(places) == stride).all()
    elif sampling == "dense":
        assert len(set(places)) == min(count, frames)
        assert (places[0], places[-1]) == (0, count - 1) or frames == 1
    elif sampling == "uniform" and count >= frames:
        assert (places * frames // count == np.arange(frames)).mean() > 0.5
        assert (np.diff(places) <= 2 * count / frames + 1).all()


@given(st.integers(1, 300), st.integers(1, 10), st.sampled_from(["dense", "uniform"]))
def test_test_frames_cover_the_video(count: int, segments: int, sampling: str) -> None:
    places = clip_frames(count, frames=16, stride=4, sampling=sampling, segments=segments)  # type: ignore[arg-type]
    assert places.shape == (segments, 16)
    assert places.min() >= 0
    assert places.max() < count
    if sampling == "dense" and segments > 1:
        assert places[0, 0] == 0
        assert places[-1, -1] == count - 1 or (count >= 61 and places[-1, -1] == count - 1)
    if sampling == "uniform" and segments == 2 and count >= 32:
        # The two clips of SSv2's test: at the beginning and in the middle of each part.
        part = count / 16
        assert (places[0] == (part * np.arange(16)).astype(int)).all()
        assert (places[1] == (part * (np.arange(16) + 0.5)).astype(int)).all()


def test_crops_go_from_one_end_to_the_other() -> None:
    images = np.zeros((2, 40, 100, 3), np.uint8)
    images[:, :, :, 0] = np.arange(100)
    crops = square_crops(images, 40, 3)
    assert crops.shape == (3, 2, 40, 40, 3)
    assert [crop[0, 0, 0, 0] for crop in crops] == [0, 30, 60]
    assert square_crops(images, 40, 1)[0, 0, 0, 0, 0] == 30


def test_views_are_the_frames_that_they_say(real_videos: dict[str, Path]) -> None:
    video = LabeledVideo(key="a", path=real_videos["bikes"], target=0, span=Span(2.0, 6.0))
    index = index_video(video.path)
    first, end = frame_range(index, video)
    assert (first, end) == (round(2 * index.rate_hz), round(6 * index.rate_hz))
    shape = ViewShape(frames=8, size=96, stride=3)
    views = read_views(video, shape, TestViews(segments=3, crops=2))
    assert views.shape == (6, 8, 96, 96, 3)
    places = clip_frames(end - first, frames=8, stride=3, sampling="dense", segments=3)
    for segment in range(3):
        squares = square_crops(read_frames(index, first + places[segment]), 96, 2)
        assert (views[2 * segment : 2 * segment + 2] == squares).all()


def test_a_span_outside_the_file_is_refused(real_videos: dict[str, Path]) -> None:
    video = LabeledVideo(key="late", path=real_videos["bikes"], target=0, span=Span(100.0, 101.0))
    with pytest.raises(InputError, match=r"has 10 s, sample late is at 100 to 101 s"):
        frame_range(index_video(video.path), video)


def test_spans_mean_the_frames_shown_then_or_the_frames_counted(
    real_videos: dict[str, Path], tmp_path: Path
) -> None:
    """A real video whose second half is shown at half the speed of its first."""
    images = read_frames(index_video(real_videos["bikes"]), np.arange(16))
    path = tmp_path / "slowing.mkv"
    times_ms = [*range(0, 800, 100), *range(800, 2400, 200)]
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = images.shape[1:3]
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    index = index_video(path)
    assert index.times_s[:-1] == pytest.approx([time / 1000 for time in times_ms])
    video = LabeledVideo(key="a", path=path, target=0)
    for span, expected in (
        (Span(0.0, 0.8), (0, 8)),
        (Span(0.81, 1.58), (8, 12)),
        (Span(1.0, 99.0), (9, 16)),
        (Span(8, 12, "frames"), (8, 12)),
        (Span(0, 99, "frames"), (0, 16)),
    ):
        assert frame_range(index, replace(video, span=span)) == expected
    with pytest.raises(InputError, match="has 16 frames, sample a is at 16 to 20 frames"):
        frame_range(index, replace(video, span=Span(16, 20, "frames")))


def _frames(video: Path) -> np.ndarray:
    return read_frames(index_video(video), [40] * 4)


def test_all_frames_are_augmented_alike_and_by_the_key_alone(real_videos: dict[str, Path]) -> None:
    images = _frames(real_videos["bikes"])
    for number in range(12):
        both = [
            augment(
                images,
                64,
                keyed_generator(1, Stream.AUGMENT, index=number),
                crop_area=0.08,
                flip=True,
                rand_augment="rand-m7-n4-mstd0.5-inc1",
                erasing=0.0,
            )
            for _ in range(2)
        ]
        assert (both[0] == both[1]).all()
        assert (both[0] == both[0][:1]).all(), "still frames stay still"


def test_erasing_takes_the_same_rectangle_of_all_frames(real_videos: dict[str, Path]) -> None:
    images = _frames(real_videos["bikes"])
    options = {"crop_area": 0.08, "flip": False, "rand_augment": None}
    seen = 0
    for number in range(20):
        plain, erased = (
            augment(
                images,
                64,
                keyed_generator(2, Stream.AUGMENT, index=number),
                erasing=erasing,
                **options,
            )
            for erasing in (0.0, 1.0)
        )
        changed = (plain != erased).any(-1)
        inside = changed.any(0)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = changed[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.95
        assert changed.sum() == box.sum()
        seen += 1
    assert seen == 20


def test_crops_have_the_published_areas() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_area_crop(rng, 240, 320, 0.08) for _ in range(2000)]
    area = np.array([w * h for _, _, w, h in crops]) / (240 * 320)
    aspect = np.array([w / h for _, _, w, h in crops])
    assert 0.07 < area.min() < 0.1
    assert area.max() <= 1
    assert 0.40 < np.mean(area) < 0.50  # Large ones often do not fit.
    assert ((aspect > 0.72) & (aspect < 1.39)).all()


@given(st.integers(8, 200), st.integers(8, 200), st.floats(0.01, 1), st.integers(0, 2**32))
def test_a_crop_is_in_the_frame_and_as_large_as_is_asked(height, width, smallest, seed) -> None:
    x, y, w, h = draw_area_crop(np.random.default_rng(seed), height, width, smallest)
    assert 0 <= x <= width - w
    assert 0 <= y <= height - h
    square = min(height, width) ** 2  # Taken where nothing drawn fits.
    assert w * h >= min(square, smallest * height * width - (w + h))  # Sides are rounded.


def test_mixing_depends_on_samples_not_on_how_a_batch_is_split() -> None:
    torch.manual_seed(0)
    frames, labels = torch.rand(4, 2, 16, 16, 3), torch.tensor([0, 1, 2, 0])
    numbers = [8, 9, 10, 11]
    options = {"classes": 3, "mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1, "seed": 5}
    whole, soft = mix(frames, labels, numbers, **options)
    for place in (0, 2):
        part = slice(place, place + 2)
        mixed, target = mix(frames[part], labels[part], numbers[part], **options)
        assert torch.equal(mixed, whole[part])
        assert torch.equal(target, soft[part])
    assert torch.allclose(soft.sum(1), torch.ones(4))
    assert not torch.equal(whole, frames)


def test_repeats_of_a_sample_are_mixed_apart() -> None:
    """Each repeat of a pair has a share of its own (`finetune` numbers them 2**40 apart)."""
    frames, labels = torch.rand(2, 2, 16, 16, 3), torch.tensor([0, 1])
    options = {"classes": 2, "mixup": 0.8, "cutmix": 0.0, "smoothing": 0.0, "seed": 5}
    shares = {
        float(mix(frames, labels, [8 + 2**40 * part, 9 + 2**40 * part], **options)[1][0, 0])
        for part in range(4)
    }
    assert len(shares) == 4


def test_what_is_mixed_of_pixels_is_mixed_of_labels() -> None:
    frames = torch.stack([torch.zeros(2, 32, 32, 3), torch.ones(2, 32, 32, 3)])
    labels = torch.tensor([0, 1])
    for number in range(0, 40, 2):
        mixed, soft = mix(
            frames, labels, [number, number + 1],
            classes=2, mixup=0.8, cutmix=1.0, smoothing=0.0, seed=3,
        )  # fmt: skip
        assert mixed[0].mean() == pytest.approx(float(soft[0, 1]), abs=1e-5)


def test_the_shared_generators_are_put_back() -> None:
    import random

    random.seed(1)
    torch.manual_seed(1)
    before = (random.getstate(), torch.get_rng_state())
    with seeded(7):
        random.random()
        torch.rand(3)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
