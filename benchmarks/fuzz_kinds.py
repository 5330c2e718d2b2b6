"""Sound inputs of every kind that the packages read, and the public readers that meet them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import mutations
import numpy as np
import smile_train
import torch
from fuzz_records import make_records, pack_video, read_journals
from smile_motion import ClipMaker, MotionRecipe, ObjectBank, make_background, read_clip, read_plan
from smile_motion.bank import ProceduralSource, build
from smile_motion.bank.candidates.categories import read_categories
from smile_motion.bank.candidates.refilter import StoredBank
from smile_motion.bank.format import CARD, METADATA, read_candidates, read_rgba
from smile_motion.bank.integrity import verify
from smile_motion.cli import render
from smile_motion.clips.clip import clip_json
from smile_motion.clips.options import ClipOptions
from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.state import Controls, ExplorerInputs, make_shown
from smile_motion.io.files import sha256
from smile_motion.io.images import read_photograph
from smile_motion.tokens import TokenGrid
from smile_motion.video import find_videos, index_video, read_frames
from smile_motion.video.encoder import write_video
from smile_train.checkpoints.files import MANIFEST, find_fault, load_checkpoint, save_checkpoint
from smile_train.checkpoints.to_transformers import export_transformers
from smile_train.checkpoints.weight_files import ENCODERS, open_weights
from smile_train.config.pretrain import PretrainConfig
from smile_train.datasets.base import LabeledVideo, LabeledVideos
from smile_train.datasets.custom import read_manifest, write_manifest
from smile_train.datasets.registry import DatasetPlace, open_split
from smile_train.evaluation.figures.gains import ClassScores
from smile_train.evaluation.results import Results
from smile_train.evaluation.tables.match import place
from smile_train.models.config import STUDENTS
from smile_train.models.mae import PretrainModel
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.state import describe

FIXTURES = Path(__file__).parents[1] / "tests/fixtures/official"
HEADS = json.loads((FIXTURES / "meta.json").read_bytes())["heads"]
Readers = tuple[Callable[[], object], ...]
"""Public functions that meet a file, one after the other."""
STEP = "checkpoints/step_00000001"
FORMATS: dict[str, dict[str, Any]] = {
    "mp4": {"format": "mp4"},
    "frames": {"format": "frames"},
    "coco": {"format": "coco"},
    "webdataset": {"format": "webdataset", "clips_per_shard": 2},
    "datasets": {"format": "datasets", "clips_per_shard": 2},
}
"""Forms of rendered collections that are continued, with options of each."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file: where sound ones lie, how they are changed, and what reads them."""

    folder: str
    """Below the folder of sound inputs; a case has a copy."""
    files: tuple[str, ...]
    """Patterns of those of its files that are changed, one in a case."""
    change: mutations.Change
    """How."""
    read: Callable[[Path, Path], Readers]
    """Reads the changed file, given with the folder of sound inputs."""
    mend: Callable[[Path], None] = lambda _file: None
    """Makes recorded hashes right again; done in half of the cases."""


def make_inputs(root: Path) -> None:
    """Make the sound inputs."""
    bank = build(ProceduralSource(count=12), root / "bank", workers=0)
    maker = _maker(ObjectBank.open(bank.path), MotionRecipe.paper())
    clip = maker.make(0)
    (root / "clip").mkdir()
    (root / "clip/clip_000000.json").write_text(json.dumps(clip_json(maker, 0, clip)))
    (root / "recipe").mkdir()
    (root / "recipe/paper.json").write_text(json.dumps(MotionRecipe.paper().to_json()))
    (root / "recipe/official.json").write_text(json.dumps(MotionRecipe.official().to_json()))
    (root / "video").mkdir()
    write_video(root / "video/a.mp4", np.concatenate([maker.make(one).frames for one in range(3)]))
    pack_video(root / "video/a.mp4", root / "packed/shard-00000.tar")
    (root / "image").mkdir()
    for suffix in ("png", "jpg", "webp", "bmp"):
        cv2.imwrite(str(root / f"image/a.{suffix}"), clip.frames[0])
    shutil.copy(next((bank.path / "images").rglob("*.png")), root / "image/cut.png")
    for name in FORMATS:
        read_collection(root / "collection" / name / "render.json", root)[0]()
    _make_lists(root)
    torch.manual_seed(0)
    model = PretrainModel(STUDENTS["tiny"], TokenGrid(frames=8, height=64, width=64), 1536)
    trained = describe(
        PretrainConfig(student="tiny", frames=8, size=64, target="pixel"), model, steps=1,
        bank_sha256="",
    )  # fmt: skip
    state = {"step": 1, "rng": torch.zeros(8), "order": [1, 2, (3.0, "x")]}
    save_checkpoint(root / "run/checkpoints", 1, weights=model.state_dict(), training=state,
                    config=trained, keep=1)  # fmt: skip
    checkpoint = {"source": "runs/some", "sha256": "ab" * 32}
    Results(protocol="finetune", dataset="ssv2m", split="validation", samples=9,
            metrics={"top1": 6.5}, main_metric="top1", checkpoint=checkpoint,
            pretraining=trained).write(root / "results")  # fmt: skip
    make_records(root, bank)
    export_transformers(model, root / "hub", pretraining=True)
    (root / "weights").mkdir()
    for path in (*FIXTURES.glob("*.pth"), *FIXTURES.glob("*.safetensors")):
        shutil.copy(path, root / "weights")
    legacy = {"model": {"patch_embed.proj.weight": torch.ones(4, 3, 2, 2)}, "epoch": 3}
    torch.save(legacy, root / "weights/legacy.pt", _use_new_zipfile_serialization=False)


def _make_lists(root: Path) -> None:
    folder = root / "list"
    folder.mkdir()
    for name in ("a.mp4", "b c.mp4", "d,e.mp4"):
        shutil.copy(root / "video/a.mp4", folder / name)
    (folder / "train.txt").write_text("a.mp4 0\nb c.mp4 1\nd,e.mp4 1\n")
    (folder / "train.csv").write_text('path,label\na.mp4,run\n"d,e.mp4",walk\n')
    shutil.copytree(folder, root / "manifest")
    videos = tuple(
        LabeledVideo(key=f"k{target}", path=root / "manifest" / name, target=target)
        for target, name in enumerate(("a.mp4", "b c.mp4"))
    )
    listed = LabeledVideos(name="own", split="train", videos=videos, classes=("a", "b"))
    write_manifest(root / "manifest/train.jsonl", listed)


def read_clips(file: Path, root: Path) -> Readers:
    bank = ObjectBank.open(root / "bank")
    return (lambda: read_plan(file, bank), lambda: read_clip(file, bank))


def read_recipe(file: Path, root: Path) -> Readers:
    def make() -> None:
        recipe = ClipOptions(recipe_file=file).make_recipe()
        _render(ObjectBank.open(root / "bank"), recipe)

    return (make,)


def read_bank(file: Path, _root: Path) -> Readers:
    folder = next(parent for parent in file.parents if parent.name == "bank")

    def use() -> None:
        bank = ObjectBank.open(folder)
        for index in range(len(bank)):
            bank.record(index)
            bank.outline(index)
        _render(bank, MotionRecipe.paper())

    return (lambda: list(verify(folder)), use)


def _maker(bank: ObjectBank, recipe: MotionRecipe) -> ClipMaker:
    noise = make_background("noise")
    return ClipMaker(bank=bank, recipe=recipe, background=noise, frames=4, size=(64, 64), seed=1)


def _render(bank: ObjectBank, recipe: MotionRecipe) -> None:
    maker = _maker(bank, recipe)
    clip_json(maker, 0, maker.make(0))


def read_videos(file: Path, _root: Path) -> Readers:
    def use() -> None:
        for found in find_videos(file):
            video = index_video(found.path)
            read_frames(video, sorted({0, len(video) // 2, len(video) - 1}))

    return (use,)


def read_collection(file: Path, root: Path) -> Readers:
    """Continue the rendering of a collection, as its command does; begins it where none is."""
    parts = file.parts
    folder = Path(*parts[: parts.index("collection") + 2])
    options = render.Options(
        out=folder, bank=root / "bank", background="noise", n=3, frames=4,
        size=64, workers=0, **FORMATS[folder.name],
    )  # fmt: skip

    def go_on() -> None:
        render.run(options)
        for made in folder.rglob("*.*"):
            sound = root / made.relative_to(folder.parents[1])
            # Settings may have fields of later versions.
            same = made.name == "render.json" or not made.is_file() or sound == made
            if not same and made.read_bytes() != sound.read_bytes():
                raise AssertionError(f"{made}: not as it was rendered, and nothing is said")

    return (go_on,)


def read_upload(file: Path, root: Path) -> Readers:
    """Show a video that was uploaded to the explorer."""
    bank = ObjectBank.open(root / "bank")
    limits = UploadLimits(bytes=64 << 20, seconds=120, folder=file.parent)
    controls = Controls(upload=file, frames=4, side=64, stride=1)
    return (lambda: make_shown(controls, ExplorerInputs(), bank, limits),)


def read_list(file: Path, _root: Path) -> Readers:
    placed = DatasetPlace(name="list", root=file.parent)
    other = file.with_suffix(".csv" if file.suffix == ".txt" else ".txt")
    other.unlink(missing_ok=True)
    return (lambda: find_videos(file), lambda: open_split(placed, "train"))


def read_run(file: Path, _root: Path) -> Readers:
    run = next(parent for parent in file.parents if parent.name == "run")
    step = run / STEP
    return (lambda: find_fault(step), lambda: load_checkpoint(step), lambda: smile_train.load(run))


def _change_output(data: bytes, rng: Random) -> bytes:
    """Change JSON as such, whole or in lines, and all else as bytes."""
    if not data.startswith(b"{"):
        return mutations.change_bytes(data, rng)
    try:
        json.loads(data)
    except ValueError:
        return mutations.change_lines(data, rng)
    return mutations.change_json(data, rng)


READERS: dict[str, Kind] = {
    "clip": Kind(
        folder="clip", files=("*.json",), change=mutations.change_json, read=read_clips
    ),
    "recipe": Kind(
        folder="recipe", files=("*.json",), change=mutations.change_json, read=read_recipe
    ),
    "card": Kind(folder="bank", files=(CARD,), change=mutations.change_json, read=read_bank),
    "metadata": Kind(
        folder="bank", files=(METADATA,), change=mutations.change_lines, read=read_bank,
        mend=lambda file: _mend_card(file),
    ),
    "arrays": Kind(
        folder="bank", files=("packed/*.npy",), change=mutations.change_array, read=read_bank
    ),
    "pixels": Kind(
        folder="bank", files=("packed/pixels.bin", "images/**/*.png"),
        change=mutations.change_bytes, read=read_bank,
    ),
    "pack": Kind(
        folder="bank", files=("packed/pack.json",), change=mutations.change_json, read=read_bank
    ),
    "video": Kind(
        folder="video", files=("*.mp4",), change=mutations.change_bytes, read=read_videos
    ),
    "packed": Kind(
        folder="packed", files=("*.tar",), change=mutations.change_ending, read=read_videos
    ),
    "image": Kind(
        folder="image", files=("*.*",), change=mutations.change_bytes,
        read=lambda file, _: (lambda: read_photograph(file), lambda: read_rgba(file)),
    ),
    "upload": Kind(
        folder="video", files=("*.mp4",), change=mutations.change_bytes, read=read_upload
    ),
    "collection": Kind(
        folder="collection", files=("**/*.*",), change=_change_output,
        read=read_collection,
    ),
    "list": Kind(
        folder="list", files=("train.*",), change=mutations.change_text, read=read_list
    ),
    "manifest": Kind(
        folder="manifest", files=("train.jsonl",), change=mutations.change_lines,
        read=lambda file, _: (
            lambda: read_manifest(file),
            lambda: open_split(DatasetPlace(name="manifest", root=file.parent), "train"),
        ),
    ),
    "results": Kind(
        folder="results", files=("results.json",), change=mutations.change_json,
        read=lambda file, _: (lambda: place(Results.read(file)),),
    ),
    "run": Kind(
        folder="run", files=(f"{STEP}/*.json",), change=mutations.change_json, read=read_run,
        mend=lambda file: _mend_manifest(file),
    ),
    "journal": Kind(
        folder="journal", files=("**/build.jsonl",), change=mutations.change_lines,
        read=read_journals,
    ),
    "candidates": Kind(
        folder="candidates", files=("*.json*",), change=mutations.change_lines,
        read=lambda file, _: (
            lambda: read_candidates(file.parent),
            lambda: StoredBank.open(file.parent).goals(None),
        ),
    ),
    "classes": Kind(
        folder="classes", files=("classes.json",), change=mutations.change_json,
        read=lambda file, _: (lambda: ClassScores.read(file.parent),),
    ),
    "annotations": Kind(
        folder="annotations", files=("lvis.json",), change=mutations.change_json,
        read=lambda file, _: (lambda: read_categories(str(file)),),
    ),
    "log": Kind(
        folder="log", files=("log.jsonl",), change=mutations.change_lines,
        read=lambda file, _: (lambda: MetricsLogger(file.parent, 9).restore(9),),
    ),
    "hub": Kind(
        folder="hub", files=("config.json",), change=mutations.change_json,
        read=lambda file, _: (lambda: smile_train.load(file.parent),),
    ),
    "training": Kind(
        folder="run", files=(f"{STEP}/training.pt",), change=mutations.change_archive,
        read=read_run, mend=lambda file: _mend_manifest(file),
    ),
    "pth": Kind(
        folder="weights", files=("*.pth",), change=mutations.change_archive,
        read=lambda file, _: _read_weights(file),
    ),
    "legacy": Kind(
        folder="weights", files=("*.pt",), change=mutations.change_bytes,
        read=lambda file, _: _read_weights(file),
    ),
    "safetensors": Kind(
        folder="weights", files=("*.safetensors",), change=mutations.change_safetensors,
        read=lambda file, _: _read_weights(file),
    ),
}  # fmt: skip
"""All kinds, by name."""


def _read_weights(file: Path) -> Readers:
    return (
        lambda: open_weights(file, None),
        lambda: open_weights(file, ENCODERS),
        lambda: smile_train.load(file, heads=HEADS),
    )


def _mend_card(metadata: Path) -> None:
    """Have the card and the packed form agree with changed records."""
    found = sha256(metadata.read_bytes())
    for name in (CARD, "packed/pack.json"):
        path = metadata.parent / name
        replace(path, json.dumps(json.loads(path.read_bytes()) | {"metadata_sha256": found}))


def _mend_manifest(file: Path) -> None:
    """Have a checkpoint's manifest agree with a changed file."""
    path = file.parent / MANIFEST
    if file != path:
        content = json.loads(path.read_bytes())
        content["sha256"][file.name] = sha256(file.read_bytes())
        replace(path, json.dumps(content))


def replace(path: Path, content: str | bytes) -> None:
    """Write a file anew: the old one may be the sound input itself, by another name."""
    path.unlink()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def make_case(name: str, number: int, seed: int, root: Path, work: Path) -> Path:
    """Make a case, which depends on the seed, its kind and its number alone.

    Args:
        root: Folder of the sound inputs.
        work: An empty folder; what is not changed is linked into it.

    Returns:
        The changed file.
    """
    kind, rng = READERS[name], Random(f"{seed}/{name}/{number}")
    folder = work / kind.folder
    shutil.copytree(root / kind.folder, folder, copy_function=os.link)
    found = sorted({path for one in kind.files for path in folder.glob(one) if path.is_file()})
    file = rng.choice(found)
    replace(file, kind.change(file.read_bytes(), rng))
    if rng.random() < 0.5:
        kind.mend(file)
    return file
