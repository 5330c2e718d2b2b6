"""Messages name whatever files are called, in one line that no terminal obeys."""

import pickle
from pathlib import Path

import pytest
from smile_motion.cli.app import Command, run_app
from smile_motion.errors import InputError, UnusableFile, in_one_line, printable

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
    for kind in (InputError, UnusableFile):
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
