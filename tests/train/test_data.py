from dataclasses import replace
from pathlib import Path

import pytest
import torch
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_train.config import PretrainConfig
from smile_train.data import MicroBatches, SampleOrder, open_clips
from smile_train.data.clips import collate
from torch.utils.data import DataLoader

SMALL = PretrainConfig(
    student="tiny", target="pixel", size=64, frames=4, samples=12, batch=4, seed=3
)


def batches(config: PretrainConfig, workers: int, **layout: int) -> list[dict]:
    loader = DataLoader(
        open_clips(config),  # type: ignore[arg-type]
        batch_sampler=MicroBatches(first_step=0, steps=4, batch=4, **layout),
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context="forkserver" if workers else None,
    )
    return list(loader)


def test_an_epoch_passes_through_every_sample_once_and_epochs_differ() -> None:
    order = SampleOrder(length=10, seed=1)
    places = [order.locate(number) for number in range(20)]
    assert [epoch for epoch, _ in places] == [0] * 10 + [1] * 10
    first, second = ([index for _, index in places[start : start + 10]] for start in (0, 10))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_steps_hold_the_same_samples_however_they_are_split() -> None:
    def steps(parts: int, processes: int) -> list[set[int]]:
        seen: list[set[int]] = [set() for _ in range(3)]
        for process in range(processes):
            layout = MicroBatches(
                first_step=2, steps=5, batch=8, parts=parts, process=process, processes=processes
            )
            assert len(layout) == 3 * parts
            for place, numbers in enumerate(layout):
                seen[place // parts].update(numbers)
        return seen

    whole = [set(range(8 * step, 8 * step + 8)) for step in (2, 3, 4)]
    for parts, processes in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 2)):
        assert steps(parts, processes) == whole


def test_batches_do_not_depend_on_the_workers(small_bank: ObjectBank) -> None:
    config = replace(SMALL, bank=small_bank.path, masks_per_clip=2)
    alone, helped = batches(config, 0), batches(config, 2)
    for one, other in zip(alone, helped, strict=True):
        for name in ("frames", "visible", "masked"):
            assert torch.equal(one[name], other[name])
    assert alone[0]["frames"].shape == (4, 4, 64, 64, 3)
    assert alone[0]["visible"].shape[:2] == (4, 2)
    assert not torch.equal(alone[0]["visible"][:, 0], alone[0]["visible"][:, 1])
    assert not torch.equal(alone[0]["frames"], alone[3]["frames"])  # the next epoch


def test_real_videos_are_read_and_broken_ones_replaced_by_name(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(real_videos["bikes"].read_bytes()[:5000])
    listing = tmp_path / "train.csv"
    listing.write_text(
        f"{real_videos['bikes']} 0\n{torn.name} 1\n{real_videos['bigbuckbunny']} 2\n"
    )
    config = replace(SMALL, bank=small_bank.path, background="natural", videos=listing)
    clips = open_clips(config)
    assert clips.order.length == 3
    items = [clips[number] for number in range(3)]
    faults = [line for item in items for line in item["broken"]]
    assert len(faults) >= 1
    assert all(str(torn) in line for line in faults)
    again = [open_clips(config)[number] for number in range(3)]
    for one, other in zip(items, again, strict=True):
        assert torch.equal(one["frames"], other["frames"])


def test_raw_video_with_tubes_has_no_objects(
    small_bank: ObjectBank, real_videos: dict[str, Path]
) -> None:
    config = replace(
        SMALL,
        bank=small_bank.path,
        background="natural",
        videos=real_videos["bikes"],
        objects=0,
        masking="tube",
    )
    item = open_clips(config)[0]
    assert item["frames"].shape == (4, 64, 64, 3)
    masked = item["masked"][0].view(2, -1)
    assert torch.equal(masked[0] + 16, masked[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "--batch is 0"),
        ({"size": 100}, "height 100 is not a positive multiple of 16"),
        ({"steps": 0}, "--steps is 0"),
        ({"objects": 0}, "needs objects"),
    ],
)
def test_impossible_configurations_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **change)
