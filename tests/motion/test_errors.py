"""Messages are one line that no terminal obeys, and reach the user as they were raised."""

import io
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from smile_motion import ObjectBank
from smile_motion.bank.candidates.segmenters.onnx import ModelDescription
from smile_motion.cli.app import Command, run_app
from smile_motion.cli.render import Options as RenderOptions
from smile_motion.errors import (
    BankError,
    FolderInUse,
    InputError,
    MissingExtra,
    OptionError,
    UnusableFile,
    in_one_line,
    printable,
)
from smile_motion.io.components import component_to_json
from smile_motion.io.images import open_image
from smile_motion.io.options import require_within
from smile_motion.io.output_folders import folder_lock
from smile_motion.io.schema import parse_component, read
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.runtime.extras import require_extra
from smile_motion.video.tar import members
from smile_train.datasets.annotations import reading
from smile_train.datasets.registry import DatasetPlace
from smile_train.teachers.clip import ClipTeacher

KINDS = (InputError, OptionError, UnusableFile, BankError, FolderInUse, MissingExtra)

NAMES = {
    "a\nb\tc.mp4": r"a\nb\tc.mp4",
    "\x1b]0;owned\x07.mp4": r"\x1b]0;owned\x07.mp4",
    "\x9b31m\u2028x\x7f.mp4": r"\x9b31m\u2028x\x7f.mp4",
    "Größe 猫 \\n.mp4": "Größe 猫 \\n.mp4",
    "\udcff.mp4": "\udcff.mp4",  # Not UTF-8; streams of text escape it.
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_names_in_messages_are_printable(name: str, shown: str) -> None:
    assert printable(name) == shown
    for kind in KINDS:
        error = kind(f"{name}: no frame in it")
        assert str(error) == f"{shown}: no frame in it"
        assert error.args == (f"{name}: no frame in it",)
        again = pickle.loads(pickle.dumps(error))  # As it comes from a worker.
        assert (type(again), again.args) == (kind, error.args)
        assert in_one_line(error) == str(error)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("\udcff")])
def test_commands_print_a_name_as_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [Command("verify", "", "smile_motion.cli.bank.verify")]
    assert run_app("program", "", commands, ["verify", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert NAMES[name] in said
    assert said.count("\n") == 1


def test_every_refusal_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
    assert all(issubclass(kind, InputError) for kind in KINDS)


def read_large_image(folder: Path) -> None:
    Image.new("L", (65, 1)).save(folder / "x.png")
    with open_image(folder / "x.png", largest_px=64):
        pass


def refuse_open_image(folder: Path) -> None:
    Image.new("L", (1, 1)).save(folder / "x.png")
    with open_image(folder / "x.png", largest_px=64):
        raise InputError(f"{folder}/x.png: refused; remove it")


def read_wrong_type(folder: Path) -> None:
    (folder / "x.json").write_text('{"a": true}')
    read(folder / "x.json", dict[str, int], remedy="write it again")


def read_refused_component(folder: Path) -> None:
    data = component_to_json(MotionRecipe()) | {"objects": 256}
    parse_component(data, MotionRecipe, source=f"{folder}/x.json")


def list_escaping_member(folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../a.mp4"))
    members(folder / "x.tar")


def list_cut_archive(folder: Path) -> None:
    member = tarfile.TarInfo("a.mp4")
    member.size = 5000
    with tarfile.open(folder / "x.tar", "w") as tar:
        tar.addfile(member, io.BytesIO(bytes(5000)))
    os.truncate(folder / "x.tar", 2048)
    members(folder / "x.tar")


def read_undecodable_description(folder: Path) -> None:
    (folder / "x.toml").write_bytes(b"size_px = 64\n\xff")
    ModelDescription.beside(folder / "x.onnx")


def read_wrong_description(folder: Path) -> None:
    (folder / "x.toml").write_text("mean = 0")
    ModelDescription.beside(folder / "x.onnx")


def refuse_annotations(folder: Path) -> None:
    with reading(DatasetPlace(name="ssv2", root=folder), folder / "labels.json"):
        raise InputError(f"{folder}/x.csv: no such file; download it again")


MESSAGES = {
    read_large_image: "x.png: 65 x 1 px, at most 64 a side are read; make it smaller",
    refuse_open_image: "x.png: refused; remove it",
    read_wrong_type: "x.json: a is True; expected a valid integer; write it again",
    read_refused_component: "x.json: objects is 256; a clip can have 0 to 255",
    list_escaping_member: (
        "x.tar: its member '../a.mp4' would lie outside it; write it again from inside the folder"
    ),
    list_cut_archive: "x.tar: cut short or damaged; copy it again",
    read_undecodable_description: "x.toml:2: not UTF-8 text; save it as UTF-8; write it anew",
    read_wrong_description: (
        "x.toml: no size_px; add the model's input size, such as size_px = 1024"
    ),
    refuse_annotations: "x.csv: no such file; download it again",
}


@pytest.mark.parametrize(("act", "message"), MESSAGES.items())
def test_messages_stay_whole_where_value_errors_are_handled(
    act: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        act(tmp_path)
    assert str(refused.value) == f"{tmp_path}/{message}"


def test_a_teacher_that_cannot_be_built_says_why() -> None:
    weights = {
        "visual.conv1.weight": torch.zeros(65, 3, 2, 2),
        "visual.positional_embedding": torch.zeros(5, 65),
        "visual.proj": torch.zeros(65, 8),
    }
    with pytest.raises(InputError, match=r"^teacher weights: width 65 cannot be split over 2 "):
        ClipTeacher.from_visual_weights(weights, heads=2)


def test_kinds_of_refusals_can_be_caught(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no such folder"):
        ObjectBank.open(tmp_path / "none")
    (tmp_path / "bank.json").write_text("{")
    with pytest.raises(BankError, match=r"bank\.json: not JSON"):
        ObjectBank.open(tmp_path)
    with pytest.raises(MissingExtra, match="--extra nothing"):
        require_extra("this", "not_a_module", extra="nothing")
    with folder_lock(tmp_path), pytest.raises(FolderInUse, match="wait, or choose"):
        folder_lock(tmp_path).__enter__()
    with pytest.raises(OptionError, match="--n is 0; give 1 or more"):
        require_within(RenderOptions(out=tmp_path, n=0))


@dataclass(frozen=True, kw_only=True)
class Nested:
    """Options below others."""

    sides: tuple[int, ...] = ()
    """Refused where odd."""

    def __post_init__(self) -> None:
        if odd := [side for side in self.sides if side % 2]:
            raise InputError(f"--sides {odd[0]} is odd; give {odd[0] + 1}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a command whose checks refuse."""

    nested: Nested = Nested()
    """A group."""
    frames: int = 2
    """Refused where odd."""

    def __post_init__(self) -> None:
        if self.frames % 2:
            raise InputError(f"--frames {self.frames} is odd; give {self.frames + 1}")


def run(options: Options) -> None:
    print(options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frames", "3"], "program test: --frames 3 is odd; give 4\n"),
        (["--nested.sides", "2", "5"], "program test: --sides 5 is odd; give 6\n"),
    ],
)
def test_checks_of_options_speak_for_themselves(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app("program", "", [Command("test", "", __name__)], ["test", *arguments]) == 2
    assert capsys.readouterr() == ("", said)
    run_app("program", "", [Command("test", "", __name__)], ["test", "--debug", *arguments])
    assert "Traceback" in capsys.readouterr().err


def test_other_mistakes_are_explained_by_tyro(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_app("program", "", [Command("test", "", __name__)], ["test", "--frames", "x"])
    assert ended.value.code == 2
    assert "Error parsing --frames: invalid literal for int()" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "smile_motion render --shard-index 4 --num-shards 2 --out x",
            "smile-motion render: shard 4 of 2: --shard-index runs from 0 to --num-shards - 1\n",
        ),
        (
            "smile_motion preview --videos . --background noise",
            "smile-motion preview: --videos goes with --background natural or frame, and is not "
            "used by --background noise; leave one of them out\n",
        ),
        (
            "smile_train probe strict x --dataset ssv2 --data . --penalties 0 --out x",
            "smile-train probe strict: --penalties is 0.0; give more than 0\n",
        ),
    ],
)
def test_processes_refuse_in_one_line(command: str, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert not (tmp_path / "x").exists()
