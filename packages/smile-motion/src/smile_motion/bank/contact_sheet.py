"""Draw contact sheets: thumbnails of objects, grouped by category, on one or more pages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from smile_motion.bank.format import read_rgba
from smile_motion.errors import InputError
from smile_motion.runtime.devices import available_cores
from smile_motion.runtime.tasks import map_in_threads

PAGE_WIDTH_PX = 1800
"""Page width up to which categories are placed side by side, pixels."""
PAGE_HEIGHT_PX = 2400
"""Page height above which a new page begins, pixels."""
MARGIN, GAP, GUTTER = 28, 8, 36
"""Space around a page, between tiles, and between categories side by side, pixels."""
TITLE, HEADER, LINE = 66, 30, 15
"""Heights of a page's title, a category's name, and a line under a tile, pixels."""
SPACE_BELOW = 16
"""Space between rows of categories, pixels."""
SQUARE_PX = 8
"""Side of a square of the checkerboard, pixels."""
LIGHT, DARK = 244, 214
"""Gray levels of the checkerboard."""
PAPER, INK, FAINT, RULE = (255, 255, 255), (24, 28, 34), (118, 124, 134), (222, 225, 230)
"""Colors of the page, text, secondary text and lines."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One thumbnail of a sheet."""

    image: Path
    """Image file."""
    label: str
    """Text below it, on the left."""
    score: float | None = None
    """CLIP score, shown below it on the right."""
    note: str | None = None
    """Text below both, on up to three lines."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One category of a sheet."""

    name: str
    """Name of the category."""
    total: int
    """Number of its objects, shown or not."""
    tiles: tuple[Tile, ...]
    """The objects that are shown."""


@dataclass(frozen=True, kw_only=True)
class SheetLayout:
    """Geometry of the pages of a sheet."""

    cell: int
    """Side of a thumbnail, pixels."""
    across: int
    """Thumbnails side by side in a category."""
    columns: int
    """Categories side by side."""
    lines: int
    """Lines of text below a thumbnail."""

    @classmethod
    def fit(
        cls, sections: Sequence[Section], *, cell: int = 96, columns: int | None = None
    ) -> SheetLayout:
        """Choose how many thumbnails and categories fit side by side.

        Args:
            sections: Categories to show.
            cell: Side of a thumbnail, pixels, 48 to 512.
            columns: Categories side by side, 1 to 32; as many as fit by default.

        Raises:
            InputError: A size is out of range.
        """
        if not 48 <= cell <= 512:
            raise InputError(f"--cell is {cell}; pictures of 48 to 512 pixels can be drawn")
        if columns is not None and not 1 <= columns <= 32:
            raise InputError(f"--columns is {columns}; 1 to 32 categories go side by side")
        room = PAGE_WIDTH_PX - 2 * MARGIN
        widest = max(len(section.tiles) for section in sections)
        across = max(1, min(widest, (room + GAP) // (cell + GAP)))
        width = across * (cell + GAP) - GAP
        fitting = max(1, (room + GUTTER) // (width + GUTTER))
        noted = any(tile.note for section in sections for tile in section.tiles)
        return cls(
            cell=cell,
            across=across,
            columns=columns or min(fitting, len(sections)),
            lines=4 if noted else 1,
        )

    @property
    def block_width(self) -> int:
        """Width of a category, pixels."""
        return self.across * (self.cell + GAP) - GAP

    @property
    def page_width(self) -> int:
        """Width of a page, pixels."""
        return self.columns * (self.block_width + GUTTER) - GUTTER + 2 * MARGIN

    @property
    def tile_height(self) -> int:
        """Height of a thumbnail with its text, pixels."""
        return self.cell + 4 + self.lines * LINE

    def block_height(self, section: Section) -> int:
        """Height of a category, pixels."""
        rows = -(-len(section.tiles) // self.across)
        return HEADER + rows * (self.tile_height + GAP) - GAP

    def pages(self, sections: Sequence[Section]) -> list[list[Sequence[Section]]]:
        """Divide categories into pages, each a list of rows of categories."""
        pages: list[list[Sequence[Section]]] = [[]]
        used = TITLE + 2 * MARGIN
        for start in range(0, len(sections), self.columns):
            row = sections[start : start + self.columns]
            height = max(map(self.block_height, row)) + SPACE_BELOW
            if pages[-1] and used + height > PAGE_HEIGHT_PX:
                pages.append([])
                used = TITLE + 2 * MARGIN
            pages[-1].append(row)
            used += height
        return pages


def draw_pages(
    sections: Sequence[Section],
    layout: SheetLayout,
    *,
    title: str,
    subtitle: str,
    on_page: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[np.ndarray]:
    """Draw the pages of a sheet.

    Args:
        sections: Categories to show.
        layout: Geometry; see `SheetLayout.fit`.
        title: First line of every page.
        subtitle: Second line of every page.
        on_page: Called with (done, total) after each page.

    Yields:
        (H, W, 3) uint8 RGB, about 1800 x 2400 pixels or less.

    Raises:
        InputError: The image of a tile without a note cannot be read.
    """
    pages = layout.pages(sections)
    for number, rows in enumerate(pages, start=1):
        count = f"page {number} of {len(pages)}" if len(pages) > 1 else ""
        yield _draw_page(rows, layout, title, subtitle, count)
        on_page(number, len(pages))


def thumbnail(rgba: np.ndarray, side: int) -> np.ndarray:
    """Draw an object on a checkerboard.

    Args:
        rgba: (H, W, 4) uint8 straight-alpha RGBA; reduced where it does not fit, never enlarged. A
            margin is left around it unless it is fully opaque.
        side: Height and width of the result, pixels.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    y, x = np.indices((side, side)) // SQUARE_PX
    squares = np.where((x + y) % 2, DARK, LIGHT).astype(np.float32)
    picture = squares[..., None].repeat(3, axis=2)
    room = side if rgba[..., 3].min() == 255 else side - 2 * max(2, side // 32)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    layer = np.dstack([rgba[..., :3] * alpha, alpha])
    factor = min(1.0, room / max(rgba.shape[:2]))
    width, height = (max(1, round(length * factor)) for length in (rgba.shape[1], rgba.shape[0]))
    if factor < 1:
        layer = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (side - height) // 2, (side - width) // 2
    under = picture[top : top + height, left : left + width]
    under *= 1 - layer[..., 3:]
    under += layer[..., :3]
    return np.rint(picture).astype(np.uint8)


def shorten(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Truncate text that is wider than `width` pixels, with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, lines: int) -> list[str]:
    """Wrap text between words to at most `lines` lines of `width` pixels, the last truncated."""
    words, wrapped = text.split(), []
    while words and len(wrapped) < lines - 1:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        wrapped.append(shorten(" ".join(words[:taken]), font, width))
        words = words[taken:]
    return [*wrapped, shorten(" ".join(words), font, width)] if words else wrapped


def drawable(text: str) -> str:
    """Text in the characters of Pillow's own font: without accents, other scripts as `?`."""
    parted = unicodedata.normalize("NFKD", text)
    kept = (letter for letter in parted if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" or letter in "·…" else "?" for letter in kept)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _draw_page(
    rows: Sequence[Sequence[Section]],
    layout: SheetLayout,
    title: str,
    subtitle: str,
    count: str,
) -> np.ndarray:
    heights = [max(map(layout.block_height, row)) + SPACE_BELOW for row in rows]
    height = TITLE + sum(heights) - SPACE_BELOW + 2 * MARGIN
    page = Image.new("RGB", (layout.page_width, height), PAPER)
    draw = ImageDraw.Draw(page)
    right = layout.page_width - MARGIN
    room = layout.page_width - 2 * MARGIN - (_font(13).getlength(count) + GUTTER if count else 0)
    draw.text((MARGIN, MARGIN), shorten(drawable(title), _font(22), room), INK, _font(22))
    whole = layout.page_width - 2 * MARGIN
    said = shorten(drawable(subtitle), _font(13), whole)
    draw.text((MARGIN, MARGIN + 32), said, FAINT, _font(13))
    draw.text((right, MARGIN + 8), count, FAINT, _font(13), anchor="ra")
    tiles: list[tuple[Tile, int, int]] = []
    top = MARGIN + TITLE
    for row, row_height in zip(rows, heights, strict=True):
        for place, section in enumerate(row):
            left = MARGIN + place * (layout.block_width + GUTTER)
            _draw_header(draw, section, left, top, layout.block_width)
            for number, tile in enumerate(section.tiles):
                down, along = divmod(number, layout.across)
                x = left + along * (layout.cell + GAP)
                tiles.append((tile, x, top + HEADER + down * (layout.tile_height + GAP)))
        top += row_height
    pictures = map_in_threads(
        lambda placed: _picture(placed[0], layout.cell), tiles, threads=available_cores()
    )
    for (tile, x, y), picture in zip(tiles, pictures, strict=True):
        if picture is None:
            draw.rectangle((x, y, x + layout.cell - 1, y + layout.cell - 1), outline=RULE)
            middle = (x + layout.cell / 2, y + layout.cell / 2)
            draw.text(middle, "no image", FAINT, _font(11), anchor="mm")
        else:
            page.paste(Image.fromarray(picture), (x, y))
        _draw_label(draw, tile, x, y + layout.cell + 4, layout)
    return np.asarray(page)


def _draw_header(
    draw: ImageDraw.ImageDraw, section: Section, left: int, top: int, width: int
) -> None:
    shown = len(section.tiles)
    count = str(section.total) if shown == section.total else f"{shown} of {section.total}"
    room = width - _font(12).getlength(count) - 10
    name = drawable(section.name.replace("_", " "))
    draw.text((left, top + 18), shorten(name, _font(15), room), INK, _font(15), anchor="ls")
    draw.text((left + width, top + 18), count, FAINT, _font(12), anchor="rs")
    draw.line((left, top + 24, left + width - 1, top + 24), fill=RULE)


def _draw_label(draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, layout: SheetLayout) -> None:
    font, right = _font(11), x + layout.cell
    score = "" if tile.score is None else f"{tile.score:.1f}"
    room = layout.cell - (font.getlength(score) + 6 if score else 0)
    draw.text((x, y + 11), shorten(drawable(tile.label), font, room), FAINT, font, anchor="ls")
    draw.text((right, y + 11), score, INK, font, anchor="rs")
    notes = wrap(drawable(tile.note), font, layout.cell, layout.lines - 1) if tile.note else []
    for number, line in enumerate(notes, start=1):
        draw.text((x, y + 11 + number * LINE), line, INK, font, anchor="ls")


def _picture(tile: Tile, cell: int) -> np.ndarray | None:
    """The picture of a tile; None for a candidate whose image was not kept or shows nothing."""
    if tile.note is not None and not tile.image.is_file():
        return None
    try:
        return thumbnail(read_rgba(tile.image), cell)
    except InputError:
        if tile.note is not None:
            return None
        raise
