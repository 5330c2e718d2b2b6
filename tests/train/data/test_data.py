import os
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.options import BackgroundKind, MotionReading
from smile_train.config.pretrain import PretrainConfig, plan_stages
from smile_train.data.device_clips import PlanRenderer, open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.sampling import MicroBatches, SampleOrder
from torch.utils.data import DataLoader, default_collate

SMALL = PretrainConfig(
    student="tiny", target="pixel", size=64, frames=4, samples=12, batch=4, seed=3
)


def plain_batches(config: PretrainConfig, steps: int) -> list[dict]:
    """Batches as PyTorch makes them from items."""
    layout = MicroBatches(first_step=0, steps=steps, batch=4)
    return list(
        DataLoader(
            open_clips(config),  # type: ignore[arg-type]
            batch_sampler=layout,
            collate_fn=default_collate,
        )
    )


def loader(config: PretrainConfig, workers: int, steps: int) -> ClipLoader:
    layout = MicroBatches(first_step=0, steps=steps, batch=4)
    return ClipLoader(clips=open_clips(config), layout=layout, workers=workers)


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


@pytest.mark.parametrize(("workers", "background"), [(0, "noise"), (2, "noise"), (2, "natural")])
def test_loaded_batches_are_those_of_the_plain_way(
    small_bank: ObjectBank, real_videos: dict[str, Path], workers: int, background: BackgroundKind
) -> None:
    videos = real_videos["bikes"].parent if background == "natural" else None
    config = replace(
        SMALL,
        bank=small_bank.path,
        masks_per_clip=2,
        background=background,
        videos=videos if background == "natural" else None,
    )
    plain = plain_batches(config, steps=4)
    for batch, expected in zip(loader(config, workers, steps=4), plain, strict=True):
        assert batch["broken"] == []
        for name in ("frames", "visible", "masked"):
            assert torch.equal(batch[name], expected[name])
    assert plain[0]["frames"].shape == (4, 4, 64, 64, 3)
    assert plain[0]["visible"].shape[:2] == (4, 2)
    assert not torch.equal(plain[0]["visible"][:, 0], plain[0]["visible"][:, 1])
    assert not torch.equal(plain[0]["frames"], plain[3]["frames"])  # the next epoch


def test_workers_do_not_touch_a_batch_that_is_being_read(small_bank: ObjectBank) -> None:
    config = replace(SMALL, bank=small_bank.path)
    places = [batch["frames"].data_ptr() for batch in loader(config, workers=2, steps=14)]
    # Each of 2 workers may have 2 batches to make or waiting while one is read.
    for i in range(14 - 4):
        assert len(set(places[i : i + 5])) == 5
    assert len(set(places)) == 6


def test_all_that_workers_share_can_be_imported() -> None:
    # Where it cannot, workers still work, but each takes memory and time of its own.
    subprocess.run([sys.executable, "-c", "import smile_train.data._preload_pretrain"], check=True)


def test_too_little_shared_memory_is_said_before_it_is_used(small_bank: ObjectBank) -> None:
    clips = open_clips(replace(SMALL, bank=small_bank.path))
    layout = MicroBatches(first_step=0, steps=1, batch=10**9)
    with pytest.raises(InputError, match=r"MB free, 2 workers need \d+ MB; lower --workers"):
        iter(ClipLoader(clips=clips, layout=layout, workers=2))


HALTED = """
import multiprocessing, sys, time
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.device_clips import open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.sampling import MicroBatches

if __name__ == "__main__":
    config = PretrainConfig(
        student="tiny", target="pixel", size=64, frames=4, batch=4, bank=sys.argv[1]
    )
    layout = MicroBatches(first_step=0, steps=100, batch=4)
    batches = iter(ClipLoader(clips=open_clips(config), layout=layout, workers=2))
    next(batches)
    print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["left", "killed"])
def test_workers_end_with_the_program(small_bank: ObjectBank, tmp_path: Path, killed: bool) -> None:
    script = tmp_path / "halted.py"
    script.write_text(HALTED)
    with subprocess.Popen(
        [sys.executable, script, small_bank.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        workers = [os.pidfd_open(int(pid)) for pid in program.stdout.readline().split()]
        if killed:
            program.kill()
        else:
            program.stdin.write("\n")
            program.stdin.flush()
        assert program.wait(60) == (-9 if killed else 0)
    assert len(workers) == 2
    for worker in workers:
        assert select.select([worker], [], [], 60)[0], "a worker outlives the program"
        os.close(worker)


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


@pytest.mark.parametrize(
    ("background", "masking", "workers"),
    [
        ("noise", "trajectory", 2),
        ("natural", "trajectory", 0),
        ("places", "official", 0),
        ("black", "random", 0),
    ],
)
def test_rendering_on_the_device_gives_the_same_batches(
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    photographs: Path,
    background: BackgroundKind,
    masking: str,
    workers: int,
) -> None:
    config = replace(
        SMALL,
        bank=small_bank.path,
        masks_per_clip=2,
        background=background,
        videos=real_videos["bikes"].parent if background == "natural" else None,
        images=photographs if background == "places" else None,
        masking=masking,  # type: ignore[arg-type]
        effects=("drop-shadow",) if background == "noise" else (),
        batch=4,
    )
    planned = replace(config, render="device")
    painter = PlanRenderer.open(planned, open_clips(planned).maker.bank, torch.device("cpu"))
    batches = map(painter, loader(planned, workers, steps=2))
    for batch, expected in zip(batches, loader(config, 0, steps=2), strict=True):
        if background != "natural":
            assert batch["background"].shape == (4, 1, 64, 64, 3)
        for name in ("frames", "visible", "masked"):
            assert torch.equal(batch[name], expected[name]), name


@pytest.mark.parametrize(("reading", "objects"), [("present", 2), ("started", 0)])
def test_under_a_camera_every_token_has_a_motion(
    small_bank: ObjectBank, reading: MotionReading, objects: int
) -> None:
    config = replace(
        SMALL, bank=small_bank.path, background="noise", camera="pan-zoom-roll", objects=objects,
        masking="trajectory" if objects else "tube", motion_target="displacement",
        motion_reading=reading, motion_visibility=True, motion_rates=True,
    )  # fmt: skip
    assert config.motion_dim == 8 + 4 + 12
    clips, planned = open_clips(config), replace(config, render="device")
    expected, batch = (open_clips(one).new_batch(2) for one in (config, planned))
    clips.fill([0, 1], expected)
    open_clips(planned).fill([0, 1], batch)
    moved = expected["motion"]
    assert moved.isfinite().all()
    assert (moved[..., :8] != 0).float().mean() > 0.99
    epoch, index = clips.order.locate(1)
    truth = clips.maker.make(index, epoch).truth.token_motion(config.grid, reading=reading)
    assert (moved[1, :, :8].numpy() == truth.displacement.reshape(-1, 8)).all()
    painted = PlanRenderer.open(planned, clips.maker.bank, torch.device("cpu"))(batch)
    for name in ("frames", "visible", "masked"):
        assert (painted[name] == expected[name]).all()
    torch.testing.assert_close(painted["motion"], moved, rtol=1e-5, atol=2e-5)


def test_a_second_stage_has_no_camera_over_video(tmp_path: Path) -> None:
    config = replace(
        SMALL, background="frame", videos=tmp_path, camera="pan", strategy="progressive",
        motion_target="displacement",
    )  # fmt: skip
    first, second = plan_stages(config, tmp_path)
    assert (first.config.camera, second.config.camera) == ("pan", "none")
    assert (first.config.motion_dim, second.config.motion_dim) == (8, 0)


def test_what_a_device_cannot_render_is_refused(small_bank: ObjectBank) -> None:
    config = replace(SMALL, bank=small_bank.path, render="device", effects=("appearance",))
    with pytest.raises(InputError, match="appearance changes the objects' own pixels"):
        open_clips(config).shapes()
