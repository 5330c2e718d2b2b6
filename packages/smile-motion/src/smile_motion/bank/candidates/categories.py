"""Read lists of categories from label sets, annotation files and text files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from smile_motion.bank.candidates.types import Category
from smile_motion.errors import InputError
from smile_motion.io.files import read_lines, read_text, split_lines
from smile_motion.io.schema import LARGEST_BYTES, read

LISTS = ("imagenet1k", "imagenet21k")
"""Lists known by name."""
PEOPLE = "<people>"
"""Entry of a deny list: all categories that their own list marks as people."""
_WORDNET_PEOPLE = ("n096", "n114")
"""Range of WordNet ids (end exclusive) of people: kinds of person, then names."""


def read_categories(spec: str) -> tuple[Category, ...]:
    """Read a list of categories.

    Args:
        spec: `imagenet1k` (open_clip's names), `imagenet21k` (timm's names and definitions), an
            LVIS or COCO annotation file (.json), or a text file with a category per line, `name`
            or `name<TAB>definition`; empty lines and lines that start with # are skipped.

    Returns:
        The categories in the list's order. A category repeated with the same definition, or
        without one, is taken once; categories that differ only by definition differ in `sense`.

    Raises:
        InputError: There is no such list, it has another format, or a name has no letters.
    """
    if spec == "imagenet1k":
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

        return _distinct((Category(name) for name in IMAGENET_CLASSNAMES), spec)
    if spec == "imagenet21k":
        return _distinct(_imagenet21k(), spec)
    path = Path(spec)
    if not path.is_file():
        raise InputError(
            f"categories {spec!r}: no such file, and not {' or '.join(LISTS)}; check --categories"
        )
    if path.suffix == ".json":
        return _distinct(_annotated(path), spec)
    return _distinct(_listed(path), spec)


def deny(
    categories: Sequence[Category], deny_list: Path | None = None
) -> tuple[tuple[Category, ...], tuple[Category, ...]]:
    """Divide categories into allowed and denied ones.

    Args:
        categories: All categories.
        deny_list: File to use instead of the package's `denied.txt`. A line is a name, compared
            without case and spaces; `/pattern/`, a regular expression that is searched in
            definitions; or `<people>`, which denies what its list marks as people, as
            `imagenet21k` does. # starts a comment.

    Returns:
        The allowed and the denied categories.

    Raises:
        InputError: The file is missing or a pattern is invalid.
    """
    if deny_list is None:
        source, text = (
            "denied.txt",
            files("smile_motion.bank.candidates").joinpath("denied.txt").read_text(),
        )
    else:
        source, text = str(deny_list), read_text(deny_list, remedy="check --deny")
    names, patterns = set(), []
    lines = [line.partition("#")[0].strip() for line in split_lines(text)]
    for number, entry in enumerate(lines, start=1):
        if entry in ("", PEOPLE):
            continue
        if len(entry) > 1 and entry[0] == entry[-1] == "/":
            try:
                patterns.append(re.compile(entry[1:-1], re.IGNORECASE))
            except re.error as error:
                raise InputError(
                    f"{source}:{number}: {entry}: {error}; mend the pattern"
                ) from error
        else:
            names.add(Category(entry).folder)
    kept, refused = [], []
    for category in categories:
        by_kind = category.people and PEOPLE in lines
        by_name = replace(category, sense=1).folder in names
        by_gloss = category.definition and any(p.search(category.definition) for p in patterns)
        (refused if by_kind or by_name or by_gloss else kept).append(category)
    return tuple(kept), tuple(refused)


def quotas(count: int, categories: int) -> tuple[int, ...]:
    """Divide objects over categories, as evenly as possible.

    Args:
        count: Number of objects.
        categories: Number of categories.

    Returns:
        Objects per category; they differ by at most one, the larger ones evenly spread.
    """
    return tuple(
        count * (place + 1) // categories - count * place // categories
        for place in range(categories)
    )


def _distinct(categories: Iterable[Category], source: str) -> tuple[Category, ...]:
    senses: dict[str, list[Category]] = {}
    found = []
    for category in categories:
        try:
            known = senses.setdefault(category.folder, [])
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        if any(category.definition in (None, other.definition) for other in known):
            continue
        known.append(replace(category, sense=len(known) + 1))
        found.append(known[-1])
    if not found:
        raise InputError(f"{source}: no category in it; write a line for each")
    return tuple(found)


def _imagenet21k() -> Iterable[Category]:
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet21k")
    for index in range(info.num_classes()):
        names, _, definition = info.index_to_description(index, detailed=True).partition(": ")
        first, end = _WORDNET_PEOPLE
        people = first <= info.index_to_label_name(index) < end
        yield Category(names.split(", ")[0], definition or None, people=people)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A category of an annotation file; `def` is a definition, in LVIS."""

    name: str
    def_: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Annotations:
    """Fields of an annotation file that are read."""

    categories: list[_Entry]


def _annotated(path: Path) -> Iterable[Category]:
    """Read annotations; LVIS names have underscores and may have a qualifier: `bow_(weapon)`."""
    remedy = 'give annotations of LVIS or COCO, {"categories": [{"name": …}]}'
    for entry in read(
        path, _Annotations, remedy=remedy, unknown="ignore", largest=LARGEST_BYTES
    ).categories:
        name, _, qualifier = entry.name.replace("_", " ").partition(" (")
        definition = qualifier.rstrip(")") if qualifier and entry.def_ is None else entry.def_
        yield Category(name, definition)


def _listed(path: Path) -> Iterable[Category]:
    lines = read_lines(path, remedy="give a line for each category")
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, definition = (part.strip() for part in line.partition("\t"))
        category = Category(name, definition or None)
        try:
            _ = category.folder
        except InputError as error:
            raise InputError(f"{path}:{number}: {error}") from error
        yield category
