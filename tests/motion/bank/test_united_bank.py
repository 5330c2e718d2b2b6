"""Banks used as one are the bank that `bank merge` writes of them, without writing it."""

import json
import pickle
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from smile_motion import (
    ClipMaker,
    DeviceRenderer,
    MotionRecipe,
    Truth,
    embedded_bank,
    make_background,
    open_bank,
    read_clip,
    read_plan,
)
from smile_motion.__main__ import COMMANDS
from smile_motion.bank import ObjectBank, ProceduralSource, build
from smile_motion.bank.union import unite
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.explore.objects import BankBrowser
from smile_motion.explore.snippets import clip_command, clip_python
from smile_motion.explore.state import Controls, ExplorerInputs
from smile_motion.io.options import gather_repeated_options
from smile_motion.seeding import Stream, keyed_generator


def run(*words: object) -> int:
    return run_app("smile-motion", "", COMMANDS, [str(word) for word in words])


@pytest.fixture(scope="module")
def parts(
    small_bank: ObjectBank, split_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Banks of which the second has ids of the first's for other images, and images of the third's
    under other ids."""
    folder = tmp_path_factory.mktemp("parts")
    other = build(ProceduralSource(count=12, seed=77), folder / "other", workers=0)
    both = unite([other.path, split_bank.path], folder / "both")
    return [small_bank.path, both.path, split_bank.path]


@pytest.fixture(scope="module")
def merged(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    return unite(parts, tmp_path_factory.mktemp("merged") / "bank")


@pytest.fixture(scope="module")
def united(parts: list[Path]) -> ObjectBank:
    return open_bank(*parts)


def test_all_is_as_in_the_bank_that_is_written(united: ObjectBank, merged: ObjectBank) -> None:
    assert len(united) == len(merged) == 48
    assert united.card == merged.card
    assert united.categories == merged.categories
    assert united.records() == merged.records()
    for name in ("size", "hull", "category"):
        mine, theirs = getattr(united, name), getattr(merged, name)
        assert mine.dtype == theirs.dtype
        assert (mine == theirs).all()
    for mine, theirs in zip(united.all_rings(), merged.all_rings(), strict=True):
        assert (mine == theirs).all()
    for index, record in enumerate(merged.records()):
        assert united.record(index) == record
        assert united.find(record["id"]) == index
        assert (united.image(index) == merged.image(index)).all()
        assert united.outline(index) == merged.outline(index)
        start, end = united.offset[index, 0], merged.offset[index, 0]
        length = 4 * (merged.size[index, 0] + 2).prod()
        pixels = united.pixels[start : start + length]
        assert (pixels == merged.pixels[end : end + length]).all()


@pytest.mark.parametrize("effects", [(), ("motion-blur", "appearance")])
def test_clips_and_truth_are_the_same(
    united: ObjectBank, merged: ObjectBank, effects: tuple[str, ...]
) -> None:
    recipe = MotionRecipe.named("paper", objects=6, effects=effects)  # type: ignore[arg-type]
    travelled = pickle.loads(pickle.dumps(united))
    drawn = set[int]()
    for index in range(6):
        clips = [
            ClipMaker(
                bank=bank,
                recipe=recipe,
                background=make_background("noise"),
                frames=4,
                size=(64, 96),
            ).make(index)
            for bank in (merged, united, travelled)
        ]
        for other in clips[1:]:
            assert (other.frames == clips[0].frames).all()
            assert (other.truth.ids == clips[0].truth.ids).all()
            np.testing.assert_array_equal(other.truth.boxes, clips[0].truth.boxes)
        drawn |= {merged.record(thing)["united_from"] for thing in clips[0].plan.objects}
    assert drawn == {0, 1}  # The third bank has nothing that the second has not.


def test_the_device_renderer_paints_the_same(united: ObjectBank, merged: ObjectBank) -> None:
    recipe = MotionRecipe.paper(objects=6)
    plans = [
        recipe.plan(keyed_generator(3, Stream.MOTION, index=index), merged, frames=2, size=(64, 96))
        for index in range(3)
    ]
    behind = torch.full((3, 2, 64, 96, 3), 90, dtype=torch.uint8)
    both = [
        DeviceRenderer(bank, "cpu", frames=2, size=(64, 96), max_objects=6).render(behind, plans)
        for bank in (united, merged)
    ]
    assert torch.equal(both[0].frames, both[1].frames)
    assert (both[0].frames != 90).any()
    assert torch.equal(both[0].ids, both[1].ids)
    torch.testing.assert_close(both[0].boxes, both[1].boxes, equal_nan=True, rtol=0, atol=0)


def test_the_explorer_shows_and_copies_them(parts: list[Path], united: ObjectBank) -> None:
    assert len(BankBrowser(united).find()) == 48
    sources = ExplorerInputs(bank=tuple(parts))
    scope: dict[str, Any] = {}
    exec(clip_python(Controls(frames=4, side=64), sources), scope)
    assert scope["maker"].bank.folders == tuple(parts)
    words = shlex.split(clip_command(Controls(), sources))
    assert words[words.index("--bank") + 1 :][:3] == [str(part) for part in parts]
    some = replace(sources, bank_weights=(3.0, 1.0, 1.0), exclude_categories=("cat",))
    with pytest.raises(InputError, match="has a weight, and no object"):
        some.open_bank(embedded_bank)  # The third has nothing that the second has not.
    some = replace(some, bank=tuple(parts[:2]), bank_weights=(3.0, 1.0))
    exec(clip_python(Controls(frames=4, side=64), some), scope)
    assert scope["maker"].bank.draws.chosen == {"weights": [3.0, 1.0], "exclude": ["cat"]}
    words = shlex.split(clip_command(Controls(), some))
    assert words[words.index("--bank-weights") + 1 :][:2] == ["3.0", "1.0"]
    assert words[words.index("--exclude-categories") + 1] == "cat"


def test_a_single_bank_is_opened_as_it_is(small_bank: ObjectBank) -> None:
    bank = open_bank(small_bank.path)
    assert type(bank) is ObjectBank
    assert bank.path == small_bank.path
    assert bank.folders == (small_bank.path,)


def test_what_cannot_be_used_as_one_is_refused(parts: list[Path], united: ObjectBank) -> None:
    with pytest.raises(InputError, match="the same bank as"):
        open_bank(parts[0], parts[0])
    with pytest.raises(InputError, match="no such folder"):
        open_bank(parts[0], parts[0] / "nowhere")
    with pytest.raises(InputError, match=r"\+ .*several banks .* bank merge"):
        _ = united.path
    with pytest.raises(InputError, match=r"small \+ .*both \+ .*: no object 'lost' among 48"):
        united.find("lost")


def test_a_file_that_is_cut_off_is_named(tmp_path: Path, small_bank: ObjectBank) -> None:
    cut = build(ProceduralSource(count=12, seed=78), tmp_path / "cut", workers=0)
    united = open_bank(small_bank.path, cut.path)
    with (cut.path / "packed/pixels.bin").open("rb+") as file:
        file.truncate(40)
    objects = np.array([0, next(i for i in range(42) if united.record(i)["united_from"])])
    united.read_levels(objects[:1], np.array([0]), np.array([5]))
    with pytest.raises(InputError, match=r"cut/packed/pixels.bin: cut off; remove .*cut/packed,"):
        united.read_levels(objects, np.zeros(2, int), np.full(2, 5))


def test_commands_take_several_banks(
    parts: list[Path],
    merged: ObjectBank,
    united: ObjectBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b, c = parts
    few = ("render", "--size", 64, "--frames", 4, "--format", "frames", "--workers", 0)
    assert run(*few, "--bank", a, b, c, "--out", tmp_path / "one") == 0
    assert "6 objects that two of them have are used once" in caplog.text
    assert run(*few, "--bank", a, f"--bank={b}", "--out", tmp_path / "two", "--bank", c) == 0
    assert run(*few, "--bank", merged.path, "--out", tmp_path / "merged") == 0
    pictures = sorted(path.relative_to(tmp_path / "one") for path in tmp_path.glob("one/**/*.png"))
    assert pictures
    for path in pictures:
        data = (tmp_path / "one" / path).read_bytes()
        assert data == (tmp_path / "two" / path).read_bytes()
        assert data == (tmp_path / "merged" / path).read_bytes()
    assert (tmp_path / "one/render.json").read_bytes() == (
        tmp_path / "merged/render.json"
    ).read_bytes()

    described = sorted(tmp_path.glob("one/*/*.json"))
    sources = set[int]()
    for path in described:
        data = json.loads(path.read_text())
        assert data["bank"] == [str(part) for part in parts]
        clip = read_clip(path, united)
        theirs = read_clip(tmp_path / "merged" / path.relative_to(tmp_path / "one"), merged)
        assert (clip.frames == theirs.frames).all()
        plan = read_plan(path, united)
        assert (Truth(plan, united).ids == clip.truth.ids).all()
        for thing, entry in zip(plan.objects, data["plan"]["objects"], strict=True):
            assert united.record(thing)["id"] == entry["id"]
            assert united.record(thing)["united_from"] == entry["united_from"]
            sources.add(entry["united_from"])
    assert sources == {0, 1}

    capsys.readouterr()
    assert run(*few, "--bank", a, b, c, "--out", tmp_path / "one") == 0
    assert "8 of them there already" in capsys.readouterr().out
    assert run(*few, "--bank", a, b, "--out", tmp_path / "one") == 0  # The third has nothing new.
    for others in ((b, a, c), (a, c), (a,)):
        assert run(*few, "--bank", *others, "--out", tmp_path / "one") == 2
        assert "holds clips made otherwise (bank_sha256" in capsys.readouterr().err

    page = tmp_path / "page.html"
    assert run("preview", "--bank", a, b, "--n", 1, "--size", 64, "--out", page) == 0
    assert page.is_file()
    assert run("preview", "--bank", "--n", 1, "--size", 64, "--out", page) == 2
    assert "--bank: no value is given" in capsys.readouterr().err


def test_values_given_again_are_gathered() -> None:
    from smile_motion.cli.render import Options

    words = ["--out", "bank", "--bank", "A", "--n", "3", "--bank=B", "--bank", "C", "D", "-h", "E"]
    gathered = gather_repeated_options(Options, words)
    assert gathered == ["--out", "bank", "--bank", "A", "B", "C", "D", "--n", "3", "-h", "E"]
    assert gather_repeated_options(Options, ["--n", "3"]) == ["--n", "3"]
