"""Tracks of real videos, computed elsewhere: read, laid over clips, refused where none fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_motion.truth.token_motion import point_pixels
from smile_motion.video import open_index
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.device_clips import open_clips
from smile_train.data.track_files import read_tracks, refine_grid, track_displacement
from smile_train.training.pretrain import pretrain

SIZE = (272, 640)
"""Of the frames of `bikes`."""
SHIFT = np.array([1.5, -0.75])
"""How far all of the picture moves a frame, in the tracks that are written here."""


def write_tracks(folder: Path, frames: int, *, side: int = 40, **changed: object) -> Path:
    """Tracks that all move by SHIFT a frame, from a regular grid over the whole frame."""
    folder.mkdir(exist_ok=True)
    y, x = np.meshgrid(np.linspace(0, SIZE[0] - 1, side), np.linspace(0, SIZE[1] - 1, side))
    start = np.stack([x.T, y.T], axis=-1).reshape(-1, 2)
    tracks = start + SHIFT * np.arange(frames)[:, None, None]
    arrays = {
        "tracks": tracks.astype(np.float32),
        "visibility": np.ones(tracks.shape[:2], bool),
        "size": np.array(SIZE),
        "grid": np.array([side, side]),
    }
    path = folder / "bikes.npz"
    arrays = {name: value for name, value in (arrays | changed).items() if value is not None}
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def length(real_videos: dict[str, Path]) -> int:
    return len(open_index(real_videos["bikes"]))


def options(
    bank: ObjectBank, videos: dict[str, Path], tracks: Path | None, **more: object
) -> PretrainConfig:
    given = {
        "preset": "tiny", "student": "tiny", "size": 64, "frames": 8, "batch": 2, "workers": 0,
        "target": "pixel", "precision": "fp32", "log_every": 1, "steps": 2, "track": "none",
        "background": "natural", "videos": videos["bikes"], "bank": bank.path, "objects": 2,
        "motion_target": "official", "tracks": tracks, "stride": 2,
    }  # fmt: skip
    return PretrainConfig(**{**given, **more})


@pytest.mark.parametrize("reading", ["present", "started"])
def test_tracks_become_displacements_of_the_clip_and_objects_keep_their_own(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path, length: int, reading: str
) -> None:
    write_tracks(tmp_path / "tracks", length)
    config = options(small_bank, real_videos, tmp_path / "tracks", motion_reading=reading)
    clips = open_clips(config)
    seen = 0
    for number in range(4):
        moved = clips[number]["motion"].numpy().reshape(*config.grid.shape, 4, 2)
        epoch, index = clips.order.locate(number)
        clip = clips.maker.make(index, epoch)
        own = clip.truth.token_motion(config.grid, reading=reading)  # type: ignore[arg-type]
        on = own.slot >= 0
        assert (moved[on] == own.displacement[on]).all()
        _, _, width, height = clip.origin["crop"]
        # A slice is two frames of the clip, each two of the video.
        expected = SHIFT * 4 * [64 / width, 64 / height]
        known = ~np.isnan(moved).any(-1) & ~on
        np.testing.assert_allclose(
            moved[known], np.broadcast_to(expected, moved[known].shape), atol=1e-4
        )
        seen += known.sum() / max((~on).sum(), 1)
    assert seen / 4 > 0.6  # the picture leaves the points behind: some tokens have none
    planned = open_clips(replace(config, render="device"))
    for number in range(2):
        np.testing.assert_array_equal(planned[number]["motion"], clips[number]["motion"])


def test_a_token_has_the_motion_of_the_track_that_is_nearest_to_it(tmp_path: Path) -> None:
    """The whole frame of a video of eight frames, one point in each of four tokens."""
    grid = TokenGrid(frames=8, height=32, width=32)
    rng = np.random.default_rng(0)
    start = point_pixels(grid, 1).reshape(4, 2).astype(np.float32)
    tracks = start + np.cumsum(rng.normal(0, 0.5, (8, 4, 2)), axis=0).astype(np.float32)
    tracks[0] = start
    visible = np.ones((8, 4), bool)
    visible[2:, 3] = False
    np.savez(tmp_path / "clip.npz", tracks=tracks, visibility=visible, size=[32, 32])
    found = {
        reading: track_displacement(
            *(tmp_path, Path("clip.mp4")),
            length=8,
            numbers=np.arange(8),
            crop=(0, 0, 32, 32),
            grid=grid,
            points=1,
            reading=reading,  # type: ignore[arg-type]
        ).reshape(4, 4, 2)
        for reading in ("present", "started")
    }
    moved = np.diff(tracks[::2], axis=0)
    expected = np.concatenate([moved, moved[-1:]])
    np.testing.assert_allclose(found["started"], expected, atol=1e-5)
    np.testing.assert_allclose(found["present"][:, :3], expected[:, :3], atol=1e-5)
    np.testing.assert_allclose(found["present"][0, 3], expected[0, 3], atol=1e-5)
    # Where the last point is hidden, its token has the nearest of the others, or none.
    for s in range(1, 4):
        distance = np.linalg.norm(tracks[2 * s, :3] - start[3], axis=1)
        if distance.min() > 16:
            assert np.isnan(found["present"][s, 3]).all()


def test_a_grid_is_interpolated_as_aligned_corners_have_it(tmp_path: Path) -> None:
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(1)
    tracks = rng.normal(100, 30, (5, 196, 2)).astype(np.float32)
    np.savez(
        tmp_path / "a.npz",
        tracks=tracks,
        visibility=np.ones((5, 196), np.float32),
        size=[300, 300],
        grid=[14, 14],
    )
    fine = refine_grid(read_tracks(tmp_path / "a.npz"), 2)
    volume = torch.from_numpy(tracks).view(5, 14, 14, 2).permute(3, 0, 1, 2)[None]
    expected = F.interpolate(volume, (5, 28, 28), mode="trilinear", align_corners=True)
    expected = expected[0].permute(1, 2, 3, 0).reshape(5, 784, 2)
    np.testing.assert_allclose(fine.positions, expected, atol=1e-3)
    assert fine.visible.all()
    assert fine.grid == (28, 28)


def test_a_run_learns_from_tracks(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path, length: int
) -> None:
    write_tracks(tmp_path / "tracks", length)
    config = options(
        *(small_bank, real_videos, tmp_path / "tracks"),
        objects=0,
        masking="motion-bins",
        motion_reading="started",
        motion_norm="token",
        workers=2,
    )
    checkpoint = pretrain(config, tmp_path / "run")
    assert checkpoint.name == "step_00000002"
    assert "motion_loss" in (tmp_path / "run/log.jsonl").read_text()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tracks": None}, r"no tracks in it, .*; track this video again"),
        ({"tracks": np.zeros((1, 3, 9, 2))}, r"tracks is float64 \(1, 3, 9, 2\); 3 dimensions"),
        ({"visibility": np.ones((3, 4), bool)}, r"tracks \(250, 1600, 2\) and visibility \(3, 4\)"),
        ({"tracks": np.full((250, 1600, 2), np.nan)}, "hold numbers that are no places"),
        ({"size": np.array([7])}, r"size \(7,\) and grid"),
        ({"grid": np.array([7, 7])}, "a grid of 7 x 7, but 1600 points"),
    ],
)
def test_files_of_another_layout_are_refused(
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
    length: int,
    changed: dict,
    message: str,
) -> None:
    write_tracks(tmp_path / "tracks", length, **changed)
    with pytest.raises(InputError, match=message) as raised:
        open_clips(options(small_bank, real_videos, tmp_path / "tracks"))
    assert "\n" not in str(raised.value)


def test_tracks_of_other_videos_are_refused(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path, length: int
) -> None:
    tracks = tmp_path / "tracks"
    with pytest.raises(InputError, match="needs tracks: add --tracks DIR"):
        open_clips(options(small_bank, real_videos, None))
    with pytest.raises(InputError, match="no such folder"):
        open_clips(options(small_bank, real_videos, tracks))
    tracks.mkdir()
    with pytest.raises(InputError, match=r"no bikes\.npz; 1 of 1 videos have no tracks there"):
        open_clips(options(small_bank, real_videos, tracks))
    write_tracks(tracks, length - 1)
    message = rf"bikes.npz: tracks of {length - 1} frames, .*bikes.mp4 has {length}"
    with pytest.raises(InputError, match=message):
        open_clips(options(small_bank, real_videos, tracks))
    (tracks / "bikes.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="not a readable"):
        open_clips(options(small_bank, real_videos, tracks))
    write_tracks(tracks, length, size=np.array([90, 100]), tracks=np.ones((length, 1600, 2)))
    with pytest.raises(InputError, match=r"of a video of 100 x 90 px, .* is larger"):
        track_displacement(
            *(tracks, real_videos["bikes"]),
            length=length,
            numbers=np.arange(16),
            crop=(0, 0, 272, 272),
            grid=TokenGrid(),
            points=2,
            reading="present",
        )
