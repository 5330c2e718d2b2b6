"""`--decoder`: torchcodec gives the frames of PyAV's reader, or leaves them to it."""

import logging
import os
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_motion.video import VideoIndex, index_video, open_index, read_frames
from smile_train.config.pretrain import PretrainConfig
from smile_train.data import decoders
from smile_train.data.decoders import (
    FEWEST_READS,
    read_by_torchcodec,
    settle_decoder,
    try_decoders,
)
from smile_train.data.device_clips import open_clips, settle_clips
from smile_train.data.packing import collect, find_sources
from smile_train.evaluation.figures.clips import ClipSource
from smile_train.motion_probe.clips import open_backdrops
from smile_train.training.monitor import LabeledProbe
from support.video_matrix import Case, make_video

here = pytest.mark.skipif(
    not decoders.has_libraries() and not os.environ.get("SMILE_REQUIRE_TORCHCODEC"),
    reason="torchcodec, or FFmpeg's shared libraries, are not here: apt-get install ffmpeg",
)
PYAV_READS = {
    Case("h264", "mp4", "whole", 90): "rotated",
    Case("h264", "mp4", "whole", 0, True): "mirrored",
    Case("h264-field", "mp4"): "interlaced",
    Case("hevc", "ts"): "broadcast",
    Case("prores", "mov"): "yuv422p10le",
}


@here
def test_frames_are_those_of_the_other_reader(
    real_videos: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        tar.add(real_videos["bikes"], "below/bikes.mp4")
    for path in (real_videos["bikes"], tmp_path / "some.tar/below/bikes.mp4"):
        video = open_index(path)
        numbers = np.array([131, 3, 249, 3, 140, 0])
        assert (read_by_torchcodec(video, numbers) == read_frames(video, numbers)).all()
        crop = read_by_torchcodec(video, numbers, crop=lambda *size: (5, 3, size[1] - 9, 17))
        assert (crop == read_frames(video, numbers)[:, 3:20, 5:-4]).all()
    assert not caplog.records
    with pytest.raises(InputError, match="has frames 0 to 249, asked for 0 to 250"):
        read_by_torchcodec(video, np.array([0, 250]))


@here
@pytest.mark.parametrize(
    "case",
    [Case("h264", "mp4", "trimmed"), Case("vp9", "webm", "begun late"), *PYAV_READS],
    ids=str,
)
def test_other_kinds_of_video_are_exact_or_left_to_pyav(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    decoders._told().clear()
    video = index_video(make_video(case, tmp_path))
    numbers = np.arange(len(video))[::-3]
    with caplog.at_level(logging.WARNING, "smile_train"):
        found = read_by_torchcodec(video, numbers)
        again = read_by_torchcodec(video, numbers[:2])
    assert (found == read_frames(video, numbers)).all()
    assert (again == found[:2]).all()
    said = [record.getMessage() for record in caplog.records if "PyAV" in record.getMessage()]
    if case in PYAV_READS:
        (line,) = said
        assert PYAV_READS[case] in line
    else:
        assert not said


@here
def test_auto_tries_the_videos_and_a_run_keeps_its_choice(real_videos: dict[str, Path]) -> None:
    files = [Path("/there/is/none.mp4"), real_videos["bikes"]]
    trial = try_decoders(files, frames=4, stride=2)
    assert trial is not None
    assert (trial.files, trial.difference) == (1, 0)
    assert trial.pyav_ms > 0
    assert trial.torchcodec_ms > 0
    assert replace(trial, pyav_ms=10.0, torchcodec_ms=9.0).is_won
    assert not replace(trial, pyav_ms=10.0, torchcodec_ms=9.8).is_won
    assert not replace(trial, pyav_ms=10.0, torchcodec_ms=9.0, difference=1).is_won
    chosen, said = settle_decoder("auto", files, frames=4, stride=2)
    assert said.startswith(f"decoder {chosen}: a clip of your videos takes ")
    for kept in ("torchcodec", "pyav"):
        found = settle_decoder("auto", files, frames=4, stride=2, begun=kept)
        assert found == (kept, f"decoder {kept}: the run began with it")
    assert settle_decoder("pyav", files, frames=4, stride=2) == ("pyav", "")
    few = FEWEST_READS - 1
    assert settle_decoder("auto", files, frames=4, stride=2, reads=few) == ("pyav", "")
    assert settle_decoder("auto", files, frames=4, stride=2, reads=few + 1)[1]
    assert settle_decoder("torchcodec", files, frames=4, stride=2, reads=1)[0] == "torchcodec"


@here
def test_clips_of_a_run_are_the_same(
    small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    config = PretrainConfig(
        **{"student": "tiny", "target": "pixel", "size": 32, "frames": 4, "stride": 1},
        **{"videos": real_videos["bikes"], "background": "natural", "bank": small_bank.path},
        **{"clips_per_video": 2, "decoder": "torchcodec"},
    )  # type: ignore[arg-type]
    ours = open_clips(config)
    clips, said = settle_clips(ours)
    assert said.startswith("decoder torchcodec: ")
    assert clips.config.decoder == "torchcodec"
    clips = pickle.loads(pickle.dumps(clips))
    assert clips.maker.background.decoded.reader is read_by_torchcodec
    assert (clips[3]["frames"] == ours[3]["frames"]).all()


@here
def test_probes_and_figures_read_by_what_is_chosen(
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Path] = []

    def counted(video: VideoIndex, wanted: np.ndarray) -> tuple[np.ndarray | None, str]:
        read.append(video.path)
        return decode(video, wanted)

    decode = decoders._decode
    monkeypatch.setattr(decoders, "_decode", counted)
    bikes = real_videos["bikes"]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{bikes} 0\n{bikes} 1\n")
    (tmp_path / "three.txt").write_text(f"{bikes}\n" * 3)
    noise = PretrainConfig(
        **{"student": "tiny", "target": "pixel", "size": 32, "frames": 4, "stride": 1},
        **{"background": "noise", "bank": small_bank.path, "knn": listed, "decoder": "torchcodec"},
    )  # type: ignore[arg-type]
    clips, said = settle_clips(open_clips(noise))
    assert said.startswith("decoder torchcodec: ")
    read.clear()
    found = LabeledProbe.open(listed, clips.config)
    assert read == [bikes] * 2
    others = LabeledProbe.open(listed, replace(clips.config, decoder="pyav"))
    assert read == [bikes] * 2
    assert (found.frames == others.frames).all()
    grid = TokenGrid(frames=4, height=32, width=32)
    shown, others = (
        next(ClipSource(videos=listed, decoder=name).read(grid)) for name in ("torchcodec", "auto")
    )
    assert (shown.frames == others.frames).all()
    tried = {"torchcodec": 0, "pyav": 0}
    frames, named = {}, set()
    for name in tried:
        read.clear()
        behind, _ = open_backdrops(
            "natural",
            videos=tmp_path / "three.txt",
            images=None,
            stride=2,
            read_by=lambda files, name=name: decoders.reader_of(name),
        )
        frames[name] = behind.draw(np.random.default_rng(0), 0, 4, 32)
        tried[name] = len(read)
        named.add(repr(behind))
    assert len(named) == 1  # kept features are found by it
    assert tried == {"torchcodec": 1, "pyav": 0}
    assert (frames["torchcodec"] == frames["pyav"]).all()


@here
def test_packed_videos_have_a_reader_of_their_own(
    real_videos: dict[str, Path], tmp_path: Path
) -> None:
    from smile_motion.export.collection import render_shard, write_index
    from smile_motion.video.packing import VideoPacking

    packing = VideoPacking(size=32, stride=20)
    made = collect(find_sources(real_videos["bikes"]), packing, folder=tmp_path, videos_per_shard=8)
    write_index(made, {0: render_shard(0, made)}, None)
    files = [tmp_path / "shard-00000.tar/bikes.mp4"]
    assert settle_decoder("auto", files, frames=4, stride=1) == ("pyav", "")
    with pytest.raises(InputError, match=r"--decoder torchcodec: .*a reader of their own"):
        settle_decoder("torchcodec", files, frames=4, stride=1)


@pytest.mark.slow
def test_without_libraries_of_ffmpeg(tmp_path: Path, real_videos: dict[str, Path]) -> None:
    pytest.importorskip("torchcodec")
    for version in range(56, 64):
        (tmp_path / f"libavutil.so.{version}").write_bytes(b"")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from smile_train.data.decoders import settle_decoder\n"
        "videos = [Path(sys.argv[1])]\n"
        "print(settle_decoder('auto', videos, frames=4, stride=1))\n"
        "settle_decoder('torchcodec', videos, frames=4, stride=1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, real_videos["bikes"]],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("('pyav', 'decoder pyav: torchcodec is installed, but finds no")
    assert "InputError: --decoder torchcodec: torchcodec is installed, but" in done.stderr
    assert "or use --decoder pyav" in done.stderr
