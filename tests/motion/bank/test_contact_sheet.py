import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFont
from smile_motion.bank import ObjectBank, build
from smile_motion.bank.builder.sources import SourceObject
from smile_motion.bank.contact_sheet import (
    MARGIN,
    PAGE_HEIGHT_PX,
    PAGE_WIDTH_PX,
    Section,
    SheetLayout,
    Tile,
    drawable,
    shorten,
    thumbnail,
    wrap,
)
from smile_motion.bank.contact_sheet_pages import object_sections, refused_sections
from smile_motion.errors import InputError

REASONS = (
    "score 17.25 below 21.00",
    "area share 0.031 below 0.05",
    "no confident mask: raw maximum 0.31, above 0.5 asked for",
)


@dataclass(frozen=True)
class ScoredPhotographs:
    """Photographs cut out by ellipses, with scores as a diffusion build records them."""

    folder: Path
    categories: tuple[str, ...]
    per_category: int

    @property
    def count(self) -> int:
        return self.per_category * len(self.categories)

    def make(self, number: int) -> SourceObject:
        category, attempt = divmod(number, self.per_category)
        files = sorted(self.folder.iterdir())
        picture = cv2.cvtColor(cv2.imread(str(files[number % len(files)])), cv2.COLOR_BGR2RGB)
        size = (240, 180) if number % 2 else (150, 220)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        alpha = np.zeros(picture.shape[:2], np.uint8)
        centre, axes = (size[0] // 2, size[1] // 2), (size[0] // 2 - 2, size[1] // 2 - 2)
        cv2.ellipse(alpha, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        score = 18.0 + (number * 37 % 100) / 10
        details = {"score": score, "segmenter": ("u2net", "isnet")[number % 2]}
        return SourceObject(
            f"{attempt:06d}", self.categories[category], np.dstack([picture, alpha]), details
        )

    def card(self) -> dict[str, Any]:
        return {"source": "stable-diffusion", "licence": "CreativeML-OpenRAIL-M of the model"}


@pytest.fixture(scope="module")
def scored_bank(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """Objects with scores in three categories, and what was stored of refused candidates."""
    folder = tmp_path_factory.mktemp("scored") / "photographs"
    names = ("cat", "fire_engine", "very_long_name_of_a_category_that_no_column_could_ever_hold")
    build(ScoredPhotographs(photographs, names, 10), folder, workers=0)
    lines = []
    files = sorted(photographs.iterdir())
    for number in range(12):
        category, accepted = names[number % 2], number % 4 == 3
        record = {
            "id": f"{category}-{number:06d}",
            "segmenter": "u2net" if accepted else None,
            "category": category,
            "attempt": number,
            "prompt": f"a photo of a single {category}",
            "seed": number,
            "unsafe": False,
            "masks": [
                {"segmenter": "u2net", "score": 15.0 + number, "area_share": 0.4, "raw_max": 0.9},
                {"segmenter": "isnet", "score": -1.0, "area_share": 0.0, "raw_max": 0.2},
            ],
            "accepted": accepted,
            "reason": None if accepted else REASONS[number % 3],
        }
        lines.append(json.dumps(record) + "\n")
        if number != 4:
            image = folder / f"candidates/{category}/{number:06d}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), cv2.resize(cv2.imread(str(files[number % 6])), (256, 256)))
    (folder / "candidates.jsonl").write_text("".join(lines))
    return folder


def test_thumbnails_show_alpha_on_a_checkerboard() -> None:
    rgba = np.zeros((60, 120, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[:, :40, 3] = 255
    rgba[:, 40:80, 3] = 128
    shown = thumbnail(rgba, 64).astype(int)
    assert shown.shape == (64, 64, 3)
    middle = shown[32]
    assert (middle[6:18] == [255, 0, 0]).all()
    assert (np.abs(middle[26:38, 0] - 243) < 14).all()
    assert (np.abs(middle[26:38, 1] - 114) < 12).all()
    clear = shown[:16]
    assert {tuple(pixel) for pixel in clear.reshape(-1, 3).tolist()} == {(244,) * 3, (214,) * 3}


def test_small_objects_are_not_enlarged_and_hidden_colour_does_not_bleed() -> None:
    rgba = np.zeros((10, 10, 4), np.uint8)
    rgba[..., 1] = 255
    rgba[4:6, 4:6] = (0, 0, 255, 255)
    shown = thumbnail(rgba, 96)
    blue = (shown == [0, 0, 255]).all(axis=2)
    assert blue.sum() == 4
    assert (shown[..., 0][~blue] == shown[..., 1][~blue]).all()


def test_whole_pictures_fill_their_place(photographs: Path) -> None:
    picture = np.asarray(Image.open(photographs / "astronaut.jpg").convert("RGBA"))
    assert picture.shape[0] == picture.shape[1]
    expected = cv2.resize(picture[..., :3], (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(thumbnail(picture, 64).astype(int) - expected).max() <= 1


def test_text_is_shortened_to_its_place() -> None:
    font = ImageFont.load_default(12)
    assert shorten("cat", font, 60) == "cat"
    for width in (20, 47.5, 100):
        short = shorten("a category of many words", font, width)
        assert short.endswith("…")
        assert font.getlength(short) <= width
    lines = wrap("no confident mask: raw maximum 0.31, above 0.5 asked for", font, 90, 2)
    assert len(lines) == 2
    assert lines[0] == "no confident"
    assert lines[1].endswith("…")
    assert all(font.getlength(line) <= 90 for line in lines)
    assert wrap("score low", font, 90, 2) == ["score low"]
    assert drawable("café 中") == "cafe ?"


def test_pages_stay_bounded_for_every_category_of_lvis() -> None:
    tile = Tile(image=Path("x.png"), label="0")
    sections = [Section(name=f"c{n}", total=60, tiles=(tile,) * 8) for n in range(1203)]
    layout = SheetLayout.fit(sections)
    pages = layout.pages(sections)
    assert layout.page_width <= PAGE_WIDTH_PX
    assert layout.columns == 2
    assert [s for page in pages for row in page for s in row] == sections
    tallest = max(sum(max(map(layout.block_height, row)) + 16 for row in page) for page in pages)
    assert tallest < PAGE_HEIGHT_PX
    assert 30 < len(pages) < 50
    single = [Section(name="c", total=500, tiles=(tile,) * 500)]
    wide = SheetLayout.fit(single, cell=96)
    assert wide.page_width <= PAGE_WIDTH_PX
    assert wide.block_height(single[0]) > 30 * 96


def test_sections_hold_the_best_first_and_name_missing_categories(scored_bank: Path) -> None:
    sections = object_sections(scored_bank, per_category=4)
    assert [section.total for section in sections] == [10, 10, 10]
    scores = [tile.score or 0.0 for tile in sections[0].tiles]
    assert scores == sorted(scores, reverse=True)
    everything = object_sections(scored_bank, per_category=99)[0].tiles
    assert scores == sorted((tile.score or 0.0 for tile in everything), reverse=True)[:4]
    by_id = object_sections(scored_bank, per_category=4, order="id", categories=["cat"])
    assert [tile.label for tile in by_id[0].tiles] == ["000000", "000001", "000002", "000003"]
    with pytest.raises(InputError, match="nothing of category 'dog'"):
        object_sections(scored_bank, categories=["dog"])


def test_refused_candidates_come_with_reasons(scored_bank: Path, tmp_path: Path) -> None:
    cat, engine = refused_sections(scored_bank, per_category=99)
    assert (cat.name, cat.total, engine.total) == ("cat", 6, 3)
    assert [tile.score for tile in cat.tiles] == [25.0, 23.0, 21.0, 19.0, 17.0, 15.0]
    assert cat.tiles[0].note == REASONS[10 % 3]
    line = (scored_bank / "candidates.jsonl").read_text().splitlines()[0]
    spoilt = {
        "{": r"candidates\.jsonl:1: ",
        '{"category": "a"}': r"candidates\.jsonl:1: \w+ is missing",
        line.replace('"category": "cat"', '"category": ".."'): "category is '..'",
        line.replace('"category": "cat"', '"category": "a/b"'): "category is 'a/b'",
    }
    for text, message in spoilt.items():
        (tmp_path / "candidates.jsonl").write_text(text + "\n")
        with pytest.raises(InputError, match=message):
            refused_sections(tmp_path)


def test_the_command_draws_what_is_there(
    scored_bank: Path, tmp_path: Path, run_bank: Callable[..., subprocess.CompletedProcess]
) -> None:
    result = run_bank("sheet", scored_bank, "--per-category", 6, "--columns", 1)
    assert result.returncode == 0, result.stderr
    assert "18 of 30 objects, 3 categories" in result.stdout
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 6 * 96 + 5 * 8 + 2 * MARGIN
    best = object_sections(scored_bank)[0].tiles[0]
    picture = thumbnail(np.asarray(Image.open(best.image)), 96)
    top = MARGIN + 66 + 30
    np.testing.assert_array_equal(sheet[top : top + 96, MARGIN : MARGIN + 96], picture)
    label = sheet[top + 100 : top + 115, MARGIN : MARGIN + 96]
    assert (label[:, 60:] < 128).any()  # The score.
    for edge in (sheet[:10], sheet[-10:], sheet[:, :10], sheet[:, -10:]):
        assert (edge == 255).all()


def test_sheets_are_replaced_only_when_asked_to(
    scored_bank: Path, tmp_path: Path, run_bank: Callable[..., subprocess.CompletedProcess]
) -> None:
    many = run_bank("sheet", scored_bank, "--per-category", 10, "--cell", 500, "--sort", "id")
    assert many.returncode == 0, many.stderr
    pages = sorted(path.name for path in tmp_path.iterdir())
    assert len(pages) > 1
    assert pages[0] == "sheet-01.png"
    again = run_bank("sheet", scored_bank, "--refused")
    assert again.returncode == 2
    assert "already there; add --force" in again.stderr
    forced = run_bank("sheet", scored_bank, "--refused", "--force")
    assert "9 of 9 refused candidates" in forced.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", 10], "48 to 512"),
        (["--columns", 0], "1 to 32"),
        (["--per-category", 0], "give 1 or more"),
        (["--out", "sheet.jpg"], "sheets are PNG"),
        (["--out", "."], "sheets are PNG"),
        (["--category", "dog"], "nothing of category 'dog'"),
    ],
)
def test_bad_options_are_one_line(
    small_bank: ObjectBank,
    run_bank: Callable[..., subprocess.CompletedProcess],
    tmp_path: Path,
    arguments: list,
    message: str,
) -> None:
    result = run_bank("sheet", small_bank.path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert "only banks built by" in run_bank("sheet", small_bank.path, "--refused").stderr
