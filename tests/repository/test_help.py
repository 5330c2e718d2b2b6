"""`--help` of every command: what it shows, in which order, and that its examples are right."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
import smile_motion.__main__
import smile_train.__main__
from smile_motion.cli.app import Command, read_options, run_app
from smile_motion.cli.help import grouped_options, help_page

COMMANDS = {
    **{f"smile-motion {entry.name}": entry for entry in smile_motion.__main__.COMMANDS},
    **{f"smile-train {entry.name}": entry for entry in smile_train.__main__.COMMANDS},
}


def page_of(name: str) -> str:
    module = COMMANDS[name].load()
    default = module.defaults(["--help"]) if hasattr(module, "defaults") else None
    return help_page(name, module, default, width=100)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_reads_as_people_write(name: str) -> None:
    page = page_of(name)
    for parser_talk in ("None}", "default: None", "(default: )", "Annotated", "<class"):
        assert parser_talk not in page, parser_talk
    assert not re.search(r"Default:[^\n]*\n?[^\n]*\(default:", page)
    assert max(map(len, page.splitlines())) <= 100
    headings = re.findall(r"^(\S.*):$", page, re.M)
    assert headings[-2:] == ["every command", "examples"]
    assert page.index("-h, --help") > max(page.rindex(f"{word}:\n") for word in headings[:-1])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_shown_once_with_its_text(name: str) -> None:
    kind = COMMANDS[name].load().Options
    shown = [option for _, options in grouped_options(kind) for option in options]
    assert sorted(option.name for option in shown) == sorted(_names(kind))
    assert all(len(option.text) > 3 for option in shown)
    claimed = [name for names in getattr(kind, "GROUPS", {}).values() for name in names]
    assert len(set(claimed)) == len(claimed)


def _names(kind: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            yield from _names(hints[field.name], f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_command_lines_that_are_taken(name: str) -> None:
    examples = COMMANDS[name].load().EXAMPLES
    assert examples
    for line in examples:
        words = [word for word in shlex.split(line.partition(" > ")[0]) if word != "--json"]
        found = _command(" ".join(words))
        assert words[: len(found.split())] == found.split()
        read_options(found, COMMANDS[found].load(), words[len(found.split()) :])


def _command(line: str) -> str:
    return max((name for name in COMMANDS if f"{line} ".startswith(f"{name} ")), key=len)


def test_what_one_needs_comes_first() -> None:
    first = {
        "smile-motion render": "  --out PATH\n      Folder for the clips. (required)",
        "smile-motion bank export": "  FOLDER\n      The bank's folder. (required)",
        "smile-train pretrain": "  --preset TEXT\n",
        "smile-train probe strict": "  CHECKPOINT\n",
        "smile-train evaluate gains": "  FIRST\n",
    }
    for name, start in first.items():
        options = page_of(name).split(":\n", 1)[1]
        assert options.startswith(start), name


def test_a_preset_s_values_are_told_as_such() -> None:
    page = page_of("smile-train pretrain")
    assert re.search(r"--objects INT\n[^-]*\(preset: 4\)", page)
    assert re.search(r"--mask-ratio FLOAT\n[^-]*\(default: 0.8\)", page)


def test_an_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(COMMANDS["smile-motion render"].load().EXAMPLES[0])[1:]
    commands = [Command("render", "", "smile_motion.cli.render")]
    assert run_app("smile-motion", "", commands, [*words, "--n", "1", "--size", "32"]) == 0
    assert len(list(tmp_path.glob("clips/*.mp4"))) == 1
    assert "1 clips" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["smile_motion render --help", "smile_train pretrain -h"])
def test_help_is_printed_without_the_reader_of_arguments(line: str) -> None:
    """tyro takes a tenth of a second to import, numerical libraries more."""
    program, command, flag = line.split()
    code = (
        f"import sys, smile_motion.cli.app as app, {program}.__main__ as program\n"
        f"assert app.run_app('x', '', program.COMMANDS, ['{command}', '{flag}']) == 0\n"
        "heavy = {'tyro', 'numpy', 'torch', 'rich', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.startswith(f"usage: x {command}")
