"""Every format is read back by the tool that it is meant for, and holds what the clips hold."""

import itertools
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from smile_motion import ClipMaker, MotionRecipe, make_background
from smile_motion.bank import ObjectBank
from smile_motion.clips.clip import Clip, read_clip
from smile_motion.export.flow import encode_kitti
from smile_motion.io.files import sha256
from smile_motion.video import find_videos, index_video, read_frames
from support.render_command import decode_video, index_lines, render

COUNT, FRAMES, SIZE = 5, 4, 64


def test_frames_and_masks(written, clips: list[Clip], small_bank: ObjectBank) -> None:
    folder = written("frames")
    for index, clip in enumerate(clips):
        home = folder / f"clip_{index:06d}"
        for t in range(FRAMES):
            frame = cv2.imread(str(home / f"frames/{t:05d}.png"))
            assert (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) == clip.frames[t]).all()
            mask = Image.open(home / f"ids/{t:05d}.png")
            assert mask.mode == "P"
            # The colours of PASCAL VOC, by which DAVIS and its tools show ids.
            assert mask.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
            assert (np.asarray(mask) == clip.truth.ids[t]).all()
        assert (read_clip(home / "clip.json", small_bank).frames == clip.frames).all()
    lines = index_lines(folder)
    assert [line["index"] for line in lines] == list(range(COUNT))
    for line in lines:
        for name, digest in line["sha256"].items():
            assert sha256((folder / line["folder"] / name).read_bytes()) == digest
        assert len(line["sha256"]) == 2 * FRAMES + 1


def test_webdataset_reads_its_shards(written, clips: list[Clip], monkeypatch) -> None:
    import webdataset as wds

    folder = written("webdataset", "--lossless", "--clips-per-shard", "2")
    lines = index_lines(folder)
    assert [(line["first"], line["clips"]) for line in lines] == [(0, 1), (1, 2), (3, 2)]
    for line in lines:
        data = (folder / line["file"]).read_bytes()
        assert (sha256(data), len(data)) == (line["sha256"], line["bytes"])
    # Nothing in them needs unpickling.
    monkeypatch.setattr(pickle, "loads", None)
    shards = [str(folder / line["file"]) for line in lines]
    samples = list(wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode())
    assert [sample["__key__"] for sample in samples] == [f"clip_{i:06d}" for i in range(COUNT)]
    for sample, clip in zip(samples, clips, strict=True):
        assert (decode_video(sample["mp4"]) == clip.frames).all()
        assert (sample["ids.npz"]["ids"] == clip.truth.ids).all()
        assert sample["json"]["plan"]["height"] == SIZE
    batches = wds.WebDataset(shards, shardshuffle=False, empty_check=False).to_tuple("json")
    assert len(list(batches.batched(2))) == 3


def test_training_takes_shards_as_they_are(written, clips: list[Clip]) -> None:
    videos = find_videos(written("webdataset", "--lossless", "--clips-per-shard", "2"))
    assert len(videos) == COUNT
    for video, clip in zip(videos, clips, strict=True):
        assert (read_frames(index_video(video.path), range(FRAMES)) == clip.frames).all()


def test_a_shard_says_nothing_of_who_wrote_it(written) -> None:
    with tarfile.open(written("webdataset", "--clips-per-shard", "2") / "shard-00001.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members[:3]] == [
        "clip_000001.mp4", "clip_000001.ids.npz", "clip_000001.json",
    ]  # fmt: skip
    for member in members:
        assert member.isfile()
        assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def test_datasets_loads_and_streams(
    written, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import Video, load_dataset

    folder = written("datasets", "--lossless", "--clips-per-shard", "2")
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert list(loaded) == ["train"]
    streamed = load_dataset(str(folder), streaming=True)["train"]
    for rows in (loaded["train"], streamed):
        assert isinstance(rows.features["video"], Video)
        rows = list(rows.cast_column("video", Video(decode=False)))
        assert [row["index"] for row in rows] == list(range(COUNT))
        for row, clip in zip(rows, clips, strict=True):
            check_row(row, clip)
    assert f"# {COUNT} clips" in (folder / "README.md").read_text()


def check_row(row: dict[str, Any], clip: Clip) -> None:
    assert (decode_video(row["video"]["bytes"]) == clip.frames).all()
    assert (np.stack([np.asarray(mask) for mask in row["ids"]]) == clip.truth.ids).all()
    for slot, thing in enumerate(row["objects"]):
        record = clip.truth.bank.record(int(clip.plan.objects[slot]))
        assert (thing["id"], thing["category"]) == (record["id"], record["category"])
        boxes = [[np.nan] * 4 if box is None else box for box in thing["boxes"]]
        np.testing.assert_array_equal(boxes, clip.truth.boxes[slot].astype(np.float32))
        np.testing.assert_allclose(thing["visible_share"], clip.truth.visible_share[slot], 1e-6)
    assert json.loads(row["json"])["truth"]["objects"]


def test_pycocotools_reads_the_masks_of_frames(written, clips: list[Clip], capsys) -> None:
    from pycocotools.coco import COCO

    folder = written("coco")
    coco = COCO(str(folder / "instances.json"))
    capsys.readouterr()
    assert len(coco.getImgIds()) == COUNT * FRAMES
    seen = 0
    for image in coco.loadImgs(coco.getImgIds()):
        clip, t = clips[image["video_id"] - 1], image["frame_id"]
        frame = cv2.imread(str(folder / image["file_name"]))
        assert (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) == clip.frames[t]).all()
        found = {}
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = coco.annToMask(entry)
            slot = (entry["track_id"] - 1) % clip.plan.slots
            assert (mask == (clip.truth.ids[t] == slot + 1)).all()
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert (entry["bbox"], entry["area"]) == (box, len(x))
            category = coco.loadCats(entry["category_id"])[0]["name"]
            record = clip.truth.bank.record(int(clip.plan.objects[slot]))
            assert category == record["category"]
            found[slot + 1] = entry
        assert set(found) == set(np.unique(clip.truth.ids[t])) - {0}
        seen += len(found)
    assert seen == len(coco.getAnnIds()) > COUNT


def test_youtube_vis_masks_are_ours(written, clips: list[Clip]) -> None:
    from pycocotools import mask as coder

    folder = written("youtube-vis")
    data = json.loads((folder / "instances.json").read_text())
    assert [video["id"] for video in data["videos"]] == list(range(1, COUNT + 1))
    names = [name for video in data["videos"] for name in video["file_names"]]
    assert len(set(names)) == COUNT * FRAMES
    assert all((folder / name).is_file() for name in names)
    assert len({entry["id"] for entry in data["annotations"]}) == len(data["annotations"])
    masks = [np.zeros((clip.plan.slots, *clip.truth.ids.shape), bool) for clip in clips]
    for video_id, entries in itertools.groupby(data["annotations"], lambda one: one["video_id"]):
        for entry in entries:
            slot = (entry["id"] - 1) % clips[video_id - 1].plan.slots
            assert len(entry["segmentations"]) == entry["length"] == FRAMES
            for t, run in enumerate(entry["segmentations"]):
                if run is None:
                    assert entry["bboxes"][t] is None
                    assert entry["areas"][t] is None
                    continue
                masks[video_id - 1][slot, t] = coder.decode(run)
                assert entry["areas"][t] == masks[video_id - 1][slot, t].sum()
                assert entry["bboxes"][t] == coder.toBbox(run).tolist()
    for found, clip in zip(masks, clips, strict=True):
        slots = np.arange(1, clip.plan.slots + 1)[:, None, None, None]
        assert (found == (clip.truth.ids == slots)).all()


def test_opencv_reads_flow(written, clips: list[Clip]) -> None:
    folder = written("flo")
    for index, clip in enumerate(clips):
        home, flow = folder / f"clip_{index:06d}", clip.truth.flow()
        assert len(list((home / "flow").iterdir())) == FRAMES - 1
        for t in range(FRAMES - 1):
            read = cv2.readOpticalFlow(str(home / f"flow/{t:05d}.flo"))
            assert (read == flow.vectors[t]).all()
            occluded = cv2.imread(str(home / f"occluded/{t:05d}.png"), cv2.IMREAD_UNCHANGED)
            assert (occluded == flow.occluded[t] * 255).all()
    assert max(abs(clip.truth.flow().vectors).max() for clip in clips) > 1


def test_kittis_reader_reads_flow(written, clips: list[Clip]) -> None:
    from torchvision.datasets._optical_flow import _read_16bits_png_with_flow_and_valid_mask

    folder = written("kitti-flow")
    for index, clip in enumerate(clips):
        for t, vectors in enumerate(clip.truth.flow().vectors):
            path = folder / f"clip_{index:06d}/flow/{t:05d}.png"
            read, valid = _read_16bits_png_with_flow_and_valid_mask(str(path))
            assert valid.all()
            np.testing.assert_allclose(read.transpose(1, 2, 0), vectors, atol=1 / 128)
            raw = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
            assert raw.dtype == np.uint16
            by_hand = (raw[..., :0:-1].astype(np.float64) - 2**15) / 64
            assert (by_hand == read.transpose(1, 2, 0)).all()


@pytest.mark.parametrize("form", ["flo", "kitti-flow"])
def test_flow_of_natural_background_is_marked_unknown(
    form: str, small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    assert render(
        "--bank", small_bank.path, "--background", "natural", "--videos", real_videos["bikes"],
        "--size", SIZE, "--frames", FRAMES, "--format", form, "--n", "1", "--out", tmp_path / "out",
    ) == 0  # fmt: skip
    home = tmp_path / "out/clip_000000"
    truth = read_clip(home / "clip.json", small_bank).truth
    for t in range(FRAMES - 1):
        if form == "flo":
            read = cv2.readOpticalFlow(str(home / f"flow/{t:05d}.flo"))
            known = (abs(read) < 1e9).all(axis=2)  # Middlebury's limit
            assert (read[known] == truth.flow().vectors[t][known]).all()
        else:
            image = cv2.imread(str(home / f"flow/{t:05d}.png"), cv2.IMREAD_UNCHANGED)
            known = image[..., 0] == 1
        assert (known == (truth.ids[t] > 0)).all()
        assert 0 < known.mean() < 1


def test_flow_beyond_kittis_range_is_unknown() -> None:
    vectors = np.array([[[511.9, 0], [512.1, 0], [0, -512], [0, -513]]], np.float32)
    data = encode_kitti(vectors, np.ones((1, 4), bool))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image[0, :, 0].tolist() == [1, 0, 1, 0]


def test_tapvids_fields_hold_exact_tracks(written, clips: list[Clip]) -> None:
    folder = written("tapvid", "--points", "60")
    moved = 0.0
    for index, clip in enumerate(clips):
        with np.load(folder / f"clip_{index:06d}.npz", allow_pickle=False) as arrays:
            data = dict(arrays)
        assert set(data) == {"video", "points", "occluded"}
        assert (data["video"] == clip.frames).all()
        points, occluded = data["points"], data["occluded"]
        assert (points.shape, points.dtype) == ((60, FRAMES, 2), np.float32)
        assert (occluded.shape, occluded.dtype) == ((60, FRAMES), bool)
        # As TAP-Vid's evaluation reads them: shares of the frame, from its upper left corner;
        # queries are where a point is first seen.
        raster = points * np.array([SIZE, SIZE])
        first = occluded.argmin(axis=1)
        assert not occluded[np.arange(60), first].any()
        for t in np.unique(first):
            chosen = np.flatnonzero(first == t)
            tracks = clip.truth.track(raster[chosen, t].astype(np.float64) - 0.5, int(t))
            np.testing.assert_allclose(raster[chosen] - 0.5, tracks.positions, atol=1e-3)
            # A point on the edge of a pixel may be rounded to its neighbour.
            assert (~occluded[chosen] == tracks.visible).mean() > 0.98
            moved = max(moved, float(abs(np.diff(tracks.positions, axis=1)).max()))
        inside = ((raster >= 0) & (raster <= SIZE)).all(axis=2)
        assert inside[~occluded].all()
    assert moved > 1


@pytest.mark.parametrize("on", ["all", "objects", "background", "pixels"])
def test_kubrics_fields_hold_exact_tracks_of_queries(
    on: str, small_bank: ObjectBank, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert render(
        "--bank", small_bank.path, "--camera", "pan-zoom-roll", "--size", SIZE, "--frames", FRAMES,
        "--format", "tapvid-kubric", "--points", "40", "--points-on", on, "--n", "2", "--out", out,
        "--workers", "0",
    ) == 0  # fmt: skip
    shares = []
    for index in range(2):
        with np.load(out / f"clip_{index:06d}.npz", allow_pickle=False) as arrays:
            data = dict(arrays)
        assert set(data) == {"video", "query_points", "target_points", "occluded"}
        clip = read_clip(out / f"clip_{index:06d}.json", small_bank)
        assert (data["video"] == clip.frames).all()
        queries, targets, occluded = (
            data[name] for name in ("query_points", "target_points", "occluded")
        )
        assert (queries.shape, queries.dtype) == ((40, 3), np.float32)
        assert (targets.shape, targets.dtype) == ((40, FRAMES, 2), np.float32)
        assert (occluded.shape, occluded.dtype) == ((40, FRAMES), bool)
        # As training reads them: a query is the target at its time, in view, y before x; its pixel
        # is the whole part of what is counted from the frame's corner.
        time, row, column = queries.astype(int).T
        assert (time == queries[:, 0]).all()
        points = np.arange(40)
        assert (targets[points, time] == queries[:, :0:-1]).all()
        assert not occluded[points, time].any()
        labels = clip.truth.ids[time, row, column]
        shares.append((labels > 0).mean())
        for t in np.unique(time):
            chosen = time == t
            tracks = clip.truth.track(queries[chosen, :0:-1].astype(np.float64) - 0.5, int(t))
            np.testing.assert_allclose(targets[chosen] - 0.5, tracks.positions, atol=1e-3)
            assert (~occluded[chosen] == tracks.visible).mean() > 0.98
            assert (np.ptp(tracks.positions, axis=1).max(axis=1) > 0).all()  # all moves
    covered = {"objects": (1, 1), "background": (0, 0), "all": (0.3, 0.95), "pixels": (0, 0.6)}[on]
    assert all(covered[0] <= share <= covered[1] for share in shares)


def test_flow_of_a_moving_camera_is_known_everywhere(
    written, small_bank: ObjectBank, photographs: Path
) -> None:
    folder = written("flo", "--camera", "pan-zoom", "--images", photographs)
    for index in range(COUNT):
        home = folder / f"clip_{index:06d}"
        truth = read_clip(home / "clip.json", small_bank).truth
        for t in range(FRAMES - 1):
            read = cv2.readOpticalFlow(str(home / f"flow/{t:05d}.flo"))
            assert (read == truth.flow().vectors[t]).all()
            assert (abs(read) < 1e9).all()
            assert (read[truth.ids[t] == 0] != 0).any()


def test_a_background_that_moves_by_itself_has_no_points(
    small_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(
        "--bank", small_bank.path, "--noise-per-frame", "--size", SIZE, "--frames", FRAMES,
        "--format", "tapvid-kubric", "--points-on", "background", "--out", tmp_path / "out",
    ) == 2  # fmt: skip
    assert "--points-on background: what is behind the clips moves" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_points_lie_on_objects_alone_where_the_background_moves(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    assert render(
        "--bank", small_bank.path, "--noise-per-frame", "--size", SIZE, "--frames", FRAMES,
        "--format", "tapvid", "--n", "2", "--out", tmp_path / "out",
    ) == 0  # fmt: skip
    for index in range(2):
        truth = read_clip(tmp_path / f"out/clip_{index:06d}.json", small_bank).truth
        data = np.load(tmp_path / f"out/clip_{index:06d}.npz")
        at = np.rint(data["points"] * SIZE - 0.5).astype(int)
        for t in range(FRAMES):
            x, y = at[~data["occluded"][:, t], t].T
            assert (truth.ids[t, y, x] > 0).all()
        assert (~data["occluded"]).any(axis=1).all()


@pytest.fixture(scope="module")
def clips(small_bank: ObjectBank) -> list[Clip]:
    """The clips that `written` writes."""
    maker = ClipMaker(
        bank=small_bank,
        recipe=MotionRecipe.paper(),
        background=make_background("noise"),
        frames=FRAMES,
        size=(SIZE, SIZE),
        seed=3,
    )
    return [maker.make(index) for index in range(COUNT)]


CARD_NAMES = {"webdataset": "shard-00000.tar", "datasets": "*.parquet"}
"""What the cards of collections name first; others a clip's files."""


@pytest.fixture
def written(small_bank: ObjectBank, tmp_path: Path):
    """Writes a collection in a format and gives its folder."""

    def write(form: str, *arguments: str) -> Path:
        out = tmp_path / form
        assert render(
            "--bank", small_bank.path, "--size", SIZE, "--frames", FRAMES, "--seed", "3",
            "--n", COUNT, "--format", form, *arguments, "--out", out, "--workers", "0",
        ) == 0  # fmt: skip
        card = (out / "README.md").read_text()
        assert f"# {COUNT} clips of moving objects" in card
        assert f"`{CARD_NAMES.get(form, 'clip_000000')}" in card
        return out

    return write
