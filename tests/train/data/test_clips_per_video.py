"""`--clips-per-video`: one decoded stretch of video behind several clips, spread over steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from smile_motion.backgrounds.sources import VideoBackground
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.video import open_index
from smile_motion.video.stretches import DecodedStretches
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.device_clips import PlanRenderer, open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.sampling import MicroBatches, SampleOrder


@pytest.fixture(scope="module")
def config(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        (folder / f"{number}.mp4").symlink_to(real_videos["bikes"])
    return PretrainConfig(
        **{"student": "tiny", "target": "pixel", "size": 64, "frames": 4, "stride": 2},
        **{"batch": 4, "seed": 3, "background": "natural", "videos": folder},
        **{"bank": small_bank.path, "clips_per_video": 3},
    )  # type: ignore[arg-type]


def batches(
    config: PretrainConfig, workers: int, *, first: int = 0, steps: int = 7, **layout: int
) -> list[dict[str, torch.Tensor]]:
    clips = open_clips(config)
    loader = ClipLoader(
        clips=clips,
        layout=MicroBatches(first_step=first, steps=steps, batch=config.batch, **layout),
        workers=workers,
        clips_per_video=clips.order.clips_per_video,
    )
    kept = [
        {name: value.clone() for name, value in batch.items() if name != "broken"}
        for batch in loader
    ]
    assert len(kept) == len(loader)
    return kept


def test_steps_in_a_row_share_videos_and_each_has_its_turn() -> None:
    order = SampleOrder(length=6, seed=1, clips_per_video=3, batch=4)
    placed = np.array([[order.locate(4 * step + at) for at in range(4)] for step in range(9)])
    epochs, indices = placed[..., 0], placed[..., 1]
    for start in (0, 3, 6):
        assert (indices[start : start + 3] == indices[start]).all()
        assert (np.diff(epochs[start : start + 3], axis=0) == 1).all()
        assert {order.behind(epoch) for epoch in epochs[start : start + 3, 0]} == {epochs[start, 0]}
    # In 9 steps, 36 clips or 6 epochs as they are counted, each video is decoded twice.
    decoded = indices[::3].ravel()
    assert sorted(decoded[:6]) == sorted(decoded[6:]) == list(range(6))
    assert len({(int(epoch), int(index)) for epoch, index in placed.reshape(-1, 2)}) == 36
    alone = SampleOrder(length=6, seed=1)
    one = SampleOrder(length=6, seed=1, clips_per_video=1, batch=4)
    assert [alone.locate(n) for n in range(20)] == [one.locate(n) for n in range(20)]


@pytest.mark.slow
def test_batches_are_the_same_for_any_number_of_workers(config: PretrainConfig) -> None:
    alone = batches(config, 0)
    for one, other in zip(alone, batches(config, 3), strict=True):
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    # So they are when a run goes on in the middle of what shares videos.
    for one, other in zip(alone[4:], batches(config, 1, first=4), strict=True):
        assert torch.equal(one["frames"], other["frames"])
    # And parts of a step, each with its worker, hold the same clips.
    parts = batches(config, 2, parts=2)
    for step, whole in enumerate(alone):
        halves = [part["frames"] for part in parts[2 * step : 2 * step + 2]]
        assert torch.equal(torch.cat(halves), whole["frames"])


def test_a_stretch_is_decoded_once_for_all_of_its_clips(config: PretrainConfig) -> None:
    clips = open_clips(config)
    background = clips.maker.background
    assert isinstance(background, VideoBackground)
    assert background.decoded is not None
    made = [clips[number] for number in range(24)]
    assert background.decoded.decoded == 8
    assert background.decoded._bytes == 0
    frames = torch.stack([sample["frames"] for sample in made])
    for at in range(4):  # Its clips have other crops, objects and masks.
        shared = [frames[at], frames[at + 4], frames[at + 8]]
        assert not torch.equal(shared[0], shared[1])
        assert not torch.equal(made[at]["visible"], made[at + 4]["visible"])
    # The first clip of each is what it would be by itself; the others' origins name its frames.
    alone = open_clips(replace(config, clips_per_video=1))
    _, index = clips.order.locate(1)
    assert torch.equal(made[1]["frames"], torch.from_numpy(alone.maker.make(index, 0).frames))
    origins = [clips.maker.draw_background(index, use, behind=0).origin for use in range(3)]
    assert len({str(origin["frames"]) for origin in origins}) == 1
    assert len({str(origin["crop"]) for origin in origins}) > 1


def test_the_device_paints_the_same(config: PretrainConfig) -> None:
    tubes = replace(config, masking="tube")
    planned = replace(tubes, render="device")
    paint = PlanRenderer.open(planned, open_clips(planned).maker.bank, torch.device("cpu"))
    for one, other in zip(batches(tubes, 0, steps=4), batches(planned, 0, steps=4), strict=True):
        assert torch.equal(one["frames"], paint(other)["frames"])


def test_memory_is_bounded(config: PretrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    assert config.videos is not None
    video = open_index(Path(config.videos) / "0.mp4")
    size = 272 * 640 * 3
    kept = DecodedStretches(2, most_bytes=2 * size)
    for number in (0, 1, 2, 2, 1, 0):
        kept.read(video, np.array([number]))
    assert kept.decoded == 4
    assert "some are decoded again" in caplog.text


def test_it_is_for_videos_alone(config: PretrainConfig) -> None:
    with pytest.raises(InputError, match="use --background natural or frame"):
        open_clips(replace(config, background="noise", videos=None))
