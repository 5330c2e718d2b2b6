"""Contact sheets as files: one page `sheet.png`, several `sheet-01.png`, `sheet-02.png`, …"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smile_motion.bank.contact_sheet import Section, SheetLayout, draw_pages
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically


def existing_pages(out: Path) -> list[Path]:
    """Pages that an earlier sheet of this name left."""
    numbered = re.compile(re.escape(out.stem) + r"-\d{2,}" + re.escape(out.suffix))
    beside = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    return [path for path in beside if path == out or numbered.fullmatch(path.name)]


def require_no_pages(out: Path) -> None:
    """Raise InputError when pages of this name are there."""
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give --out a file name such as sheet.png")
    if there := existing_pages(out):
        raise InputError(
            f"{there[0]}: already there; add --force to replace it, or choose another --out"
        )


def write_pages(
    out: Path,
    sections: Sequence[Section],
    layout: SheetLayout,
    *,
    title: str,
    subtitle: str,
    on_page: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Draw a sheet and write its pages, all of them or none, in the place of earlier ones.

    returns the files.
    """
    count = len(layout.pages(sections))
    digits = max(2, len(str(count)))
    names = (
        [out]
        if count == 1
        else [
            out.with_name(f"{out.stem}-{number:0{digits}d}{out.suffix}")
            for number in range(1, count + 1)
        ]
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    try:
        pages = draw_pages(sections, layout, title=title, subtitle=subtitle, on_page=on_page)
        for name, page in zip(names, pages, strict=True):
            drawn.append(name.with_name(f".{name.name}.drawn"))
            write_atomically(drawn[-1], _png(page))
        for path in existing_pages(out):
            if path not in names:
                path.unlink()
        for path, name in zip(drawn, names, strict=True):
            path.replace(name)
    finally:
        for path in drawn:
            path.unlink(missing_ok=True)
    return names


def _png(page: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(page).save(data, "PNG", compress_level=6)
    return data.getvalue()
