"""Pages in a real browser, of files whose every value is markup: it is shown, and nothing runs."""

import ast
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import smile_motion
import smile_train
from jinja2 import UndefinedError
from smile_motion import ObjectBank
from smile_motion.__main__ import COMMANDS
from smile_motion.bank.dataset_card import write_dataset_card
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.explore.guard import UploadLimits
from smile_motion.explore.objects import BankBrowser
from smile_motion.explore.page import Uploads, page_routes
from smile_motion.explore.server import Request
from smile_motion.io.files import dump_json, dump_lines, sha256
from smile_motion.io.markup import Markdown, render_html, source_hash
from support.explorer_process import explorer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RUN = "window.hostile=1"
MARKUP = f"\"'><img src=x onerror={RUN}><script>{RUN}</script>"
"""Of which no part has a slash before its last tag, so that it can be part of a name."""
NAME = f"'\"><img src=x onerror={RUN}>${{{RUN}}}{{{{this}}}}"
"""The same as a name of a file, and as template languages have it."""


def hostile_bank(source: Path, folder: Path, **more: object) -> Path:
    """A sound bank, with markup in its names and wherever else its records say something."""
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "packed", ignore_errors=True)
    records = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for number, record in enumerate(records):
        for name, value in record.items():
            if isinstance(value, str) and name not in ("id", "file_name", "category", "sha256"):
                record[name] = MARKUP
        image = f"images/{NAME}/{number:02d}.png"
        (folder / image).parent.mkdir(exist_ok=True)
        (folder / record["file_name"]).rename(folder / image)
        record |= {"id": f"{NAME}/{number:02d}", "category": NAME, "file_name": image}
        record |= {"prompt": MARKUP, **more}
    lines = dump_lines(records)
    (folder / "metadata.jsonl").write_bytes(lines)
    card = json.loads((folder / "bank.json").read_text())
    for name, value in card.items():
        if isinstance(value, str):
            card[name] = MARKUP
    (folder / "bank.json").write_bytes(dump_json(card | {"metadata_sha256": sha256(lines)}))
    return folder


def require_calm(page: "Page") -> None:
    """Nothing ran, and what would have is text."""
    page.wait_for_timeout(100)  # An image that is not there is found missing.
    assert page.evaluate("window.hostile") is None
    assert page.locator("img[src=x]").count() == 0
    assert NAME in page.evaluate("document.body.textContent")


def require_no_way_in(page: "Page") -> None:
    """Where escaping would be forgotten, the page's policy lets nothing run."""
    page.evaluate(
        """(code) => {
            const holder = document.createElement('div');
            document.body.append(holder);
            // Pages with scripts of their own refuse texts where markup or scripts are made.
            for (const act of [
                () => {
                    holder.innerHTML = `<img src=x onerror="${code}"><b onclick="${code}">b</b>
                        <iframe srcdoc="<script>parent.${code}</script>"></iframe>`;
                    holder.querySelector('b').click();
                },
                () => {
                    const script = document.createElement('script');
                    script.textContent = code;
                    holder.append(script);
                },
                () => {
                    const loaded = document.createElement('script');
                    loaded.src = 'data:text/javascript,' + code;
                    holder.append(loaded);
                },
                () => holder.setAttribute('onclick', code) || holder.click(),
                () => setTimeout(code, 0),
            ]) {
                try { act(); } catch (error) { if (!(error instanceof TypeError)) throw error; }
            }
        }""",
        RUN,
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.hostile") is None


@pytest.mark.slow
def test_nothing_of_a_strangers_bank_runs_in_the_explorer(
    browser: "Browser",
    small_bank: ObjectBank,
    real_videos: dict[str, Path],
    tmp_path: Path,
) -> None:
    folder = hostile_bank(small_bank.path, tmp_path / "bank")
    upload = tmp_path / f"{NAME}.mp4"
    upload.write_bytes(real_videos["bikes"].read_bytes()[:90_000])
    (tmp_path / "temporary").mkdir()
    with explorer(tmp_path / "temporary", "--bank", folder) as running:
        page = browser.new_page()
        page.goto(running.address)
        page.wait_for_selector("canvas", timeout=60_000)
        page.check("input[value=boxes]")
        require_calm(page)
        page.click("#tab-bank")
        page.wait_for_selector("#objects img")
        assert NAME in page.inner_text("#objects")
        page.click("#objects button >> nth=0")
        page.wait_for_selector("dialog[open]")
        assert MARKUP in page.inner_text("dialog")
        require_calm(page)
        page.keyboard.press("Escape")
        page.click("#tab-motion")
        page.locator("#knob-upload").set_input_files(upload)
        page.wait_for_selector("#problem:not([hidden])")
        require_calm(page)
        require_no_way_in(page)
        page.close()


@pytest.mark.slow
def test_nothing_of_a_strangers_files_runs_in_written_pages(
    browser: "Browser", small_bank: ObjectBank, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    folder = hostile_bank(small_bank.path, tmp_path / "bank")
    video = tmp_path / f"{NAME}.mp4"
    shutil.copyfile(real_videos["bikes"], video)
    out = tmp_path / "preview.html"
    words = ["--bank", folder, "--videos", video, "--background", "natural", "--n", "1"]
    words += ["--frames", "2", "--size", "64", "--out", out]
    assert run_app("smile-motion", "", COMMANDS, ["preview", *map(str, words)]) == 0
    opened = browser.new_page()
    opened.goto(out.as_uri())
    opened.wait_for_selector("canvas")
    require_calm(opened)
    assert opened.evaluate(
        "getComputedStyle(document.querySelectorAll('td:first-child')[1]).color"
    ) == ("rgb(0, 214, 255)")
    require_no_way_in(opened)
    opened.close()


@pytest.mark.parametrize("name", ["width", "height", "clip_score", "area"])
def test_numbers_of_records_that_are_markup_are_refused_or_text(
    small_bank: ObjectBank, tmp_path: Path, name: str
) -> None:
    folder = hostile_bank(small_bank.path, tmp_path / "bank", **{name: MARKUP})
    try:
        browser = BankBrowser(ObjectBank.open(folder))
        found = browser.page(browser.find(), 1), browser.portrait(0)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert json.loads(json.dumps(found))  # Plain values: the page sets them as text.


def test_cards_of_data_sets_hold_no_markup_of_others(tmp_path: Path) -> None:
    hostile = f"{MARKUP}\n# head\n| cell | [link](javascript:{RUN}) ![x](y) `code` *b* _i_ &lt;"
    records = [{"category": hostile, "segmenter": hostile, "id": hostile}]
    card = {"source": hostile, "licence": hostile, "safety": {hostile: hostile}, hostile: hostile}
    write_dataset_card(tmp_path / "README.md", card, records, name=hostile)
    text = (tmp_path / "README.md").read_text().partition("\n---\n")[2]
    import markdown

    made = markdown.markdown(text, extensions=["tables", "fenced_code"])
    for forbidden in ("<img", "<script", "<a ", "<em>", "<strong>", "head</h"):
        assert forbidden not in made
    assert made.count("<h1>") == 1
    assert "&lt;img src=x" in made


def test_markdown_escapes_what_is_none() -> None:
    assert Markdown("| {} | {:.1f} |").format("a|b_c\n<i>", 0.25) == "| a\\|b\\_c &lt;i&gt; | 0.2 |"


TAG = re.compile(r"</[a-z][a-z0-9]*>|<(?:a|b|div|h[1-6]|i|img|p|script|span|style|table|t[dhr])\b")
PACKAGES = [Path(smile_motion.__file__).parent, Path(smile_train.__file__).parent]


def test_tags_stand_in_templates_alone() -> None:
    """A tag in a text that is no template would be put together by hand."""
    found = []
    for path in (path for folder in PACKAGES for path in folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        templates = {
            id(part)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Markdown", "Markup")
            for part in ast.walk(call)
        }
        found += [
            f"{path}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and TAG.search(node.value)
            and id(node) not in templates
            and path.name != "markup.py"
        ]
    assert not found


def test_templates_escape_every_value_and_lead_nowhere() -> None:
    templates = [path for folder in PACKAGES for path in folder.rglob("*.html")]
    assert {"page.html", "preview.html", "explorer.html"} <= {path.name for path in templates}
    for path in templates:
        text = path.read_text(encoding="utf-8")
        # A page's one script is its template's, or a file beside it.
        text = text.replace("<script>{% block script %}", "")
        if path.name == "served_page.html":  # Files that the server of the page names.
            text = text.replace('<script src="{{ name }}"></script>', "")
            text = text.replace('href="{{ name }}"', 'href="name.css"')
        assert not re.search(r"\|\s*safe|autoescape|<script|=\s*\{\{|='|\son[a-z]+=", text), path
        addresses = re.findall(r'\b(?:src|href)\s*=\s*"([^"]*)"', text)
        assert all(re.match(r"data:image/[a-z]+;base64,|#|[a-z]+\.css$", it) for it in addresses), (
            path
        )
        assert text.count("src=") + text.count("href=") == len(addresses), path


@pytest.mark.parametrize("place", ["smile_motion/explore/explorer", "smile_train/explore/encoder"])
def test_served_pages_name_files_of_their_server_alone(place: str, tmp_path: Path) -> None:
    (page,) = {path for folder in PACKAGES if (path := folder.parent / f"{place}.html").exists()}
    uploads = Uploads(UploadLimits(bytes=1, seconds=1, folder=tmp_path), kept=False)
    routes = page_routes(page, {}, uploads, title="<script>alert(1)</script>")
    text = routes["/"].answer(Request()).body.decode()
    named = re.findall(r'\b(?:src|href)\s*=\s*"([^"]*)"', text)
    files = {name for name in named if not name.startswith("data:image/gif;base64,")}
    assert {f"/{name}" for name in files} == {name for name in routes if "." in name}
    assert text.count("<script") == text.count('<script src="')
    assert "<title>&lt;script&gt;" in text


def test_scripts_make_no_markup() -> None:
    """Values of others are set as text; the pages' policy refuses the rest, this says it sooner."""
    scripts = [path for folder in PACKAGES for path in folder.rglob("*.js")]
    assert {"player.js", "explorer.js"} <= {path.name for path in scripts}
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"(inner|outer)HTML|insertAdjacent|document\.write|\beval\b|new Function|srcdoc|"
            r"javascript:|DOMParser|https?://(?!www\.w3\.org/2000/svg)",
            text,
        ), path
        assert "</script" not in text.lower()


def test_pages_show_values_as_text(tmp_path: Path) -> None:
    hostile: Any = MARKUP
    template = tmp_path / "template.html"
    template.write_text(
        '{% extends "page.html" %}{% block style %}p { color: red }{% endblock %}'
        '{% block body %}<p title="{{ said }}">{{ said }}</p>{% endblock %}'
    )
    made = render_html(template, title=hostile, said=hostile)
    assert made.count("<script") == made.count("<img") == 0
    assert made.count("&lt;script") == 3
    policy = f"style-src {source_hash('p { color: red }')};"
    assert policy in str(made).replace("&#39;", "'")
    with pytest.raises(UndefinedError, match="'said' is undefined"):
        render_html(template, title="t")
