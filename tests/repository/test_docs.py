"""The pages build with strict links, and what they tell to run exists."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import tyro
from PIL import Image
from smile_motion.cli.app import Command

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
COOKBOOK = (ROOT / "docs/cookbook.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_builds_with_strict_links(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    built = subprocess.run(
        [*command, "--quiet"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    api = (tmp_path / "site/api/motion/index.html").read_text()
    names = ("motion.recipe.MotionRecipe", "bank.builder.build.build", "bank.integrity.verify")
    for name in (*names, "video.index"):
        assert f'id="smile_motion.{name}' in api, name
    for page in pages:  # nothing is fetched from elsewhere
        text = page.read_text()
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]+', text), page


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_of_the_pages_have_these_options(page: Path, capsys) -> None:
    """Each line of a `bash` block that starts a program of ours parses."""
    from smile_motion.__main__ import COMMANDS as MOTION
    from smile_train.__main__ import COMMANDS as TRAIN

    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), re.M | re.S)
    programs = {
        ("smile-motion",): MOTION,
        ("smile-train",): TRAIN,
        ("accelerate", "launch", "-m", "smile_train"): TRAIN,
    }
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for start, commands in programs.items():
            if tuple(words[: len(start)]) == start and len(words) > len(start):
                code = _parse(_before_shell(words[len(start) :]), commands)
                assert not code, f"{line}\n{capsys.readouterr()}"


def _parse(words: list[str], commands: Sequence[Command]) -> object:
    """Read a command's options without running it; return the exit code."""
    found = [entry for entry in commands if words[: len(entry.name.split())] == entry.name.split()]
    if not found:
        return f"no command {words[:2]}"
    command = max(found, key=lambda entry: len(entry.name))
    arguments = words[len(command.name.split()) :]
    module = command.load()
    given = {"default": module.defaults(arguments)} if hasattr(module, "defaults") else {}
    try:
        tyro.cli(module.Options, args=arguments, **given)
    except SystemExit as ended:
        return ended.code
    return 0


def _before_shell(words: list[str]) -> list[str]:
    """A command's own words, without `--json`, and before a pipe or a redirection."""
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&", "&", "…")]
    return [word for word in words[: min(ends, default=None)] if word not in ("--json", "--debug")]


def test_the_snippet_for_people_from_kubric_runs() -> None:
    page = (ROOT / "docs/coming_from.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    names: dict = {}
    exec(compile(code, "coming_from.md", "exec"), names)
    assert names["clip"].truth.boxes.shape == (3, 24, 4)


@pytest.mark.slow
def test_the_page_of_recipes_runs() -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/recipes.md").read_text(), re.M | re.S
    )
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "recipes.md", "exec"), {})


def test_the_page_of_recipes_has_every_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices that are new must be told of, and their pictures drawn."""
    monkeypatch.syspath_prepend(ROOT / "docs/drawing")
    drawing = importlib.import_module("draw_recipes")
    page = (ROOT / "docs/recipes.md").read_text()
    for option in (
        "recipe",
        "path",
        "transform",
        "background",
        "noise",
        "camera",
        "effects",
        "animation",
    ):
        for choice in drawing.choices(option):
            assert f"`{choice}`" in page, (option, choice)
    shown = set(re.findall(r"pictures/recipes-(\w+)\.webp", page))
    options = drawing.Options(videos=Path("videos"), images=Path("images"))
    assert shown == set(drawing.cells(options))


def test_the_gallery_is_light_and_whole() -> None:
    shown = re.findall(r"\(pictures/(gallery-\w+\.webp)\)", (ROOT / "docs/gallery.md").read_text())
    pictures = sorted((ROOT / "docs/pictures").glob("gallery-*.webp"))
    assert sorted(shown) == [path.name for path in pictures]
    sizes = [path.stat().st_size for path in pictures]
    assert max(sizes) < 1 << 20
    assert sum(sizes) < 6 << 20
    for path in pictures:
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == 24, path


@pytest.mark.slow
def test_the_page_of_clips_from_files_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cookbook says of a clip's file, after the command above it has written one."""
    from smile_motion.__main__ import COMMANDS
    from smile_motion.cli.app import run_app

    monkeypatch.chdir(tmp_path)
    words = "render --background noise --n 4 --out clips/noise"
    assert f"smile-motion {words.replace('--n 4', '--n 64')}\n" in COOKBOOK
    assert run_app("smile-motion", "", COMMANDS, words.split()) == 0
    block = re.search(r"## A clip from its file\n\n```python\n(.*?)^```", COOKBOOK, re.M | re.S)
    assert block is not None
    exec(compile(block[1], "cookbook.md", "exec"), {})
